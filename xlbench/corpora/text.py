"""A text whose tokens a trimmed vocabulary keeps: lines in any of its languages, untranslated ones serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.corpora.files import find_path
from xlbench.corpora.lines import numbered_lines
from xlbench.disk import require_regular
from xlbench.errors import XlbenchError
from xlbench.fingerprint import LENGTH, file_digest
from xlbench.store import get_or_build, read_entry, require_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xlbench.fingerprint import Json
    from xlbench.settings import Settings

KIND = "texts"
FILE = "text"
_LINES = 4096  # of a text in memory at a time


def keep_text(argument: str, settings: Settings) -> str:
    """Copy a text file, plain or compressed, into the store and return the digest that names it there.

    Args:
        argument: Its path, looked up like that of a corpus.
        settings: Where the store is.

    Raises:
        XlbenchError: There is no such file, it cannot be read, is not UTF-8 or holds no text.
    """
    path = find_path(argument, settings, "vocabulary_text")
    if path.is_dir():
        raise XlbenchError(f"The vocabulary text '{path}' is a directory.", "Give a text file.")
    require_regular(path)
    try:
        digest = file_digest(path)[:LENGTH]
    except OSError as error:
        raise XlbenchError(f"The vocabulary text '{path}' cannot be read: {error.strerror}.") from error

    # Read before anything is written: what is wrong with the text leaves no trace in the store.
    if read_entry(settings.home, KIND, digest) is None and sum(1 for _ in _texts(path)) == 0:
        raise XlbenchError(f"The vocabulary text '{path}' is empty.", "Give a file with a sentence on each line.")

    def build(directory: Path) -> dict[str, Json]:
        lines = 0
        with (directory / FILE).open("w", encoding="utf-8", newline="\n") as copy:
            for lines, text in enumerate(_texts(path), start=1):  # noqa: B007 - how many there are
                copy.write(f"{text}\n")
        return {"lines": lines}

    get_or_build(
        settings.home,
        KIND,
        digest,
        build,
        doing="copying the vocabulary text",
        quiet=settings.quiet,
        check=lambda entry: require_files(entry, FILE),
    )
    return digest


def _texts(path: Path) -> Iterator[str]:
    """Yield the lines of a file that hold something, runs of spaces as one."""
    return (text for _, line in numbered_lines(path) if (text := " ".join(line.split())))


def read_text(digest: str, settings: Settings) -> Iterator[list[str]]:
    """Yield the lines of a text in the store, some thousand at a time.

    Raises:
        XlbenchError: It is not in the store.
    """
    entry = read_entry(settings.home, KIND, digest)
    if entry is None:
        raise XlbenchError(f"The vocabulary text {digest} is not in the store.", "Run again with --vocabulary-text.")
    lines: list[str] = []
    with (entry.path / FILE).open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            lines.append(line.rstrip("\n"))
            if len(lines) == _LINES:
                yield lines
                lines = []
    yield lines
