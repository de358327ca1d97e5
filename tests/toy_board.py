"""Boards for tests: the example's records, varied, and statistics made by hand around their scores."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.comparison.statistics import Difference, Interval, RowStatistics, Statistics
from xlbench.records.record import Record, records_in
from xlbench.records.rows import family_mean, subset_mean, task_mean
from xlbench.scoring.scores import SubsetScores, TaskScores, family_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.records.rows import Row

EXAMPLE = Path(__file__).parent / "data" / "records"  # of an earlier run of the example, kept as it was
HALF = 2.0  # of a score's interval, points
PAIRED = 1.0  # half of a difference's interval, points


def example_records() -> list[Record]:
    """Teacher, assistant, aligned assistant and student."""
    order = {"teacher": 0, "assistant": 1, "aligned": 2, "student": 3}
    return sorted(records_in(EXAMPLE, quiet=True), key=lambda record: order[record.role])


def example_student() -> Record:
    return next(record for record in example_records() if record.role == "student")


def shifted(record: Record, points: float) -> Record:
    """The record with every score higher by so many points."""
    tasks = {
        name: task.model_copy(
            update={
                "subsets": {
                    subset: SubsetScores(
                        items=cell.items, main=None if cell.main is None else cell.main + points, metrics={}
                    )
                    for subset, cell in task.subsets.items()
                }
            }
        )
        for name, task in record.scores.tasks.items()
    }
    return with_tasks(record, tasks)


def with_tasks(record: Record, tasks: dict[str, TaskScores]) -> Record:
    scores = record.scores.model_copy(update={"tasks": tasks, "families": family_means(tasks.values())})
    return record.model_copy(update={"scores": scores})


def student(
    points: float = 0.0, *, name: str = "minilm-half", method: str = "multistage", seed: int = 0, parameters: int = 0
) -> Record:
    """The example's student, varied; ``parameters`` are added to its stored ones."""
    record = shifted(example_student(), points)
    assert record.experiment is not None
    experiment = record.experiment.model_copy(update={"method": method, "seed": seed})
    old = record.footprint
    assert old.weight_bytes is not None
    more = {"parameters": old.parameters + parameters, "weight_bytes": old.weight_bytes + 4 * parameters}
    size = old.model_copy(update=more)
    return record.model_copy(update={"name": name, "experiment": experiment, "footprint": size})


def collapsed(record: Record) -> Record:
    return record.model_copy(update={"scores": record.scores.model_copy(update={"collapsed": True})})


def around(value: float | None, half: float) -> Interval:
    assert value is not None
    return Interval(value=value, low=value - half, high=value + half, error=half / 2)


def _minus(one: float | None, two: float | None) -> float:
    assert one is not None
    assert two is not None
    return one - two


def statistics_of(rows: Sequence[Row]) -> Statistics:
    """Statistics in which scores are known to 2 points, and differences of over a point are real."""
    scores = rows[0].record.scores
    return Statistics(
        resamples=1000,
        seed=0,
        items=178,
        rows={
            row.name: RowStatistics(
                families={family: around(family_mean(row, family), HALF) for family in scores.families},
                tasks={task: around(task_mean(row, task), HALF) for task in scores.tasks},
                subsets={
                    task: {
                        subset: around(mean, 2 * HALF)
                        for subset in cell.subsets
                        if (mean := subset_mean(row, task, subset)) is not None
                    }
                    for task, cell in scores.tasks.items()
                },
                seeds=len(row.runs),
                task_seed_deviation=dict.fromkeys(scores.tasks, 0.5) if len(row.runs) > 1 else None,
            )
            for row in rows
        },
        differences=tuple(
            Difference(
                first=one.name,
                second=two.name,
                families={
                    family: around(_minus(family_mean(one, family), family_mean(two, family)), PAIRED)
                    for family in scores.families
                },
                tasks={
                    task: around(_minus(task_mean(one, task), task_mean(two, task)), PAIRED) for task in scores.tasks
                },
            )
            for one, two in combinations(rows, 2)
        ),
    )
