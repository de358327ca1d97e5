"""Sentences to vectors: in memory, as an .npy file, or as Parquet beside their sentences."""

from __future__ import annotations

import shutil
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from xlbench.disk import disk_errors
from xlbench.errors import XlbenchError
from xlbench.retrieval.sides import collected, workplace
from xlbench.retrieval.vectors import BLOCK, encode_texts
from xlbench.runs.status import runs
from xlbench.store import publish

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from xlbench.retrieval.encoder import FoundEncoder
    from xlbench.retrieval.sentences import Texts
    from xlbench.retrieval.sides import Side
    from xlbench.settings import Settings

NPY, PARQUET = ".npy", ".parquet"
KEPT = "vectors.npy"


def encode_side(
    side: Side, output: Path | None, find: Callable[[], FoundEncoder], settings: Settings
) -> NDArray[np.float32]:
    """Return the vectors of sentences, written to a new .npy or .parquet file if one is named.

    Args:
        side: The sentences.
        output: The file to write; None keeps the vectors in memory.
        find: Finds the encoder; called once the sentences are read, which takes seconds, and before any work.
        settings: Paths and switches.

    Raises:
        XlbenchError: The sentences or the encoder cannot be used, or the disk is full.
    """
    with collected((side,), output, settings) as (texts,):
        encoder = find()
        with runs(f"encoding {texts.name}", settings):
            return _encoded(texts, encoder, output, settings)


def check_vectors_path(path: Path) -> None:
    """Refuse a name of a file that says no format of vectors.

    Raises:
        XlbenchError: It does not.
    """
    if path.suffix not in {NPY, PARQUET}:
        raise XlbenchError(f"'{path}' names no format of vectors.", f"End it with {NPY} or {PARQUET}.")


def _encoded(texts: Texts, encoder: FoundEncoder, output: Path | None, settings: Settings) -> NDArray[np.float32]:
    """Return the vectors of sentences, in memory or of a new file."""
    model = encoder.load()
    if output is None:
        return encode_texts(model, texts, encoder.precision, quiet=settings.quiet)
    with ExitStack() as undo:
        directory = undo.enter_context(workplace(output))
        temporary = directory / output.name
        vectors = encode_texts(model, texts, encoder.precision, directory / KEPT, quiet=settings.quiet)
        needed = vectors.nbytes if output.suffix == PARQUET else None
        with disk_errors(f"'{output.name}'", output.parent, needed=needed, resumes=False):
            if output.suffix == PARQUET:
                _write_parquet(texts, vectors, temporary)
                publish(temporary, output)
                undo.pop_all()  # the vectors stay in their file as long as anybody uses them
                weakref.finalize(vectors, shutil.rmtree, directory, ignore_errors=True)
                return vectors
            publish(directory / KEPT, output)
    return np.load(output, mmap_mode="r")  # type: ignore[no-any-return]


def _write_parquet(texts: Texts, vectors: NDArray[np.float32], path: Path) -> None:
    """Write sentences and vectors, a block at a time: columns sentence and vector, lists of the same length."""
    import pyarrow as pa
    from pyarrow import parquet

    width = vectors.shape[1]
    schema = pa.schema([("sentence", pa.string()), ("vector", pa.list_(pa.float32(), width))])
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, len(texts), BLOCK):
            sentences = pa.array(list(texts.sentences[start : start + BLOCK]), pa.string())
            numbers = pa.array(np.ascontiguousarray(vectors[start : start + BLOCK]).reshape(-1), pa.float32())
            lists = pa.FixedSizeListArray.from_arrays(numbers, width)
            writer.write_table(pa.table([sentences, lists], schema=schema))
