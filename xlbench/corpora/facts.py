"""What a record says of its training data: how many pairs each corpus gave, and why others were left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from xlbench.corpora.choose import PairStatus
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from xlbench.corpora.choose import Rows


class CorpusCount(Frozen):
    """How many pairs of one corpus have which status; the counts add up to ``read``."""

    reference: str = Field(description="The corpus, as the experiment names it.")
    read: int = Field(description="Pairs in the languages of the experiment.")
    unusable: int = Field(description="Dropped: a side has no letter or digit, or over 2,000 characters.")
    overlap: int = Field(description="Dropped: a side is also a sentence of the evaluation data.")
    duplicates: int = Field(description="Dropped: an equal pair came earlier, in this corpus or another.")
    surplus: int = Field(description="Left out by a cap on pairs.")
    withheld: int = Field(description="Left out: a side is also in a dev pair.")
    dev: int = Field(description="Held out for evaluations during training.")
    kept: dict[str, int] = Field(description="Training pairs by language.")


class LineCount(Frozen):
    """How many lines of one untranslated corpus have which status; the counts add up to ``read``."""

    reference: str = Field(description="The corpus, as the experiment names it.")
    language: str = Field(description="Of its lines.")
    read: int = Field(description="Lines.")
    unusable: int = Field(description="Dropped: no letter or digit, or over 2,000 characters.")
    overlap: int = Field(description="Dropped: also a sentence of the evaluation data.")
    duplicates: int = Field(description="Dropped: a training pair or an earlier line says the same.")
    surplus: int = Field(description="Left out by a cap.")
    withheld: int = Field(description="Left out: also in a dev pair.")
    kept: int = Field(description="Lines to train on, in stages that match an encoder's own vectors.")


class CorpusFacts(Frozen):
    """What a record says of its training data."""

    languages: tuple[str, ...] = Field(description="Sorted codes; numbers of languages are positions here.")
    train: dict[str, int] = Field(description="Training pairs by language.")
    dev: dict[str, int] = Field(description="Dev pairs by language.")
    sentences: int = Field(description="Distinct sentences of all pairs, English and other.")
    corpora: tuple[CorpusCount, ...]
    notes: tuple[str, ...] = Field(description="What readers of scores must know of the corpora.")
    near_duplicates: dict[str, float] = Field(
        default_factory=dict,
        description="By task of the suite: the share of its sentences with a near-duplicate in the training data.",
    )

    warnings: tuple[str, ...] = Field(default=(), description="What looks wrong with the pairs, e.g. swapped sides.")
    lines: tuple[LineCount, ...] = Field(
        default=(), exclude_if=lambda lines: not lines, description="Corpora of untranslated lines, if there are any."
    )

    def summary(self) -> str:
        """Return one line that accounts for every pair that was read."""
        counts = {
            "duplicates": sum(corpus.duplicates for corpus in self.corpora),
            "in a test set": self.overlap(),
            "over the budget or a cap": sum(corpus.surplus for corpus in self.corpora),
            "empty or too long": sum(corpus.unusable for corpus in self.corpora),
            "sharing a side with a held-out pair": sum(corpus.withheld for corpus in self.corpora),
        }
        always = ("duplicates", "in a test set", "over the budget or a cap")
        lost = [f"{count:,} {name}" for name, count in counts.items() if count or name in always]
        read, train, dev = sum(it.read for it in self.corpora), sum(self.train.values()), sum(self.dev.values())
        kept = f"{train + dev:,} kept ({train:,} to train on, {dev:,} held out)"
        return f"pairs: {read:,} read; {', '.join(lost)}; {kept}{self._lines()}"

    def _lines(self) -> str:
        """Return what accounts for every untranslated line that was read; nothing where there is none."""
        if not self.lines:
            return ""
        counts = {
            "duplicates": sum(it.duplicates for it in self.lines),
            "in a test set": sum(it.overlap for it in self.lines),
            "over a cap": sum(it.surplus for it in self.lines),
            "empty or too long": sum(it.unusable for it in self.lines),
            "in a held-out pair": sum(it.withheld for it in self.lines),
        }
        lost = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        read, kept = sum(it.read for it in self.lines), sum(it.kept for it in self.lines)
        return (
            f"; untranslated lines: {read:,} read; {f'{lost}; ' if lost else ''}{kept:,} kept, for stages that match an"
            " encoder's own vectors alone"
        )

    def overlap(self) -> int:
        """Return how many pairs were dropped because a side occurs in the evaluation data."""
        return sum(corpus.overlap for corpus in self.corpora)


def count_statuses(
    rows: Rows,
    status: npt.NDArray[np.uint8],
    *,
    references: Sequence[str],
    read: Sequence[int],
    languages: Sequence[str],
) -> tuple[CorpusCount, ...]:
    """Count the pairs of each corpus by status.

    Args:
        rows: All usable pairs, :data:`~xlbench.corpora.choose.ROW` [n].
        status: The :class:`~xlbench.corpora.choose.PairStatus` of each, uint8 [n].
        references: The corpora, in the order of their numbers in ``rows``.
        read: Number of pairs read from each, usable or not.
        languages: Codes, in the order of their numbers in ``rows``.
    """
    table = np.zeros((len(references), len(languages), len(PairStatus)), np.int64)
    np.add.at(table, (rows["corpus"], rows["language"], status), 1)
    return tuple(
        CorpusCount(
            reference=reference,
            read=read[number],
            unusable=read[number] - int(table[number].sum()),
            overlap=int(table[number, :, PairStatus.OVERLAP].sum()),
            duplicates=int(table[number, :, PairStatus.DUPLICATE].sum()),
            surplus=int(table[number, :, PairStatus.SURPLUS].sum()),
            withheld=int(table[number, :, PairStatus.WITHHELD].sum()),
            dev=int(table[number, :, PairStatus.DEV].sum()),
            kept={
                code: int(kept)
                for code, kept in zip(languages, table[number, :, PairStatus.TRAIN], strict=True)
                if kept
            },
        )
        for number, reference in enumerate(references)
    )
