"""Rows that differ in size only are a series; a series is named after what distinguishes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toy_board import example_records, student

from xlbench.records.rows import rows_of
from xlbench.report.figures import figures
from xlbench.report.series import series_of

if TYPE_CHECKING:
    from xlbench.records.record import Record
    from xlbench.report.figures import Figures


def table(*records: Record) -> Figures:
    return figures(rows_of([*example_records(), *records]))


def test_curves_of_one_method_are_named_by_their_layers() -> None:
    def size(name: str, more: int, executed: int) -> Record:
        record = student(name=name, parameters=more)
        footprint = record.footprint.model_copy(update={"stored_layers": 6, "executed_layers": executed})
        return record.model_copy(update={"footprint": footprint})

    rows = [size(f"{executed} {more}", more, executed) for executed in (6, 12) for more in (0, 10**7, 2 * 10**7)]
    assert {series.name for series in series_of(table(*rows))} == {"6 layers", "6 run as 12 layers"}
    # Two sizes make no curve; nor does one size three times.
    assert series_of(table(*rows[:2], *rows[3:5])) == []
    assert series_of(table(*(student(name=name) for name in "abc"))) == []


def test_students_of_8_bits_are_a_series_of_their_own() -> None:
    def rounded(record: Record) -> Record:
        assert record.experiment is not None
        spec = record.experiment.student.model_copy(update={"bits": 8})
        return record.model_copy(
            update={"name": f"{record.name}-8bit", "experiment": record.experiment.model_copy(update={"student": spec})}
        )

    whole = [student(name=name, parameters=more) for name, more in (("a", 10**6), ("b", 10**7), ("c", 2 * 10**7))]
    found = {series.name: series.rows for series in series_of(table(*whole, *map(rounded, whole)))}
    assert found == {
        "6 run as 12 layers": ("minilm-half", "a", "b", "c"),  # the first one is in every table here
        "6 run as 12 layers, 8 bits": ("a-8bit", "b-8bit", "c-8bit"),
    }
