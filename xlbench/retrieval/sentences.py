"""Sentences to be used: a caller's list, or a file copied once into an Arrow file that is then memory-mapped.

Copying first means that a damaged line is found before any sentence is encoded, that compressed files are unpacked
once, and that any sentence can be looked up later without all of them being held.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xlbench.corpora.prepared import Sentences
from xlbench.disk import disk_errors
from xlbench.errors import XlbenchError
from xlbench.progress import progress
from xlbench.retrieval.readers import read_file, starter_sentences
from xlbench.settings import path_of
from xlbench.validation import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE = "sentences.arrow"
BATCH = 16_384  # sentences in memory at a time
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Texts:
    """Sentences, each with where it stands.

    Attributes:
        name: Of the file or of the argument, for progress and errors.
        sentences: Looked up on access if they come from a file.
        lines: Line, row or place of each sentence, from 1; int64 [sentences], ascending.
        total: Sentences that were read, those included that are there twice.
    """

    name: str
    sentences: Sequence[str]
    lines: NDArray[np.int64]
    total: int

    def __len__(self) -> int:
        return len(self.sentences)

    def discard(self) -> None:
        """Delete the copy of a file's sentences; they cannot be looked up any more."""
        if isinstance(self.sentences, CopiedSentences):
            self.sentences.delete()


class CopiedSentences(Sentences):
    """Sentences in a directory of their own, which is deleted when nobody uses them any more."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / FILE)
        self.delete = weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)


def collect(
    given: str | Path | Sequence[str],
    column: str | None,
    *,
    noun: str,
    distinct: bool = False,
    beside: Path | None = None,
    quiet: bool = False,
) -> Texts:
    """Return the sentences of a list or a file, checked.

    Args:
        given: Sentences; or a file's path, 'starter' or 'starter:de', as :mod:`xlbench.retrieval.readers` reads them.
        column: Of a file.
        noun: Name of the argument, for errors.
        distinct: Take each sentence once, where it stands first.
        beside: The directory in which a file's sentences are copied to a hidden directory; None: the system's.
        quiet: Show no progress.

    Raises:
        XlbenchError: There is no such file or column; something is not UTF-8, empty or no text; there are no sentences;
            or the disk is full.
    """
    if isinstance(given, str | Path):
        path = path_of(given, noun)
        found = None if path.exists() else starter_sentences(str(given))
        return _copied(str(given), read_file(path, column) if found is None else found, distinct, beside, quiet=quiet)
    if column is not None:
        raise XlbenchError(f"A column is chosen, and '{noun}' is a list of sentences.", "Leave the column out.")
    listed = _listed(given, noun)
    kept = [(text, number) for text, number in _once(listed, distinct=distinct)]
    return Texts(noun, [text for text, _ in kept], np.array([number for _, number in kept], np.int64), len(listed))


def _listed(given: object, noun: str) -> list[str]:
    if not isinstance(given, Sequence) or isinstance(given, bytes | bytearray):
        raise XlbenchError(
            f"Argument '{noun}' cannot be {shown(given)}: it holds no sentences.",
            "Give a list of sentences, or the path of a file.",
        )
    for number, text in enumerate(given, start=1):
        if not isinstance(text, str) or not text.strip():
            raise XlbenchError(
                f"Argument '{noun}', sentence {number}: {shown(text)} is no sentence.", "Fill it or leave it out."
            )
        if not text.isascii() and SURROGATE.search(text):
            raise XlbenchError(
                f"Argument '{noun}', sentence {number} holds half of a character (a lone surrogate).",
                "Read its file as UTF-8.",
            )
    if not given:
        raise XlbenchError(f"Argument '{noun}' is an empty list.", "Give at least one sentence.")
    return list(given)


def _once(texts: Iterable[str], *, distinct: bool) -> Iterator[tuple[str, int]]:
    """Yield sentences with their numbers, from 1; equal ones once if they are to be distinct.

    What is held of a sentence is a digest of 8 bytes. That two of a million collide has a chance of 3 in 10^8.
    """
    seen: set[int] = set()
    for number, text in enumerate(texts, start=1):
        if distinct:
            key = int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
            if key in seen:
                continue
            seen.add(key)
        yield text, number


def _copied(name: str, texts: Iterator[str], distinct: bool, beside: Path | None, *, quiet: bool) -> Texts:
    import pyarrow as pa

    schema = pa.schema([("text", pa.string())])
    lines = array("q")
    total = 0

    def counted() -> Iterator[str]:
        nonlocal total
        for text in texts:
            total += 1
            yield text

    with disk_errors(f"a copy of '{name}'", beside or Path(tempfile.gettempdir()), resumes=False):
        directory = Path(tempfile.mkdtemp(prefix=".xlbench-", dir=beside))
        try:
            with (
                pa.OSFile(str(directory / FILE), "wb") as sink,
                pa.ipc.new_file(sink, schema) as writer,
                progress(f"reading {name}", None, quiet=quiet, unit="sentences") as advance,
            ):
                kept = _once(counted(), distinct=distinct)
                while batch := list(islice(kept, BATCH)):
                    lines.extend(number for _, number in batch)
                    column = pa.array([text for text, _ in batch], pa.string())
                    writer.write_batch(pa.record_batch([column], schema=schema))
                    advance(len(batch))
            if not lines:
                raise XlbenchError(f"'{name}' holds no sentences.", "Give a file with at least one.")
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
    return Texts(name, CopiedSentences(directory), np.frombuffer(lines, np.int64), total)
