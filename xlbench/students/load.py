"""Saving a student as a SentenceTransformer directory, and loading it again, without pickles.

Loading imports nothing of xlbench's training, scoring and boards: torch, transformers, sentence-transformers and
pydantic, with what these need, are enough to use a student.
"""

from __future__ import annotations

import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xlbench.disk import answered
from xlbench.encoders.graph_runtimes import is_exported
from xlbench.encoders.modules import inner_model
from xlbench.errors import XlbenchError
from xlbench.settings import path_of
from xlbench.students.carried_code import drop_code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})


def save_student(model: SentenceTransformer, path: Path) -> None:
    """Write a model with its tokenizer and pipeline to a directory, the weights as safetensors.

    An encoder whose forward pass is BERT's or XLM-R's own is saved as one, whatever edits it went through, so that
    every library loads it; one with a student's parts is saved under xlbench's own ``model_type``. Weights are stored
    with the bits that the encoder's configuration names. For 16 bits the configuration still says float32, so that
    transformers and SentenceTransformer load the float16 weights as float32: on a CPU, float16 is the slowest type to
    compute in.

    Args:
        model: A student or any other SentenceTransformer.
        path: The directory, which is created.

    Raises:
        XlbenchError: A module of the model writes its weights as a pickle, or a weight is too large for 8 bits.
    """
    from xlbench.students.quantised import overflow_refused

    # A tokenizer is saved with the lengths of its last call, which depend on what a run took from the store.
    if (backend := getattr(getattr(model, "tokenizer", None), "backend_tokenizer", None)) is not None:
        backend.no_truncation()
        backend.no_padding()
    drop_code(model)
    with without_bars(), overflow_refused(), _as_stock_where_it_is(model):
        model.save_pretrained(str(path), create_model_card=False, safe_serialization=True)
    if getattr(getattr(inner_model(model), "config", None), "bits", 32) == 16:
        for weights in path.rglob("*.safetensors"):
            _convert_to_float16(weights)
    pickled = [file for file in sorted(path.rglob("*")) if file.suffix in PICKLES]
    if pickled:
        raise XlbenchError(
            f"A module of the encoder writes '{pickled[0].name}', a pickle, which may run code when loaded.",
            "Its save method must write safetensors.",
        )
    share_files(path)


def share_files(directory: Path) -> None:
    """Let everybody read the weights who may read the settings beside them.

    safetensors writes to a temporary file, which only its owner may read, and renames that.
    """
    mode = stat.S_IMODE((directory / "modules.json").stat().st_mode)
    for weights in directory.rglob("*.safetensors"):
        weights.chmod(mode)


@contextmanager
def _as_stock_where_it_is(model: SentenceTransformer) -> Iterator[None]:
    """Exchange a student without a student's parts for the stock encoder that it is; undone on leaving."""
    from xlbench.students.architecture import StudentBertModel, StudentXLMRobertaModel
    from xlbench.students.stock import has_parts, stock_copy

    inner = inner_model(model)
    if not isinstance(inner, StudentBertModel | StudentXLMRobertaModel) or has_parts(inner):
        yield
        return
    model[0].model = stock_copy(inner)
    try:
        yield
    finally:
        model[0].model = inner


def _convert_to_float16(path: Path) -> None:
    """Rewrite a safetensors file with its floats as float16."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safetensors' file is no mapping
    converted = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    save_file(converted, path, metadata)


def load_student(path: Path) -> SentenceTransformer:
    """Load a saved student, or any other local SentenceTransformer directory.

    No code from the directory is run. ``SentenceTransformer(path)`` loads the same model once
    :func:`xlbench.register` (or an import of :mod:`xlbench.students.architecture`) has registered the student
    architectures with transformers.

    Returns:
        The model on the CPU, its weights in float32 unless they are stored in 8 bits.

    Raises:
        XlbenchError: The directory holds no SentenceTransformer, or an encoder that is not whole; see
            :func:`~xlbench.encoders.directories.open_directory`.
    """
    from xlbench.encoders.directories import open_directory

    register()
    if not (path / "modules.json").is_file():
        raise XlbenchError(
            f"There is no model in '{path}' (no modules.json).",
            "Name a directory that xlbench or SentenceTransformer saved.",
        )
    with without_bars():
        model = open_directory(path, "cpu")
    drop_code(model)
    return model


@contextmanager
def without_bars() -> Iterator[None]:
    """Turn the progress bars of transformers off for a while, and leave them as they were."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def load(directory: str | Path) -> SentenceTransformer:
    """Load a saved student, an export, or any other local SentenceTransformer directory, on the CPU.

    No code from the directory is run, not even a copy of xlbench's own that lies there, and nothing needs to be
    registered beforehand.

    Raises:
        XlbenchError: There is no model in the directory, or it is damaged.
    """
    path = path_of(directory, "directory")
    with answered():
        if is_exported(path):
            from xlbench.encoders.exported import load_exported

            return load_exported(path)
        return load_student(path)


def register() -> None:
    """Teach transformers the student architectures, so that ``SentenceTransformer(path)`` loads a student."""
    from xlbench.students.architecture import register as register_architectures

    register_architectures()
