"""The format ``stock``: a SentenceTransformer directory of a plain BERT, XLM-R or static encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.encoders.modules import inner_model
from xlbench.students.architecture import StudentBertModel, StudentXLMRobertaModel
from xlbench.students.load import save_student
from xlbench.students.stock import stock_copy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

SUMMARY = (
    "A plain SentenceTransformer directory: the two factors of the token embeddings are multiplied out and looped "
    "layers are written once for each time that they run, so that every library loads it, and it is larger."
)
LIBRARY = "sentence-transformers"
TOLERANCE: float | None = 1e-6
LOSS = 1e-6

USAGE = """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(".")
vectors = model.encode(["A cat is sleeping.", "Eine Katze schläft."])
print(vectors.shape, vectors[0] @ vectors[1])
"""


def write(model: SentenceTransformer, directory: Path, sentences: Sequence[str]) -> None:
    """Write the encoder in float32, or in float16 where a plain encoder is stored so already."""
    inner = inner_model(model)
    if not isinstance(inner, StudentBertModel | StudentXLMRobertaModel):
        save_student(model, directory)
        return
    model[0].model = stock_copy(inner)
    try:
        save_student(model, directory)
    finally:
        model[0].model = inner


def usage() -> str:
    """Return the script of the card."""
    return USAGE
