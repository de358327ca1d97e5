"""Statistics of the rows of a board: their items are matched, resampled together and summarised."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import combinations
from statistics import stdev
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from xlbench.comparison.bootstrap import Draws, Mean, mean, resample
from xlbench.comparison.statistics import Difference, RowStatistics, Statistics
from xlbench.errors import XlbenchError
from xlbench.experiment import measure_of
from xlbench.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from xlbench.comparison.statistics import Interval
    from xlbench.comparison.weighted import Floats
    from xlbench.experiment import Family
    from xlbench.scoring.items import Items, ItemScores

K = TypeVar("K", bound=str)
RESAMPLES = 10_000


def compute_statistics(
    rows: Mapping[str, Sequence[Items]],
    families: Mapping[str, Family],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    quiet: bool = False,
) -> Statistics:
    """Resample the items of all rows; return intervals, paired differences and deviations over seeds.

    The score of a row on a resample is the mean over its seeds. The mean of a family is defined as in
    :func:`xlbench.scoring.scores.family_means`: a score that is undefined is left out. Tasks are resampled
    independently of each other.

    Args:
        rows: For each row, by name, the items of its seeds; all with the same tasks, subsets and items. Leave out runs
            that collapsed, which would be averaged like any other.
        families: The family of each task.
        resamples: Number of resamples.
        seed: Of the resampling.
        quiet: Show no progress bar.

    Raises:
        XlbenchError: There is no row, a row has no run, or rows were scored on different items.
    """
    runs_by_task = items_by_task(rows)
    sizes = [len(runs) for runs in rows.values()]
    seed_weights = np.repeat(np.eye(len(sizes)) / sizes, sizes, axis=1)  # [rows, runs]
    results: dict[str, _TaskResult] = {}
    work = resamples * sum(len(it.item) for runs in runs_by_task.values() for it in runs[0].values())
    with progress("resampling the items", work, quiet=quiet, unit="draws") as advance:
        for task, runs in runs_by_task.items():
            drawn = resample(task, measure_of(families[task]), runs, resamples, seed, advance)
            results[task] = _summarise(drawn, seed_weights)
    tasks_by_family: dict[Family, list[str]] = {}
    for task in runs_by_task:
        tasks_by_family.setdefault(families[task], []).append(task)
    family_draws = {name: mean([results[task].task for task in tasks]) for name, tasks in tasks_by_family.items()}
    family_runs = {name: _mean([results[task].runs for task in tasks]) for name, tasks in tasks_by_family.items()}
    family_defined = {
        name: np.concatenate([results[task].defined for task in tasks]) for name, tasks in tasks_by_family.items()
    }
    task_defined = {task: result.defined for task, result in results.items()}
    task_draws = {task: result.task for task, result in results.items()}
    task_runs = {task: result.runs for task, result in results.items()}
    bounds = np.cumsum([0, *sizes])
    return Statistics(
        resamples=resamples,
        seed=seed,
        items=sum(_count_items(runs[0]) for runs in runs_by_task.values()),
        rows={
            name: RowStatistics(
                families=_intervals(family_draws, number),
                tasks=_intervals(task_draws, number),
                subsets={
                    task: {
                        subset: interval
                        for subset, by_row in result.subsets.items()
                        if (interval := by_row[number]) is not None
                    }
                    for task, result in results.items()
                },
                seeds=sizes[number],
                seed_deviation=_deviations(family_runs, slice(bounds[number], bounds[number + 1])),
                task_seed_deviation=_deviations(task_runs, slice(bounds[number], bounds[number + 1])),
            )
            for number, name in enumerate(rows)
        },
        differences=tuple(
            Difference(
                first=first,
                second=second,
                families=_differences(family_draws, family_defined, one, two),
                tasks=_differences(task_draws, task_defined, one, two),
            )
            for (one, first), (two, second) in combinations(enumerate(rows), 2)
        ),
    )


def items_by_task(rows: Mapping[str, Sequence[Items]]) -> dict[str, list[TaskItems]]:
    """Check that all runs have the same items, and arrange these by task.

    Args:
        rows: The items of the runs of each row, by the row's name.

    Returns:
        For each task, the items of all runs by subset, row after row. Tasks and subsets are in the order of the first
        run.

    Raises:
        XlbenchError: There is no row, a row has no run, or runs differ in tasks, subsets or items.
    """
    runs = [(name, items) for name, row in rows.items() for items in row]
    if empty := [name for name, row in rows.items() if not row]:
        raise XlbenchError(f"Row '{empty[0]}' has no run to compute statistics from.", "Leave it out.")
    if not runs:
        raise XlbenchError("There is no row to compute statistics from.")
    first_name, first = runs[0]
    for name, items in runs:
        if place := _find_difference(first, items):
            raise XlbenchError(
                f"'{first_name}' and '{name}' were scored on different items of {place}, so they cannot be compared.",
                "Score both on the same suite and data.",
            )
    subsets: dict[str, list[str]] = {}
    for task, subset in first:
        subsets.setdefault(task, []).append(subset)
    return {task: [TaskItems(items, task, names) for _, items in runs] for task, names in subsets.items()}


class TaskItems(Mapping[str, "ItemScores"]):
    """The items of one task by subset, which stay where they are until they are asked for."""

    def __init__(self, items: Items, task: str, subsets: Sequence[str]) -> None:
        self._items, self._task, self._subsets = items, task, subsets

    def __getitem__(self, subset: str) -> ItemScores:
        return self._items[self._task, subset]

    def __iter__(self) -> Iterator[str]:
        return iter(self._subsets)

    def __len__(self) -> int:
        return len(self._subsets)


class _TaskResult(NamedTuple):
    """The results of a task.

    Attributes:
        subsets: The interval of each row, by subset; None where its score is undefined.
        task: The mean over subsets, with a row of draws for each row of the board.
        runs: The mean over subsets of each run, on the items as they are, float64 [runs].
        defined: Whether a score is defined, bool [subsets, rows].
    """

    subsets: dict[str, list[Interval | None]]
    task: Draws
    runs: Floats
    defined: NDArray[np.bool_]


def _summarise(drawn: Iterable[tuple[str, Draws]], seed_weights: Floats) -> _TaskResult:
    """Reduce the draws of a task's subsets, of which few are held at a time, to what the statistics need."""
    intervals: dict[str, list[Interval | None]] = {}
    runs: list[Floats] = []
    defined: list[NDArray[np.bool_]] = []
    over_subsets = Mean()
    for name, draws in drawn:
        rows = draws.average(seed_weights)
        intervals[name] = [rows.interval(row) for row in range(len(seed_weights))]
        runs.append(draws.value)
        defined.append(~np.isnan(rows.value))
        over_subsets.add(rows)
    return _TaskResult(intervals, over_subsets.result(), _mean(runs), np.array(defined))


