"""The starter corpus and the items of the starter tasks: written for xlbench and shipped in the package."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, overload

from xlbench.corpora.corpus import Pair
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xlbench.settings import Settings

LANGUAGES = ("ar", "de", "es", "fr", "it", "nl", "tr")  # in every row, beside English
NOTE = "written for xlbench as a working example: too small and too plain to be a benchmark"


@dataclass(frozen=True)
class ParallelRow:
    """One sentence in eight languages.

    Attributes:
        domain: Its subject, e.g. 'travel'.
        texts: The sentence by ISO 639-1 code, English among them.
    """

    domain: str
    texts: Mapping[str, str]


@dataclass(frozen=True)
class StsRow:
    """Two sentences in eight languages and how alike they are.

    Attributes:
        domain: Their subject.
        score: Similarity of meaning, from 0 (unrelated) to 5 (the same).
        sentence1: The first sentence by ISO 639-1 code.
        sentence2: The second sentence.
    """

    domain: str
    score: float
    sentence1: Mapping[str, str]
    sentence2: Mapping[str, str]


@overload
def starter_items(name: Literal["train", "bitext"]) -> list[ParallelRow]: ...
@overload
def starter_items(name: Literal["sts"]) -> list[StsRow]: ...
def starter_items(name: Literal["train", "bitext", "sts"]) -> list[ParallelRow] | list[StsRow]:
    """Return the shipped rows of the training corpus or of one of the two starter tasks, in file order."""
    rows = [json.loads(line) for line in _read(name).decode().splitlines()]
    if name == "sts":
        return [StsRow(row["domain"], float(row["score"]), row["sentence1"], row["sentence2"]) for row in rows]
    return [ParallelRow(row.pop("domain"), row) for row in rows]


@cache
def _read(name: str) -> bytes:
    return files("xlbench.corpora").joinpath("data", f"{name}.jsonl").read_bytes()


@dataclass(frozen=True)
class StarterCorpus:
    """The training rows, as pairs of English with each other language."""

    @property
    def digest(self) -> str:
        """SHA-256 of the shipped file."""
        return hashlib.sha256(_read("train")).hexdigest()

    @property
    def note(self) -> str:
        """What readers of scores must know."""
        return NOTE

    def languages(self) -> tuple[str, ...]:
        """Return the codes of the non-English sides, sorted."""
        return LANGUAGES

    def pairs(self, language: str) -> Iterator[Pair]:
        """Yield the pairs of one of :meth:`languages`."""
        for row in starter_items("train"):
            yield Pair(row.texts["en"], row.texts[language])


def starter_corpus() -> StarterCorpus:
    """Return the corpus that ships with xlbench."""
    return StarterCorpus()


def open_starter(argument: str, settings: Settings) -> StarterCorpus:
    """Open the starter corpus, for references with the scheme ``starter``.

    Raises:
        XlbenchError: An argument is given.
    """
    if argument:
        raise XlbenchError(f"Corpus 'starter' takes no argument, not '{argument}'.", "Write starter.")
    return starter_corpus()
