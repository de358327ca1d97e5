"""Small corpora in memory, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlbench.corpora.corpus import OpenCorpus, Pair, parse_reference
from xlbench.experiment import CorpusRef, Data

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True)
class ToyCorpus:
    """A corpus in memory, its pairs by language."""

    digest: str
    table: Mapping[str, Sequence[tuple[str, str]]]
    note: str = ""

    def languages(self) -> tuple[str, ...]:
        return tuple(sorted(self.table))

    def pairs(self, language: str) -> Iterator[Pair]:
        for english, other in self.table[language]:
            yield Pair(english, other)


def toy(
    name: str,
    table: Mapping[str, Sequence[tuple[str, str]]],
    options: str = "",
    *,
    digest: str = "",
    note: str = "",
) -> OpenCorpus:
    """Return an opened corpus called ``name``; its digest is its name unless another one is given."""
    corpus = ToyCorpus(digest or name, table, note)
    parsed = parse_reference(name + options)
    return OpenCorpus(corpus, parsed, CorpusRef(reference=str(parsed), digest=corpus.digest, note=note))


def numbered(count: int, language: str = "de", first: int = 0) -> list[tuple[str, str]]:
    """Return ``count`` different pairs; the same numbers give the same English in every language."""
    return [(f"Sentence number {n}.", f"{language} Satz {n}.") for n in range(first, first + count)]


def data_of(
    *corpora: OpenCorpus,
    languages: Sequence[str] = ("de",),
    pairs_per_language: int | None = None,
    dev_pairs: int = 700,
    excluded: str = "nothing",
) -> Data:
    """Return the data of an experiment over ``corpora``."""
    return Data(
        corpora=tuple(corpus.ref for corpus in corpora),
        languages=tuple(languages),
        pairs_per_language=pairs_per_language,
        dev_pairs=dev_pairs,
        excluded=excluded,
    )
