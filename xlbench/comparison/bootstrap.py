"""The paired bootstrap: items of a task are resampled, and all rows of a board are scored on the same resamples."""

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

LEVELS = (0.025, 0.975)  # quantiles that bound a 95 % interval
CHUNK = 2**18  # counts held at a time, so that they stay in a core's cache


@dataclass(frozen=True)
class Draws:
    """A score of several rows on the items and on their resamples, in points (score times 100); NaN where undefined.

    Attributes:
        value: On the items as they are, float64 [rows].
        drawn: On each resample, float64 [rows, resamples]; column i is the same resample for all rows, subsets and
            tasks.
    """

    value: Floats
    drawn: Floats

    def interval(self, row: int) -> Interval | None:
        """Return the score of a row with its interval; None where it is undefined."""
        return _interval(self.value[row], self.drawn[row])

    def difference(self, first: int, second: int) -> Interval | None:
        """Return the paired difference of two rows, first minus second, with its interval; None where undefined."""
        return _interval(self.value[first] - self.value[second], self.drawn[first] - self.drawn[second])

    def average(self, weights: Floats) -> Draws:
        """Return weighted means of rows; one is undefined where a row that has weight in it is.

        Args:
            weights: float64 [means, rows].
        """
        return Draws(_weighted(weights, self.value), _weighted(weights, self.drawn))

    def where_both(self) -> Draws:
        """Return the same scores, undefined in all rows where they are in one: for a comparison of the rows."""
        return self if not np.isnan(self.value).any() else Draws(self.value + np.nan, self.drawn + np.nan)


def _weighted(weights: Floats, values: Floats) -> Floats:
    undefined = np.isnan(values)
    if not undefined.any():
        return weights @ values
    means: Floats = weights @ np.where(undefined, 0.0, values)
    means[(weights != 0).astype(np.float64) @ undefined > 0] = np.nan
    return means


def mean(parts: Sequence[Draws]) -> Draws:
    """Return the mean of several scores, which all have the same weight.

    A score that is undefined on the items as they are is not part of a row's mean; a mean of nothing is undefined. One
    that is undefined on a resample only makes the mean undefined there, and the resample is not used.
    """
    values, drawn = [part.value for part in parts], [part.drawn for part in parts]
    undefined = np.isnan(values)
    if not undefined.any():
        return Draws(np.mean(values, axis=0), np.mean(drawn, axis=0))
    rows = range(undefined.shape[1])
    chosen = [np.flatnonzero(~undefined[:, row]).tolist() for row in rows]
    value = np.array([np.mean([values[part][row] for part in chosen[row]]) if chosen[row] else np.nan for row in rows])
    nothing = np.full(drawn[0].shape[1], np.nan)
    means = [np.mean([drawn[part][row] for part in chosen[row]], axis=0) if chosen[row] else nothing for row in rows]
    return Draws(value, np.stack(means))


def _interval(value: float, drawn: Floats) -> Interval | None:
    """Percentile interval and standard error (Efron and Tibshirani 1993, An Introduction to the Bootstrap)."""
    drawn = drawn[~np.isnan(drawn)]  # of a handful of items, a resample may hold no two different values
    if np.isnan(value) or not len(drawn):
        return None
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

    Subsets that share items, directly or through other subsets, form a block. From a block as many items are drawn with
    replacement as it has, and a drawn item counts in each subset that has it. Blocks are drawn independently. The draws
    depend on the seed, the task and its items only, not on the runs.

    Args:
        task: Name of the task.
        family: Family of the task.
        runs: The items of each run by subset; all runs have the same item numbers and golds.
        resamples: Number of resamples.
        seed: Of the draws.
        advance: Called with the work done: the number of resamples times that of the rows that were scored on them.

    Returns:
        By subset, in the order of the first run: draws with a row for each run.
    """
    draws: dict[str, Draws] = {}
    for names in _blocks(runs[0]):
        first = [runs[0][name] for name in names]
        items, positions = np.unique(np.concatenate([it.item for it in first]), return_inverse=True)
        item_of_row = np.split(positions, np.cumsum([len(it.item) for it in first])[:-1])
        scorers = [scorer(family, runs[0][name].gold, [run[name].prediction for run in runs]) for name in names]
        values = _score(scorers, item_of_row, np.ones((1, len(items)), np.int32))
        drawn = np.empty((len(names), len(runs), resamples))
        generator = np.random.default_rng([seed, crc32(f"{task}/{names[0]}".encode())])
        done = 0
        for counts in _draw_counts(generator, len(items), resamples):
            drawn[:, :, done : done + len(counts)] = _score(scorers, item_of_row, counts)
            done += len(counts)
            advance(len(counts) * sum(len(it.item) for it in first))
        draws.update({name: Draws(values[i, :, 0], drawn[i]) for i, name in enumerate(names)})
    return {name: draws[name] for name in runs[0]}


def _score(scorers: list[Scorer], item_of_row: list[NDArray[np.intp]], counts: NDArray[np.int32]) -> Floats:
    """Score the subsets of a block on resamples.

    Args:
        scorers: One for each subset.
        item_of_row: For each subset, the item of each of its rows.
        counts: How often each item of the block is drawn, [resamples, items].

    Returns:
        Points, [subsets, runs, resamples].
    """
    return np.stack([score(counts[:, items]) for score, items in zip(scorers, item_of_row, strict=True)])


def _blocks(subsets: Mapping[str, ItemScores]) -> list[list[str]]:
    """Group the names of the subsets: those that share items are in one group."""
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


def _draw_counts(generator: np.random.Generator, items: int, resamples: int) -> Iterator[NDArray[np.int32]]:
    """Yield how often each item is drawn, int32 [resamples of a chunk, items], chunk by chunk."""
    chunk = max(1, CHUNK // items)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = generator.integers(0, items, size=(size, items)) + items * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * items).reshape(size, items).astype(np.int32)
