"""Saving a student as a SentenceTransformer directory, and loading it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.encoders.modules import inner_model
from xlbench.errors import XlbenchError
from xlbench.students import architecture

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})


def save_student(model: SentenceTransformer, path: Path) -> None:
    """Write the model, its tokenizer and its pipeline to a directory; weights as safetensors, in their bits.

    The configuration of an encoder of 16 bits still says float32, which is what transformers and SentenceTransformer
    then make of them when they load it: on a CPU nothing computes slower than float16.

    Args:
        model: A student or any other SentenceTransformer.
        path: A directory that is made; inside a store entry, which is renamed into place when whole.

    Raises:
        XlbenchError: A module of it writes its weights as a pickle.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model.save_pretrained(str(path), create_model_card=False, safe_serialization=True)
    if getattr(getattr(inner_model(model), "config", None), "bits", 32) == 16:
        for weights in path.rglob("*.safetensors"):
            _halve(weights)
    pickled = [file for file in sorted(path.rglob("*")) if file.suffix in PICKLES]
    if pickled:
        raise XlbenchError(
            f"A module of the encoder writes '{pickled[0].name}', a pickle, which may run code when loaded.",
            "Its save method must write safetensors.",
        )


def _halve(path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    halves = {name: it.half() if it.is_floating_point() else it for name, it in tensors.items()}
    save_file(halves, path, metadata)


def load_student(path: Path) -> SentenceTransformer:
    """Load a saved student, or any other local SentenceTransformer directory.

    No code from the directory is run. ``SentenceTransformer(path)`` gives the same model once
    :func:`xlbench.register` (or any import of :mod:`xlbench.students.architecture`) has made the student
    architectures known to transformers.

    Raises:
        XlbenchError: There is no such model.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    architecture.register()
    if not (path / "modules.json").is_file():
        raise XlbenchError(f"There is no model in '{path}' (no modules.json).", "Name a directory that xlbench saved.")
    return SentenceTransformer(str(path), device="cpu", local_files_only=True)
