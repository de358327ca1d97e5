"""Items of several rows, side by side."""

from __future__ import annotations

from itertools import combinations
from statistics import stdev
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from xlbench.comparison.bootstrap import Draws, mean, resample
from xlbench.comparison.statistics import Difference, RowStatistics, Statistics
from xlbench.errors import XlbenchError
from xlbench.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xlbench.comparison.statistics import Interval
    from xlbench.comparison.weighted import Floats
    from xlbench.experiment import Family
    from xlbench.scoring.items import Items, ItemScores


def by_task(rows: Mapping[str, Sequence[Items]]) -> dict[str, list[dict[str, ItemScores]]]:
    """Return the items of all runs, row after row, by task and subset in the order of the first run.

    Args:
        rows: The items of each run of a row, by the row's name.

    Raises:
        XlbenchError: There is no row, a row has no run, or runs have other tasks, subsets or items.
    """
    runs = [(name, items) for name, row in rows.items() for items in row]
    if empty := [name for name, row in rows.items() if not row]:
        raise XlbenchError(f"Row '{empty[0]}' has no run to compute statistics from.", "Leave it out.")
    if not runs:
        raise XlbenchError("There is no row to compute statistics from.")
    first_name, first = runs[0]
    for name, items in runs:
        if different := _differing(first, items):
            raise XlbenchError(
                f"'{first_name}' and '{name}' were scored on other items of {different}: they cannot be compared.",
                "Score both on the same suite and data.",
            )
    found: dict[str, list[dict[str, ItemScores]]] = {}
    for task in dict.fromkeys(task for task, _ in first):
        found[task] = [{subset: items[task, subset] for of, subset in first if of == task} for _, items in runs]
    return found


def _differing(first: Items, other: Items) -> str | None:
    """Return where two runs have other items; None where they have the same."""
    for task, subset in [*first, *other]:
        one, two = first.get((task, subset)), other.get((task, subset))
        if one is None or two is None:
            return f"{task} {subset}"
        if not (np.array_equal(one.item, two.item) and np.array_equal(one.gold, two.gold)):
            return f"{task} {subset}"
    return None


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
    """Resample the items of all rows and return intervals, paired differences and the spread over seeds.

    A row's score on a resample is the mean over its seeds; a family's mean is that of
    :func:`xlbench.scoring.scores.family_means`. Tasks are resampled independently of each other.

    Args:
        rows: The items of each seed of a row, by the row's name, each with the same tasks, subsets and items.
            Leave out runs that collapsed: they would be averaged like any other.
        families: The family of each task.
        resamples: How many.
        seed: Of the resampling.
        quiet: No progress bar.

    Raises:
        XlbenchError: There is no row, a row has no run, or rows were scored on other items.
    """
    by_name = by_task(rows)
    sizes = [len(runs) for runs in rows.values()]
    over_seeds = np.repeat(np.eye(len(sizes)) / sizes, sizes, axis=1)  # [rows, runs]
    results: dict[str, _TaskResult] = {}
    work = resamples * sum(len(it.item) for runs in by_name.values() for it in runs[0].values())
    with progress("resampling the items", work, quiet=quiet, unit="draws") as advance:
        for task, runs in by_name.items():
            drawn = resample(task, families[task], runs, resamples, seed, advance)
            results[task] = _summary(drawn, over_seeds)
    of_family: dict[Family, list[str]] = {}
    for task in by_name:
        of_family.setdefault(families[task], []).append(task)
    family_draws = {name: mean([results[task].task for task in tasks]) for name, tasks in of_family.items()}
    family_runs = {name: np.mean([results[task].runs for task in tasks], axis=0) for name, tasks in of_family.items()}
    task_draws = {task: result.task for task, result in results.items()}
    task_runs = {task: result.runs for task, result in results.items()}
    bounds = np.cumsum([0, *sizes])
    return Statistics(
        resamples=resamples,
        seed=seed,
        items=sum(_distinct(runs[0]) for runs in by_name.values()),
        rows={
            name: RowStatistics(
                families=_intervals(family_draws, number),
                tasks=_intervals(task_draws, number),
                subsets={
                    task: {subset: by_row[number] for subset, by_row in result.subsets.items()}
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
                families=_differences(family_draws, one, two),
                tasks=_differences(task_draws, one, two),
            )
            for (one, first), (two, second) in combinations(enumerate(rows), 2)
        ),
    )


class _TaskResult(NamedTuple):
    """A task: intervals by subset and row, the mean over subsets by row, and its value by run, [runs]."""

    subsets: dict[str, list[Interval]]
    task: Draws
    runs: Floats


def _summary(drawn: Mapping[str, Draws], over_seeds: Floats) -> _TaskResult:
    """Keep of a task's draws what the statistics need: the draws of single subsets are many and go."""
    subsets = {name: draws.averaged(over_seeds) for name, draws in drawn.items()}
    intervals = {name: [draws.interval(row) for row in range(len(over_seeds))] for name, draws in subsets.items()}
    runs = np.mean([draws.value for draws in drawn.values()], axis=0)
    return _TaskResult(intervals, mean(list(subsets.values())), runs)


def _intervals(draws: Mapping[K, Draws], row: int) -> dict[K, Interval]:
    return {name: it.interval(row) for name, it in draws.items()}


def _differences(draws: Mapping[K, Draws], first: int, second: int) -> dict[K, Interval]:
    return {name: it.difference(first, second) for name, it in draws.items()}


def _deviations(values: Mapping[K, Floats], runs: slice) -> dict[K, float] | None:
    if runs.stop - runs.start < 2:
        return None
    return {name: stdev(by_run[runs].tolist()) for name, by_run in values.items()}


def _distinct(subsets: Mapping[str, ItemScores]) -> int:
    return len(np.unique(np.concatenate([it.item for it in subsets.values()])))
