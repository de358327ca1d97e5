"""The differences between two runs: by family, task and subset, and on single items."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field

from xlbench.comparison.bootstrap import Draws, Mean, mean, resample
from xlbench.comparison.compute import items_by_task
from xlbench.comparison.statistics import Interval, Points
from xlbench.experiment import Family, Measure, measure_of
from xlbench.fingerprint import Frozen
from xlbench.progress import progress
from xlbench.scoring.items import undefined_reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from xlbench.scoring.items import Items, ItemScores


class Gap(Frozen):
    """Two scores and their paired difference, first minus second, in points (score times 100); None if undefined."""

    first: Points | None
    second: Points | None
    difference: Interval | None
    subsets: int | None = Field(
        default=None,
        description="Of a mean: over how many subsets it is, where it is not over all: those where both are defined.",
    )


class Gaps(Frozen):
    """All gaps between two runs."""

    families: dict[Family, Gap]
    tasks: dict[str, Gap]
    subsets: dict[str, dict[str, Gap]]


class Disagreement(NamedTuple):
    """An item on which one of two runs is closer to the gold than the other.

    Attributes:
        row: Its position in the subset, from 0.
        gold: STS: the rank of the human judgement, 1 for the least similar; ties share their mean rank. Bitext: the
            index of the translation.
        first: STS: the rank in the first run. Bitext: the index of the sentence that the first run found.
        second: The same for the second run.
        apart: STS: by how much the distances of the two runs from the gold rank differ, divided by the number of items.
            Bitext: 1.
    """

    row: int
    gold: float
    first: float
    second: float
    apart: float


def find_gaps(
    first: Items, second: Items, families: Mapping[str, Family], *, resamples: int, seed: int = 0, quiet: bool = False
) -> Gaps:
    """Compare two runs on the same resamples of their items.

    Args:
        first: The items of the first run.
        second: The items of the second run, of the same tasks and data.
        families: The family of each task.
        resamples: Number of resamples.
        seed: Of the resampling.
        quiet: Show no progress bar.

    Raises:
        XlbenchError: The runs were scored on different items.
    """
    runs = items_by_task({"the first": [first], "the second": [second]})
    subsets: dict[str, dict[str, Gap]] = {}
    tasks: dict[str, Draws] = {}
    counts: dict[str, tuple[int, int]] = {}  # subsets in which both are defined, and all
    work = resamples * sum(len(it.item) for it in first.values())
    with progress("resampling the items", work, quiet=quiet, unit="draws") as advance:
        for task, pair in runs.items():
            paired, of_task, defined = Mean(), dict[str, Gap](), 0
            for subset, draws in resample(task, measure_of(families[task]), pair, resamples, seed, advance):
                of_task[subset] = _gap(draws)
                paired.add(draws.where_both())
                defined += not np.isnan(draws.value).any()
            subsets[task], tasks[task], counts[task] = of_task, paired.result(), (defined, len(of_task))
    tasks_by_family: dict[Family, list[str]] = {}
    for task in tasks:
        tasks_by_family.setdefault(families[task], []).append(task)
    return Gaps(
        families={
            family: _gap(mean([tasks[task] for task in names]), *np.sum([counts[task] for task in names], axis=0))
            for family, names in tasks_by_family.items()
        },
        tasks={task: _gap(draws, *counts[task]) for task, draws in tasks.items()},
        subsets=subsets,
    )


def _gap(draws: Draws, defined: int = 1, of: int = 1) -> Gap:
    first, second = (None if np.isnan(value) else float(value) for value in draws.value)
    subsets = int(defined) if defined < of else None
    return Gap(first=first, second=second, difference=draws.difference(0, 1), subsets=subsets)


def disagreements(measure: Measure, first: ItemScores, second: ItemScores) -> list[Disagreement]:
    """Return the items on which one of two runs is closer to the gold, the largest differences first.

    There are none where the score of one of them is undefined, since their ranks mean nothing then.

    Args:
        measure: How the task's items are scored.
        first: The items of a subset in the first run.
        second: The same items in the second run.
    """
    gold, one, two = (_to_compare(measure, values) for values in (first.gold, first.prediction, second.prediction))
    if undefined_reason(measure, first.prediction, first.gold) or undefined_reason(
        measure, second.prediction, second.gold
    ):
        return []
    if measure == "sts":
        apart = np.abs(np.abs(one - gold) - np.abs(two - gold)) / len(gold)
    else:
        apart = ((one == gold) != (two == gold)).astype(np.float64)
    rows = np.argsort(-apart, kind="stable").tolist()
    return [
        Disagreement(row, float(gold[row]), float(one[row]), float(two[row]), float(apart[row]))
        for row in rows
        if apart[row] > 0
    ]


def _to_compare(measure: Measure, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what is compared: for STS the ranks of the values, ties sharing their mean; for bitext the values."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values) if measure == "sts" else values, np.float64)
