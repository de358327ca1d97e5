"""All that a board says: its frames, the rows that they are made of, and what the rows rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlbench.comparison.rank import Standing
from xlbench.records.rows import baseline, family_deviation, family_mean, kept_languages, ranked
from xlbench.report.frame import board_frame, records_of, task_frame, tidy_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from xlbench.comparison.statistics import Interval, Statistics
    from xlbench.experiment import Family
    from xlbench.records.published import PublishedRow
    from xlbench.records.record import Failure
    from xlbench.records.rows import Row
    from xlbench.report.frame import Value
    from xlbench.scoring.scores import SuiteScores


@dataclass(frozen=True)
class Figures:
    """The figures of a board.

    Attributes:
        rows: The measured rows, in table order: their lines come first in ``board``.
        board: A line per row, see :func:`~xlbench.report.frame.board_frame`.
        tasks: A line per row and task, see :func:`~xlbench.report.frame.task_frame`.
        tidy: A line per row, seed, task and subset, see :func:`~xlbench.report.frame.tidy_frame`.
        base: The row that drops are measured against.
        statistics: None where they were not computed.
        published: Rows by others.
        failures: Runs that ended without an encoder.
    """

    rows: tuple[Row, ...]
    board: DataFrame
    tasks: DataFrame
    tidy: DataFrame
    base: Row | None
    statistics: Statistics | None
    published: tuple[PublishedRow, ...]
    failures: tuple[Failure, ...]

    @property
    def scores(self) -> SuiteScores:
        """The scores of the first row: what they say of tasks and data holds for all rows."""
        return self.rows[0].record.scores

    @property
    def families(self) -> tuple[Family, ...]:
        """The families of the suite's tasks, in table order."""
        return tuple(self.scores.families)

    def lost(self) -> tuple[str, ...]:
        """Return the names of rows all of whose runs failed."""
        return tuple(self.board["name"][self.board["role"] == "failed"])

    @property
    def lines(self) -> tuple[Line, ...]:
        """What plots show of each measured row."""
        known = self.statistics.rows if self.statistics else {}
        found = []
        for row, line in zip(self.rows, records_of(self.board), strict=False):
            measured = known.get(row.name)
            qualities = {
                family: Quality(
                    family_mean(row, family),
                    measured.families.get(family) if measured else None,
                    family_deviation(row, family),
                    _standing(line, family),
                )
                for family in self.families
            }
            found.append(Line(row, qualities, kept_languages(row, self.base)))
        return tuple(found)


@dataclass(frozen=True)
class Quality:
    """A row in one family, as plots show it; a score that is undefined is None."""

    score: float | None
    interval: Interval | None
    deviation: float | None
    standing: Standing | None


@dataclass(frozen=True)
class Line:
    """A row, as plots show it."""

    row: Row
    qualities: dict[Family, Quality]
    languages: tuple[str, ...]


def figures(
    rows: Sequence[Row],
    statistics: Statistics | None = None,
    published: Sequence[PublishedRow] = (),
    failures: Sequence[Failure] = (),
) -> Figures:
    """Return the figures of a board.

    Args:
        rows: What :func:`~xlbench.records.rows.rows_of` makes of records; at least one.
        statistics: Of these rows, by name; None leaves ranks and intervals out.
        published: Rows by others, shown below, never ranked.
        failures: Runs that ended without an encoder.

    Raises:
        XlbenchError: There are no rows, or they do not belong into one table.
    """
    return Figures(
        board=board_frame(rows, statistics, published, failures),
        tasks=task_frame(rows, statistics, published),
        tidy=tidy_frame(rows, statistics),
        rows=tuple(ranked(rows)),
        base=baseline(rows),
        statistics=statistics,
        published=tuple(published),
        failures=tuple(failures),
    )


def _standing(line: dict[str, Value], family: Family) -> Standing | None:
    rank, letters = line[f"{family}_rank"], line[f"{family}_letters"]
    return None if rank is None else Standing(int(rank), str(letters))