def _mean(scores: Sequence[Floats]) -> Floats:
    """Return the mean of the defined scores of each run, float64 [runs]; NaN without any."""
    found: Floats = np.mean(scores, axis=0)
    for run in np.flatnonzero(np.isnan(found)):
        defined = [each[run] for each in scores if not np.isnan(each[run])]
        found[run] = np.mean(defined) if defined else np.nan
    return found


def _intervals(draws: Mapping[K, Draws], row: int) -> dict[K, Interval]:
    return {name: interval for name, it in draws.items() if (interval := it.interval(row)) is not None}


def _differences(
    draws: Mapping[K, Draws], defined: Mapping[K, NDArray[np.bool_]], first: int, second: int
) -> dict[K, Interval]:
    """Return the differences of two rows where both are means over the same subsets."""
    return {
        name: interval
        for name, it in draws.items()
        if (defined[name][:, first] == defined[name][:, second]).all()
        and (interval := it.difference(first, second)) is not None
    }


def _deviations(values: Mapping[K, Floats], runs: slice) -> dict[K, float] | None:
    """Return the sample standard deviations over the runs of a row; None for a single run."""
    if runs.stop - runs.start < 2:
        return None
    found = {name: by_run[runs] for name, by_run in values.items()}
    return {name: stdev(by_run.tolist()) for name, by_run in found.items() if not np.isnan(by_run).any()}


def _count_items(subsets: Mapping[str, ItemScores]) -> int:
    return len(reduce(np.union1d, (it.item for it in subsets.values())))


def _find_difference(first: Items, other: Items) -> str | None:
    """Return the first task and subset whose items differ; None if the runs have the same items."""
    for task, subset in [*first, *other]:
        one, two = first.get((task, subset)), other.get((task, subset))
        if one is None or two is None:
            return f"{task} {subset}"
        if not (np.array_equal(one.item, two.item) and np.array_equal(one.gold, two.gold, equal_nan=True)):
            return f"{task} {subset}"
    return None
