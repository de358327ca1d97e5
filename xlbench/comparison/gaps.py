"""Two runs beside each other: what separates them in each family, task and subset, and on which items."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlbench.comparison.bootstrap import Draws, mean, resample
from xlbench.comparison.compute import by_task
from xlbench.comparison.statistics import Interval, Points
from xlbench.experiment import Family
from xlbench.fingerprint import Frozen
from xlbench.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from xlbench.scoring.items import Items, ItemScores


class Gap(Frozen):
    """Two scores and their paired difference, first minus second."""

    first: Points
    second: Points
    difference: Interval


class Gaps(Frozen):
    """All gaps between two runs."""

    families: dict[Family, Gap]
    tasks: dict[str, Gap]
    subsets: dict[str, dict[str, Gap]]


class Disagreement(NamedTuple):
    """An item that one of two runs gets more right than the other.

    Attributes:
        row: Its place in the subset, from 0.
        gold: STS: the item's rank by people, 1 for the least similar, ties sharing their mean. Bitext: its number.
        first: STS: its rank by the first run. Bitext: the number of the sentence that the first run found.
        second: The same of the second run.
        apart: STS: how much further one is off the gold than the other, as a share of all ranks. Bitext: 1.
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
        first: Its items.
        second: The other's, of the same tasks and data.
        families: The family of each task.
        resamples: How many.
        seed: Of the resampling.
        quiet: No progress bar.

    Raises:
        XlbenchError: They were scored on different items.
    """
    runs = by_task({"the first": [first], "the second": [second]})
    subsets: dict[str, dict[str, Gap]] = {}
    tasks: dict[str, Draws] = {}
    work = resamples * sum(len(it.item) for it in first.values())
    with progress("resampling the items", work, quiet=quiet, unit="draws") as advance:
        for task, both in runs.items():
            drawn = resample(task, families[task], both, resamples, seed, advance)
            subsets[task] = {subset: _gap(draws) for subset, draws in drawn.items()}
            tasks[task] = mean(list(drawn.values()))
    of_family: dict[Family, list[Draws]] = {}
    for task, draws in tasks.items():
        of_family.setdefault(families[task], []).append(draws)
    return Gaps(
        families={family: _gap(mean(parts)) for family, parts in of_family.items()},
        tasks={task: _gap(draws) for task, draws in tasks.items()},
        subsets=subsets,
    )


def _gap(draws: Draws) -> Gap:
    return Gap(first=draws.value[0], second=draws.value[1], difference=draws.difference(0, 1))


def disagreements(family: Family, first: ItemScores, second: ItemScores) -> list[Disagreement]:
    """Return the items that one of two runs gets more right than the other, those furthest apart first.

    Args:
        family: What the items are.
        first: A subset as one run has it.
        second: The same subset as the other has it.
    """
    gold, one, two = (_compared(family, values) for values in (first.gold, first.prediction, second.prediction))
    if family == "sts":
        apart = np.abs(np.abs(one - gold) - np.abs(two - gold)) / len(gold)
    else:
        apart = ((one == gold) != (two == gold)).astype(np.float64)
    rows = np.argsort(-apart, kind="stable").tolist()
    return [
        Disagreement(row, float(gold[row]), float(one[row]), float(two[row]), float(apart[row]))
        for row in rows
        if apart[row] > 0
    ]


def _compared(family: Family, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what runs are compared by: ranks of similarities, or the found sentences themselves."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values) if family == "sts" else values, np.float64)
