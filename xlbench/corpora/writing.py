"""Second pass over the chosen pairs: their distinct texts numbered and written, and the tables of pairs."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

from xlbench.corpora.prepared import TEXTS
from xlbench.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from xlbench.corpora.gather import Rows

_BATCH = 65536  # sentences in one batch of the Arrow file


def write_pairs(directory: Path, texts: Path, train: Rows, dev: Rows, *, quiet: bool) -> int:
    """Number the distinct texts and write them and both tables of pairs; return how many texts there are."""
    both = np.concatenate([train, dev])
    keys = np.concatenate([both["english_text"], both["other_text"]])
    start = np.concatenate([both["start"], both["start"] + both["english_size"]])
    size = np.concatenate([both["english_size"], both["other_size"]])
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    _write_texts(directory / TEXTS, texts, start[first], size[first], quiet=quiet)
    pairs = number.astype(np.int32).reshape(2, len(both)).T
    np.save(directory / "pairs.npy", np.ascontiguousarray(pairs[: len(train)]))
    np.save(directory / "dev_pairs.npy", np.ascontiguousarray(pairs[len(train) :]))
    np.save(directory / "languages.npy", np.ascontiguousarray(train["language"]))
    np.save(directory / "dev_languages.npy", np.ascontiguousarray(dev["language"]))
    return len(first)


def _write_texts(
    path: Path, source: Path, start: npt.NDArray[np.int64], size: npt.NDArray[np.uint32], *, quiet: bool
) -> None:
    import pyarrow as pa

    schema = pa.schema([("text", pa.string())])
    with (
        source.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as memory,
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
        progress("Writing sentences", len(start), quiet=quiet) as advance,
    ):
        for low in range(0, len(start), _BATCH):
            spans = zip(start[low : low + _BATCH].tolist(), size[low : low + _BATCH].tolist(), strict=True)
            batch = [memory[begin : begin + length].decode() for begin, length in spans]
            writer.write_batch(pa.record_batch([pa.array(batch, pa.string())], schema=schema))
            advance(len(batch))
