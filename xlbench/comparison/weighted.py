"""Main scores of resamples that are given as counts: how often each item is drawn.

Everything that does not depend on the counts, above all sorting, is done once, so that a resample takes O(items). If
each item is drawn once, the scores are those of :func:`xlbench.scoring.items.main_score`. For other counts, Spearman's
rho is that of the drawn items, and F1 is the mean contribution of the drawn rows, see :func:`contributions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from xlbench.experiment import Measure

    Floats: TypeAlias = NDArray[np.float64]
    Scorer: TypeAlias = Callable[["Counts"], Floats]


@dataclass(frozen=True)
class Counts:
    """How often each item of a subset is drawn; subsets with the same items share it, and what follows from it.

    Attributes:
        drawn: int32 [resamples, n].
    """

    drawn: NDArray[np.int32]

    @cached_property
    def weights(self) -> Floats:
        """The counts as float64 [resamples, n]."""
        return self.drawn.astype(np.float64)

    @cached_property
    def total(self) -> Floats:
        """The number of drawn items, float64 [resamples]."""
        total: Floats = self.drawn.sum(axis=1, dtype=np.float64)
        return total


def scorer(measure: Measure, gold: NDArray[np.float32], predictions: Sequence[NDArray[np.float32]]) -> Scorer:
    """Prepare scoring several encoders on resamples of one subset.

    Args:
        measure: Decides the score: Spearman's rho for 'sts', F1 for 'bitext'.
        gold: float32 [n], as in :class:`xlbench.scoring.items.ItemScores`.
        predictions: float32 [n] for each encoder.

    Returns:
        A function from counts to points, float64 [encoders, resamples].
    """
    return _spearman(gold, predictions) if measure == "sts" else _f1(gold, predictions)


@dataclass(frozen=True)
class _Order:
    """The ascending order of n values.

    Attributes:
        rows: The rows in ascending order of their values, [n].
        bounds: Positions in ``rows`` at which groups of tied values begin, then n: [groups + 1].
    """

    rows: NDArray[np.intp]
    bounds: NDArray[np.intp]

    @property
    def tied(self) -> bool:
        return len(self.bounds) <= len(self.rows)

    def groups(self) -> NDArray[np.intp]:
        """Return the number of the tie group at each position in ``rows``, [n]."""
        return np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))


def _order(values: NDArray[np.float32]) -> _Order:
    rows = np.argsort(values, kind="stable")
    steps = np.flatnonzero(np.diff(values[rows])) + 1
    return _Order(rows, np.concatenate([[0], steps, [len(values)]]))


def _spearman(gold: NDArray[np.float32], predictions: Sequence[NDArray[np.float32]]) -> Scorer:
    """Spearman's rho: Pearson's correlation of midranks, here weighted by counts.

    A group of tied values that takes the ranks C' + 1 to C has the midrank (C' + C + 1) / 2. The midranks of N drawn
    items have the mean (N + 1) / 2 and the sum of squared deviations (N^3 - sum of cubed group sizes) / 12
    (Kendall 1945, The treatment of ties in ranking problems). The score is NaN, undefined, if all drawn values of
    either side are tied, or if a value of either side is not a number.
    """
    truth, orders = _order(gold), [_order(values) for values in predictions]
    gold_group = np.empty(len(gold), np.intp)  # of each row, in the order of the data
    gold_group[truth.rows] = truth.groups()

    def score(given: Counts) -> Floats:
        counts, drawn = given.drawn, given.total
        ranks, gold_spread = _ranks(truth, counts, drawn)
        weighted = counts * ranks[:, gold_group].astype(np.float64)
        points = np.full((len(orders), len(counts)), np.nan)
        for number, order in enumerate(orders):
            if np.isnan(gold).any() or np.isnan(predictions[number]).any():
                continue
            ranks, spread = _ranks(order, counts, drawn)
            row_ranks = ranks[:, order.groups()] if order.tied else ranks
            # Both sides are twice the midranks, which gives the factor 4.
            rank_sum = np.einsum("ij,ij->i", weighted[:, order.rows], row_ranks.astype(np.float64))
            covariance = rank_sum / 4 - drawn * (drawn + 1) ** 2 / 4
            scale = np.sqrt(gold_spread * spread)
            np.divide(100 * covariance, scale, out=points[number], where=scale > 0)
        return points

    return score


def _ranks(order: _Order, counts: NDArray[np.int32], drawn: Floats) -> tuple[NDArray[np.int32], Floats]:
    """Return twice the midrank of each tie group, [resamples, groups], and the sum of squared deviations of ranks."""
    cumulative = np.zeros((len(counts), len(order.rows) + 1), np.int32)
    np.cumsum(counts[:, order.rows], axis=1, dtype=np.int32, out=cumulative[:, 1:])
    if order.tied:
        cumulative = cumulative[:, order.bounds]
    sizes = np.diff(cumulative, axis=1).astype(np.float64)
    spread = (drawn**3 - np.einsum("ij,ij,ij->i", sizes, sizes, sizes)) / 12
    return cumulative[:, :-1] + cumulative[:, 1:] + np.int32(1), spread


def contributions(gold: NDArray[np.float32], prediction: NDArray[np.float32]) -> Floats:
    """Split the F1 of one subset into the contributions of its rows, whose mean is F1 / 100.

    Let a class have c rows, t of them predicted correctly, and p predictions. The weighted F1 of n rows is
    1 - (1 / n) sum over classes of c (1 - 2 t / (c + p)), and c (1 - 2 t / (c + p)) = ((c - t) + (p - t)) c / (c + p).
    So each row of the class that is missed, and each row wrongly predicted as the class, costs c / (c + p). A correct
    row contributes 1, and a wrong row 1 minus its two costs.

    The F1 of the drawn rows themselves would be biased: a row drawn twice has its own copy as a second correct answer,
    and competitors that are not drawn are missing. At an F1 of 75 (n = 200) this raises the scores of resamples by two
    points, and intervals no longer cover the true score 95 times in 100. With contributions, every resample keeps the
    candidates of the whole test set and draws the rows only. Intervals are slightly too wide if many rows are wrong,
    since a competitor for a translation that its own row missed is charged in full: in simulations the coverage is 95 %
    at an F1 of 90, 96 % at 75 and 98 % at 50.

    Args:
        gold: float32 [n], classes as numbers.
        prediction: float32 [n].

    Returns:
        float64 [n], at most 1.
    """
    classes, labels = np.unique(np.concatenate([gold, prediction]), return_inverse=True)
    expected, predicted = np.split(labels, 2)
    support = np.bincount(expected, minlength=len(classes))
    cost = support / (support + np.bincount(predicted, minlength=len(classes)))
    return np.where(expected == predicted, 1.0, 1.0 - cost[expected] - cost[predicted])


def _f1(gold: NDArray[np.float32], predictions: Sequence[NDArray[np.float32]]) -> Scorer:
    # A subset with a row that has no nearest neighbour is undefined as a whole.
    rows = [
        np.full(len(gold), np.nan) if np.isnan(values).any() else contributions(gold, values) for values in predictions
    ]
    row_points = 100 * np.stack(rows, axis=1)  # [n, encoders]

    def score(counts: Counts) -> Floats:
        points: Floats = (counts.weights @ row_points).T / np.maximum(counts.total, 1)
        return points

    return score
