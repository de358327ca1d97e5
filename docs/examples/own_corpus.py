"""A plugin as one file: pairs from JSON lines, ``{"en": ..., "de": ..., "fr": ...}``, as ``--corpus jsonl:FILE``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.api import CorpusReader, Pair, XlbenchError, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xlbench.api import Settings


@dataclass(frozen=True)
class JsonLines:
    """A file whose every line holds a sentence in English and in other languages."""

    path: Path

    @cached_property
    def digest(self) -> str:
        """The bytes decide: a changed file is another corpus, the same file elsewhere is the same one."""
        return sha256(self.path.read_bytes()).hexdigest()

    @property
    def note(self) -> str:
        """A note that is printed under every table of encoders that were trained on this corpus."""
        return f"{self.path.name}: our own phrases, CC0"

    def languages(self) -> tuple[str, ...]:
        """Return every language that some line has."""
        return tuple(sorted({key for row in self.rows() for key in row} - {"en"}))

    def pairs(self, language: str) -> Iterator[Pair]:
        """Yield the pairs of one language, line by line."""
        for row in self.rows():
            if language in row:
                yield Pair(row["en"], row[language])

    def rows(self) -> Iterator[dict[str, str]]:
        """Yield the lines; an error names the number of the invalid one."""
        with self.path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                row = json.loads(line)
                if "en" not in row:
                    raise XlbenchError(f"{self.path}, line {number}: 'en' is missing.", "Add the English side.")
                yield row


def open_jsonl(argument: str, settings: Settings) -> JsonLines:
    """Open a file; reads nothing of it yet."""
    path = Path(argument)
    if not path.is_file():
        raise XlbenchError(f"There is no file '{path}'.", "Write jsonl:FILE.")
    return JsonLines(path)


@hookimpl
def xlbench_corpora() -> list[CorpusReader]:
    """Register the scheme."""
    return [CorpusReader("jsonl", "lines of JSON with a key per language", "jsonl:phrases.jsonl", open_jsonl)]
