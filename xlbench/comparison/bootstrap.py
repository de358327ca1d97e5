"""Resampling the items of a task: every row of a board is scored on the same resamples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from xlbench.comparison.statistics import Interval
from xlbench.comparison.weighted import scorer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from xlbench.comparison.weighted import Floats, Scorer
    from xlbench.experiment import Family
    from xlbench.progress import Advance
    from xlbench.scoring.items import ItemScores

LEVELS = (0.025, 0.975)  # of a 95 % interval
CHUNK = 2**18  # counts held at a time: they stay in a core's cache


@dataclass(frozen=True)
class Draws:
    """A score of several rows, in points.

    Attributes:
        value: float64 [rows], on the items as they are.
        drawn: float64 [rows, resamples], on each resample; column i is the same resample in all rows, subsets
            and tasks.
    """

    value: Floats
    drawn: Floats

    def interval(self, row: int) -> Interval:
        """Return the score of a row with its interval."""
        return _interval(self.value[row], self.drawn[row])

    def difference(self, first: int, second: int) -> Interval:
        """Return the paired difference of two rows, first minus second, with its interval."""
        return _interval(self.value[first] - self.value[second], self.drawn[first] - self.drawn[second])

    def averaged(self, rows: Floats) -> Draws:
        """Return means of rows: ``rows`` [means, rows] holds the weight of each."""
        return Draws(rows @ self.value, rows @ self.drawn)


def mean(parts: Sequence[Draws]) -> Draws:
    """Return the mean of several scores, each counting the same."""
    return Draws(np.mean([part.value for part in parts], axis=0), np.mean([part.drawn for part in parts], axis=0))


def _interval(value: float, drawn: Floats) -> Interval:
    """Percentile interval and standard error (Efron and Tibshirani 1993, An Introduction to the Bootstrap)."""
    low, high = np.quantile(drawn, LEVELS)
    error = float(drawn.std(ddof=1)) if len(drawn) > 1 else 0.0
    return Interval(value=float(value), low=float(low), high=float(high), error=error)


def resample(
    task: str,
    family: Family,
    runs: Sequence[Mapping[str, ItemScores]],
    resamples: int,
    seed: int,
    advance: Advance,
) -> dict[str, Draws]:
    """Score several runs on resamples of a task's items.

    Subsets that share items, directly or through others, form a block; as many items as a block has are drawn
    from it with replacement, and a drawn item counts in each subset that has it. Blocks are independent. What
    is drawn depends on the seed, the task and its items alone, not on the runs.

    Args:
        task: Its name.
        family: Its family.
        runs: The items of each run by subset, all with the same numbers and golds.
        resamples: How many.
        seed: Of the drawing.
        advance: Told of each resample done, block by block in parts of one.

    Returns:
        By subset, in the order of the first run, with a row for each run.
    """
    found: dict[str, Draws] = {}
    for names in _blocks(runs[0]):
        first = [runs[0][name] for name in names]
        items, places = np.unique(np.concatenate([it.item for it in first]), return_inverse=True)
        at = np.split(places, np.cumsum([len(it.item) for it in first])[:-1])
        scorers = [scorer(family, runs[0][name].gold, [run[name].prediction for run in runs]) for name in names]
        values = _score(scorers, at, np.ones((1, len(items)), np.int32))
        drawn = np.empty((len(names), len(runs), resamples))
        generator = np.random.default_rng([seed, crc32(f"{task}/{names[0]}".encode())])
        done = 0
        for counts in _counts(generator, len(items), resamples):
            drawn[:, :, done : done + len(counts)] = _score(scorers, at, counts)
            done += len(counts)
            advance(len(counts) * sum(len(it.item) for it in first))
        found.update({name: Draws(values[i, :, 0], drawn[i]) for i, name in enumerate(names)})
    return {name: found[name] for name in runs[0]}


def _score(scorers: list[Scorer], at: list[NDArray[np.intp]], counts: NDArray[np.int32]) -> Floats:
    """Return points [subsets, runs, resamples] from counts [resamples, items]; ``at`` holds each row's item."""
    return np.stack([score(counts[:, rows]) for score, rows in zip(scorers, at, strict=True)])


def _blocks(subsets: Mapping[str, ItemScores]) -> list[list[str]]:
    """Return the names of the subsets, those together that share items."""
    blocks: list[tuple[list[str], set[int]]] = []
    for name, scores in subsets.items():
        names, items = [name], set(scores.item.tolist())
        apart = []
        for block in blocks:
            if block[1].isdisjoint(items):
                apart.append(block)
            else:
                names, items = block[0] + names, items | block[1]
        blocks = [*apart, (names, items)]
    return [names for names, _ in blocks]


def _counts(generator: np.random.Generator, items: int, resamples: int) -> Iterator[NDArray[np.int32]]:
    """Yield how often each item is drawn, int32 [some, items], for all resamples."""
    size = max(1, CHUNK // items)
    for start in range(0, resamples, size):
        some = min(size, resamples - start)
        drawn = generator.integers(0, items, size=(some, items)) + items * np.arange(some)[:, None]
        yield np.bincount(drawn.ravel(), minlength=some * items).reshape(some, items).astype(np.int32)
