"""Untranslated text as a corpus: a file with a sentence on each line, in a language that its reference names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from xlbench.corpora.files import find_path
from xlbench.corpora.lines import numbered_lines
from xlbench.errors import XlbenchError
from xlbench.fingerprint import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xlbench.corpora.corpus import Pair
    from xlbench.settings import Settings


@dataclass(frozen=True)
class TextCorpus:
    """A text of one language, which holds lines and no pair.

    Attributes:
        path: The file, plain or ``.gz``.
    """

    path: Path

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file.

        Raises:
            XlbenchError: It cannot be read.
        """
        try:
            return file_digest(self.path)
        except OSError as error:
            raise XlbenchError(
                f"'{self.path}' cannot be read: {error.strerror}.", "Check that it is a file and that you may read it."
            ) from error

    @property
    def note(self) -> str:
        """Return nothing: whoever has the text knows what it is."""
        return ""

    def languages(self) -> tuple[str, ...]:
        """Return no language: there are no pairs."""
        return ()

    def pairs(self, language: str) -> Iterator[Pair]:
        """Yield nothing."""
        yield from ()

    def untranslated_lines(self) -> Iterator[str]:
        """Yield the lines, without what is blank around them; empty ones too.

        Raises:
            XlbenchError: The file is damaged, or a line is not UTF-8; the message names it.
        """
        for _, line in numbered_lines(self.path):
            yield line.strip()


def open_text(argument: str, settings: Settings) -> TextCorpus:
    """Open a text file, plain or ``.gz``; its language stands in the reference.

    Raises:
        XlbenchError: There is no such file.
    """
    if not argument:
        raise XlbenchError("Corpus 'text' needs a path.", "Write text:FILE?language=de.")
    path = find_path(argument, settings)
    if path.is_dir():
        raise XlbenchError(f"The text '{path}' is a directory.", "Give a file with a sentence on each line.")
    return TextCorpus(path)
