"""Training data in the store: the type that stages read it through, and how it is written.

A directory holds the distinct sentences as an Arrow file, and arrays that refer to them by id. Writing it is the second
pass over the corpora, after :mod:`xlbench.corpora.choose` has chosen the pairs.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from xlbench.corpora.facts import CorpusFacts
from xlbench.errors import XlbenchError, first_line
from xlbench.progress import progress
from xlbench.store import require_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt
    import pyarrow as pa

    from xlbench.corpora.choose import Rows
    from xlbench.store import Entry

FACTS, TEXTS = "facts.json", "text.arrow"
ARRAYS = ("pairs", "languages", "dev_pairs", "dev_languages")
LINES = "lines.npy"  # of training data with untranslated lines
_BATCH = 65536  # sentences in one batch of the Arrow file


class Sentences(Sequence[str]):
    """Distinct sentences by id, read from a memory-mapped Arrow file on access."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[type[Sentences], tuple[Path]]:
        """Pickle the path only, so that each worker process maps the file itself."""
        return Sentences, (self._path,)

    @cached_property
    def _column(self) -> pa.ChunkedArray:
        import pyarrow as pa

        return pa.ipc.open_file(pa.memory_map(str(self._path))).read_all().column(0)

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return [self[position] for position in range(start, stop, step)]
            texts: list[str] = self._column.slice(start, max(0, stop - start)).to_pylist()
            return texts
        text: str = self._column[index].as_py()
        return text

    def __iter__(self) -> Iterator[str]:
        for chunk in self._column.iterchunks():
            yield from chunk.to_pylist()


@dataclass(frozen=True)
class PreparedCorpus:
    """The training data of an experiment.

    Attributes:
        path: Directory in the store.
        digest: Identifies the content.
        facts: Counts and notes for records.
        sentences: Distinct sentences; an id is a position in it.
        pairs: Training pairs, int32 [n, 2]: ids of the English and the other side, in an order that mixes
            languages and corpora.
        languages: Language of each training pair, uint8 [n]: a position in ``facts.languages``.
        dev_pairs: Dev pairs, int32 [m, 2], by language. None of their texts, folded, is in ``pairs``.
        dev_languages: Language of each dev pair, uint8 [m].
        lines: Ids of untranslated lines to train on, int32 [k], in no pair.
    """

    path: Path
    digest: str
    facts: CorpusFacts
    sentences: Sentences
    pairs: npt.NDArray[np.int32]
    languages: npt.NDArray[np.uint8]
    dev_pairs: npt.NDArray[np.int32]
    dev_languages: npt.NDArray[np.uint8]
    lines: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    def english_ids(self) -> npt.NDArray[np.int32]:
        """Return the distinct ids of the English sides of the training pairs, ascending, int32."""
        return np.unique(self.pairs[:, 0])

    def training_ids(self) -> npt.NDArray[np.int32]:
        """Return the distinct ids of all sentences of the training pairs and of all lines, ascending, int32."""
        return np.unique(np.concatenate([np.ravel(self.pairs), self.lines]))


def check_prepared(entry: Entry) -> None:
    """Refuse an entry of the store that is no training data.

    Raises:
        XlbenchError: A file of it is missing, or holds something else.
    """
    require_files(entry, *(f"{name}.npy" for name in ARRAYS), FACTS, TEXTS)
    try:
        load_prepared(entry.path, entry.manifest.key)
    except (OSError, ValueError, EOFError) as error:
        raise XlbenchError(f"it cannot be read: {first_line(error)}", "Run again: it is then made anew.") from error


def load_prepared(path: Path, digest: str) -> PreparedCorpus:
    """Open a directory that :func:`xlbench.corpora.prepare.prepare` wrote; sentences and arrays are memory-mapped."""
    pairs, languages, dev_pairs, dev_languages = (np.load(path / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
    facts = CorpusFacts.model_validate_json((path / FACTS).read_text("utf-8"))
    kept = any(count.kept for count in facts.lines)  # of a text, all lines may be sides of pairs
    lines = np.load(path / LINES, mmap_mode="r") if kept else np.empty(0, np.int32)
    return PreparedCorpus(
        path, digest, facts, Sentences(path / TEXTS), pairs, languages, dev_pairs, dev_languages, lines
    )


def write_pairs(directory: Path, texts: Path, train: Rows, dev: Rows, lines: Rows, *, quiet: bool) -> int:
    """Give each distinct text an id, and write the texts, both tables of pairs and, if there are any, the lines.

    Args:
        directory: Where to write.
        texts: The scratch file that the rows point into.
        train: Training pairs, :data:`~xlbench.corpora.choose.ROW` [n].
        dev: Dev pairs, of the same type, [m].
        lines: Untranslated lines, of the same type, [k]: their other side.
        quiet: Show no progress.

    Returns:
        The number of distinct texts.
    """
    both = np.concatenate([train, dev])
    keys = np.concatenate([both["english_text"], both["other_text"], lines["other_text"]])
    start = np.concatenate([both["start"], both["start"] + both["english_size"], lines["start"]])
    size = np.concatenate([both["english_size"], both["other_size"], lines["other_size"]])
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    _write_texts(directory / TEXTS, texts, start[first], size[first], quiet=quiet)
    number = number.astype(np.int32)
    if len(lines):
        np.save(directory / LINES, np.sort(number[2 * len(both) :]))
    pairs = number[: 2 * len(both)].reshape(2, len(both)).T
    np.save(directory / "pairs.npy", np.ascontiguousarray(pairs[: len(train)]))
    np.save(directory / "dev_pairs.npy", np.ascontiguousarray(pairs[len(train) :]))
    np.save(directory / "languages.npy", np.ascontiguousarray(train["language"]))
    np.save(directory / "dev_languages.npy", np.ascontiguousarray(dev["language"]))
    return len(first)


def _write_texts(
    path: Path, texts: Path, start: npt.NDArray[np.int64], size: npt.NDArray[np.uint32], *, quiet: bool
) -> None:
    """Copy the texts at the given positions of a scratch file into an Arrow file."""
    import pyarrow as pa

    schema = pa.schema([("text", pa.string())])
    with (
        texts.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as memory,
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
        progress("writing the corpus", len(start), quiet=quiet, unit="sentences") as advance,
    ):
        for low in range(0, len(start), _BATCH):
            spans = zip(start[low : low + _BATCH].tolist(), size[low : low + _BATCH].tolist(), strict=True)
            batch = [memory[begin : begin + length].decode() for begin, length in spans]
            writer.write_batch(pa.record_batch([pa.array(batch, pa.string())], schema=schema))
            advance(len(batch))
