"""The paired bootstrap: items of a task are resampled, and all rows of a board are scored on the same resamples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from xlbench.comparison.statistics import Interval
from xlbench.comparison.weighted import Counts, scorer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from xlbench.comparison.weighted import Floats, Scorer
    from xlbench.experiment import Measure
    from xlbench.progress import Advance
    from xlbench.scoring.items import ItemScores

LEVELS = (0.025, 0.975)  # quantiles that bound a 95 % interval
CHUNK = 2**18  # counts held at a time, so that they stay in a core's cache
HELD = 2**24  # scores of resamples held at a time, 128 MiB


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


class Mean:
    """The mean of scores that come one after the other, all of the same weight; only their sum is held.

    A score that is undefined on the items as they are is not part of a row's mean; a mean of nothing is undefined. One
    that is undefined on a resample only makes the mean undefined there, and the resample is not used.
    """

    def __init__(self) -> None:
        self._values: list[Floats] = []
        self._total: Floats | None = None

    def add(self, part: Draws) -> None:
        """Add a score."""
        if self._total is None:
            self._total = np.zeros(part.drawn.shape)
        defined = ~np.isnan(part.value)
        if defined.all():
            self._total += part.drawn
        else:
            self._total[defined] += part.drawn[defined]
        self._values.append(part.value)

    def result(self) -> Draws:
        """Return the mean of what was added, which is one score at least."""
        values, total = np.array(self._values), self._total
        assert total is not None
        defined = ~np.isnan(values)
        if defined.all():
            return Draws(np.mean(values, axis=0), total / len(values))
        of_row = zip(values.T, defined.T, strict=True)
        value = np.array([np.mean(own[there]) if there.any() else np.nan for own, there in of_row])
        counts = defined.sum(axis=0)
        return Draws(value, np.where(counts[:, None] > 0, total / np.maximum(counts, 1)[:, None], np.nan))


def mean(parts: Iterable[Draws]) -> Draws:
    """Return the mean of several scores as :class:`Mean` does."""
    found = Mean()
    for part in parts:
        found.add(part)
    return found.result()


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
    measure: Measure,
    runs: Sequence[Mapping[str, ItemScores]],
    resamples: int,
    seed: int,
    advance: Advance,
) -> Iterator[tuple[str, Draws]]:
    """Score several runs on resamples of a task's items.

    Subsets that share items, directly or through other subsets, form a block. From a block as many items are drawn with
    replacement as it has, and a drawn item counts in each subset that has it. Blocks are drawn independently. The draws
    depend on the seed, the task and its items only, not on the runs.

    A task may have tens of thousands of subsets. So subsets are scored some at a time (:data:`HELD`), and for each lot
    the items of a block are drawn anew, the same ones.

    Args:
        task: Name of the task.
        measure: How its items are scored.
        runs: The items of each run by subset; all runs have the same item numbers and golds.
        resamples: Number of resamples.
        seed: Of the draws.
        advance: Called with the work done: the number of resamples times that of the rows that were scored on them.

    Yields:
        Each subset, in the order of the first run, and its draws with a row for each run. Do not hold those of all.
    """
    names = list(runs[0])
    blocks = _blocks(runs[0])
    block_of = {name: block for block in blocks for name in block.names}
    lot = max(1, HELD // (len(runs) * resamples))
    for start in range(0, len(names), lot):
        of_block: dict[str, list[str]] = {}
        for name in names[start : start + lot]:
            of_block.setdefault(block_of[name].names[0], []).append(name)
        draws: dict[str, Draws] = {}
        for first, some in of_block.items():
            generator = np.random.default_rng([seed, crc32(f"{task}/{first}".encode())])
            loaded = [{name: run[name] for name in some} for run in runs]
            draws |= _draw(measure, loaded, block_of[first].items, generator, resamples, advance)
        for name in names[start : start + lot]:
            yield name, draws.pop(name)


def _draw(
    measure: Measure,
    runs: Sequence[Mapping[str, ItemScores]],
    items: NDArray[np.intp],
    generator: np.random.Generator,
    resamples: int,
    advance: Advance,
) -> dict[str, Draws]:
    """Score subsets of one block on resamples of its items, whose numbers ``items`` are in ascending order."""
    first = runs[0]
    places: list[NDArray[np.intp]] = []
    for it in first.values():
        own = np.searchsorted(items, it.item)
        # Subsets with the same items, as those of a column per language, share one array.
        places.append(places[-1] if places and np.array_equal(places[-1], own) else own)
    scorers = [scorer(measure, it.gold, [run[name].prediction for run in runs]) for name, it in first.items()]
    values = _score(scorers, places, np.ones((1, len(items)), np.int32))
    drawn = np.empty((len(first), len(runs), resamples))
    done = 0
    for counts in _draw_counts(generator, len(items), resamples):
        drawn[:, :, done : done + len(counts)] = _score(scorers, places, counts)
        done += len(counts)
        advance(len(counts) * sum(map(len, places)))
    return {name: Draws(values[i, :, 0], drawn[i]) for i, name in enumerate(first)}


def _score(scorers: list[Scorer], places: list[NDArray[np.intp]], counts: NDArray[np.int32]) -> Floats:
    """Score subsets of a block on resamples.

    Args:
        scorers: One for each subset.
        places: For each subset, the place of each of its rows' items in the block.
        counts: How often each item of the block is drawn, [resamples, items].

    Returns:
        Points, [subsets, runs, resamples].
    """
    points: list[Floats] = []
    last, given = None, Counts(counts)
    for score, own in zip(scorers, places, strict=True):
        if own is not last:
            last, given = own, Counts(counts[:, own])
        points.append(score(given))
    return np.stack(points)


@dataclass(frozen=True)
class _Block:
    """Subsets that share items.

    Attributes:
        names: Of the subsets.
        items: The numbers of their items, in ascending order.
    """

    names: list[str]
    items: NDArray[np.intp]


def _blocks(subsets: Mapping[str, ItemScores]) -> list[_Block]:
    """Group the subsets: those that share items are in one group."""
    blocks: dict[int, list[str]] = {}  # by label, those that grew last at the end
    label_of = np.full(0, -1)  # by number of the item
    for label, (name, scores) in enumerate(subsets.items()):
        if (more := int(scores.item.max(initial=-1)) + 1 - len(label_of)) > 0:
            label_of = np.concatenate([label_of, np.full(more, -1)])
        met = set(np.unique(label_of[scores.item]).tolist())
        names = [name]
        for other in [it for it in blocks if it in met]:
            before = blocks.pop(other)
            before.extend(names)
            names = before
            label_of[label_of == other] = label
        label_of[scores.item] = label
        blocks[label] = names
    return [_Block(names, np.flatnonzero(label_of == label)) for label, names in blocks.items()]


def _draw_counts(generator: np.random.Generator, items: int, resamples: int) -> Iterator[NDArray[np.int32]]:
    """Yield how often each item is drawn, int32 [resamples of a chunk, items], chunk by chunk."""
    chunk = max(1, CHUNK // items)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = generator.integers(0, items, size=(size, items)) + items * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * items).reshape(size, items).astype(np.int32)
