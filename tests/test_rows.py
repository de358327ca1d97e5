"""Rows: seeds taken together, names that differ, and what may not share a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from toy_board import collapsed, example_records, example_student, shifted, student, with_tasks

from xlbench import XlbenchError
from xlbench.records.rows import (
    check_comparable,
    collapsed_seeds,
    family_mean,
    has_collapsed,
    latency,
    latency_difference,
    rows_of,
    seeds,
    subset_mean,
    task_mean,
    throughput_ratio,
    train_minutes,
    valid_runs,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from xlbench.records.record import Record

STS = example_student().scores.families["sts"]


def test_runs_that_differ_in_the_seed_alone_are_one_row_by_ascending_seed() -> None:
    (row,) = rows_of([student(seed=2), student(seed=0), student(seed=1)])
    assert row.name == "minilm-half"
    assert seeds(row) == (0, 1, 2)


def test_of_two_records_of_one_run_the_later_counts() -> None:
    (row,) = rows_of([student(0.0), student(5.0)])
    assert family_mean(row, "sts") == pytest.approx(STS + 5)


def test_rows_of_one_name_are_distinguished_by_method_then_by_number() -> None:
    encoder = example_records()[1]
    other = encoder.model_copy(update={"encoder_key": "0" * 20})
    rows = rows_of([student(), student(method="single-stage"), encoder, other])
    assert [row.name for row in rows] == [
        "multistage/minilm-half",
        "single-stage/minilm-half",
        "multilingual-e5-small",
        "multilingual-e5-small #2",
    ]


def test_two_copies_under_two_names_are_two_rows() -> None:
    encoder = example_records()[1]
    assert len(rows_of([encoder, encoder.model_copy(update={"name": "copy"})])) == 2


def test_means_leave_collapsed_seeds_out() -> None:
    (row,) = rows_of([student(0.0), student(2.0, seed=1), collapsed(student(-20.0, seed=2))])
    assert collapsed_seeds(row) == (2,)
    assert len(valid_runs(row)) == 2
    assert not has_collapsed(row)
    # Both tasks have one family each, so all means move with the points: (0 + 2) / 2 above the example's.
    assert family_mean(row, "sts") == pytest.approx(STS + 1)
    assert task_mean(row, "StarterSTS") == pytest.approx(STS + 1)
    one = example_student().scores.tasks["StarterSTS"].subsets["en-de"].main
    assert subset_mean(row, "StarterSTS", "en-de") == pytest.approx(one + 1)


def test_a_row_of_collapsed_seeds_only_has_the_mean_of_them() -> None:
    (row,) = rows_of([collapsed(student(0.0)), collapsed(student(2.0, seed=1))])
    assert has_collapsed(row)
    assert family_mean(row, "sts") == pytest.approx(STS + 1)


def test_speed_is_the_median_over_runs_and_training_the_mean() -> None:
    first = example_student()
    assert first.speed is not None
    (row,) = rows_of([student(seed=seed) for seed in range(3)])
    assert latency(row) == first.speed.model.latency.median
    assert throughput_ratio(row) == first.speed.throughput_ratio.median
    assert train_minutes(row) == pytest.approx(sum(stage.seconds for stage in first.stages) / 60)
    (unmeasured,) = rows_of([first.model_copy(update={"speed": None, "stages": ()})])
    assert latency(unmeasured) is None
    assert train_minutes(unmeasured) is None


def timed(record: Record, own: float, assistant: float, cpu: str = "this") -> Record:
    """A record whose encoder, and the assistant beside it, took so many milliseconds."""
    assert record.speed is not None
    mine, base = (
        pace.model_copy(update={"latency": pace.latency.model_copy(update={"median": value})})
        for pace, value in ((record.speed.model, own), (record.speed.baseline, assistant))
    )
    machine = record.speed.machine.model_copy(update={"cpu": cpu})
    ratio = record.speed.latency_ratio.model_copy(update={"median": assistant / own})
    changes = {"model": mine, "baseline": base, "latency_ratio": ratio, "machine": machine}
    return record.model_copy(update={"speed": record.speed.model_copy(update=changes)})


def test_a_difference_of_latency_is_of_shares_of_the_assistants() -> None:
    # The machine was slower by a half when the second was measured: 1.4 and 0.8 of the assistant's time, whose median
    # is 12.5 ms: 0.6 of that.
    looped = timed(student(), 14.0, 10.0)
    once = timed(student(method="once"), 12.0, 15.0)
    rows = {row.name: row for row in rows_of([looped, once])}
    assert latency_difference(rows["multistage/minilm-half"], rows["once/minilm-half"]) == pytest.approx(7.5)
    elsewhere = rows_of([looped, timed(student(method="once"), 12.0, 15.0, cpu="other")])
    assert latency_difference(*elsewhere) is None
    unmoved = rows_of([looped, timed(student(method="once"), 12.0, 0.0)])
    assert latency_difference(*unmoved) is None
    unmeasured = rows_of([looped, student(method="once").model_copy(update={"speed": None})])
    assert latency_difference(*unmeasured) is None


def budget(record: Record) -> Record:
    assert record.experiment is not None
    other = record.experiment.budget.model_copy(update={"name": "long", "student_pairs": 10**6})
    return record.model_copy(update={"experiment": record.experiment.model_copy(update={"budget": other})})


def languages(record: Record) -> Record:
    assert record.experiment is not None
    data = record.experiment.data.model_copy(update={"languages": ("de",)})
    return record.model_copy(update={"experiment": record.experiment.model_copy(update={"data": data})})


def scores(**changes: object) -> Callable[[Record], Record]:
    return lambda record: record.model_copy(update={"scores": record.scores.model_copy(update=changes)})


def revision(record: Record) -> Record:
    task = record.scores.tasks["StarterSTS"].model_copy(update={"data": "hub@other"})
    return with_tasks(record, {**record.scores.tasks, "StarterSTS": task})


def fewer(record: Record) -> Record:
    task = record.scores.tasks["StarterBitext"]
    subsets = {name: cell for name, cell in task.subsets.items() if name != "de-en"}
    return with_tasks(record, {**record.scores.tasks, "StarterBitext": task.model_copy(update={"subsets": subsets})})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (budget, "budgets 'example' and 'long'"),
        (languages, r"training data starter@8f2e53b9 in ar de es fr it nl tr .* and starter@8f2e53b9 in de "),
        (scores(suite="paper"), "suites 'starter' and 'paper'"),
        (scores(mteb_version="3.0.0"), "mteb 2.26.24 and 3.0.0"),
        (revision, "other data of StarterSTS .*'hub@other'"),
        (fewer, "other subsets of StarterBitext"),
    ],
)
def test_records_that_cannot_share_a_table_are_refused(change: Callable[[Record], Record], message: str) -> None:
    one, two = student(), change(student(method="single-stage"))
    with pytest.raises(XlbenchError, match=message):
        check_comparable(rows_of([one, two]))


def test_a_seed_in_the_middle_is_checked_too() -> None:
    with pytest.raises(XlbenchError, match="other data"):
        check_comparable(rows_of([student(), revision(student(seed=1))]))


def test_minor_versions_of_mteb_share_a_table() -> None:
    later = scores(mteb_version="2.99.0")(shifted(student(method="single-stage"), 1))
    check_comparable(rows_of([*example_records(), later]))
