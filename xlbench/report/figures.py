"""What a table says of each row: scores with their doubt, ranks, drops, the frontier; the rows in table order."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from xlbench.comparison.rank import frontier, standings
from xlbench.records.rows import (
    baseline,
    check_comparable,
    collapsed_seeds,
    family_deviation,
    family_mean,
    has_collapsed,
    kept_languages,
    latency,
    ranked,
    stored_parameters,
    valid_runs,
    weight_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.comparison.rank import Standing
    from xlbench.comparison.statistics import Interval, Statistics
    from xlbench.experiment import Family
    from xlbench.records.published import PublishedRow
    from xlbench.records.record import Failure
    from xlbench.records.rows import Row
    from xlbench.scoring.scores import SuiteScores


@dataclass(frozen=True)
class Drop:
    """A score against the baseline's: in points, in per cent of it, and the paired interval of the points."""

    points: float
    percent: float
    interval: Interval | None


@dataclass(frozen=True)
class Quality:
    """A row in one family.

    Attributes:
        score: Mean over the sound runs, times 100.
        interval: Of the score, over items; None without statistics.
        deviation: Sample standard deviation of the score over seeds; None with one sound run.
        standing: Rank and letters among the measured rows; None without statistics, or when collapsed.
        drop: Against the baseline; None for the baseline itself, given teachers, or where there is none.
        frontier: No row is as good here and as small and fast, and better in one of these.
    """

    score: float
    interval: Interval | None
    deviation: float | None
    standing: Standing | None
    drop: Drop | None
    frontier: bool


@dataclass(frozen=True)
class Line:
    """A row of the table with all that is said of it.

    Attributes:
        row: The row.
        qualities: By family.
        share: Its stored parameters over the baseline's; None without one.
        failed: Its runs that could not end well.
        languages: What a row kept whose vocabulary was trimmed; empty where none was given up.
    """

    row: Row
    qualities: dict[Family, Quality]
    share: float | None
    failed: tuple[Failure, ...]
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figures:
    """A table, as numbers.

    Attributes:
        lines: In table order.
        families: In table order.
        base: What drops are measured against.
        statistics: None where nobody computed them.
        published: Rows by others.
        failures: All of them; those of rows that have no sound run at all are in no line.
    """

    lines: tuple[Line, ...]
    families: tuple[Family, ...]
    base: Row | None
    statistics: Statistics | None
    published: tuple[PublishedRow, ...]
    failures: tuple[Failure, ...]

    @property
    def scores(self) -> SuiteScores:
        """The scores of the first row: what they say of tasks and data holds for all rows."""
        return self.lines[0].row.record.scores

    def lost(self) -> dict[str, tuple[Failure, ...]]:
        """Return the failures of rows that have no run to show, by row."""
        shown = {line.row.name for line in self.lines}
        names = dict.fromkeys(failure.row for failure in self.failures if failure.row not in shown)
        return {name: tuple(failure for failure in self.failures if failure.row == name) for name in names}


def seeds_used(line: Line) -> tuple[str, str]:
    """Return how many seeds a row is the mean of, '3' or '1 of 3', and marks: † some collapsed, ‡ some failed."""
    if line.row.record.experiment is None:
        return "", ""
    fallen = collapsed_seeds(line.row)
    asked = len(line.row.runs) + len(line.failed)
    sound = 0 if has_collapsed(line.row) else len(valid_runs(line.row))
    marks = ("†" if fallen else "") + ("‡" if line.failed else "")
    return f"{sound} of {asked}" if marks else str(sound), marks


def figures(
    rows: Sequence[Row],
    statistics: Statistics | None = None,
    published: Sequence[PublishedRow] = (),
    failures: Sequence[Failure] = (),
) -> Figures:
    """Return the figures of a table.

    Args:
        rows: At least one.
        statistics: Of these rows, by name; None leaves ranks and intervals out.
        published: Rows by others, shown apart.
        failures: Runs that could not end well.

    Raises:
        XlbenchError: The rows do not belong into one table.
    """
    check_comparable(rows)
    families = tuple(rows[0].record.scores.families)
    base = baseline(rows)
    ranks = {family: _standings(rows, family, statistics) for family in families}
    front = {family: _frontier(rows, family) for family in families}
    lines = []
    for row in ranked(rows):
        measured = statistics.rows.get(row.name) if statistics else None
        qualities = {
            family: Quality(
                score=family_mean(row, family),
                interval=measured.families.get(family) if measured else None,
                deviation=family_deviation(row, family),
                standing=ranks[family].get(row.name),
                drop=_drop(row, base, family, statistics),
                frontier=row.name in front[family],
            )
            for family in families
        }
        share = stored_parameters(row) / stored_parameters(base) if base else None
        failed = tuple(failure for failure in failures if failure.row == row.name)
        lines.append(Line(row, qualities, share, failed, kept_languages(row, base)))
    return Figures(tuple(lines), families, base, statistics, tuple(published), tuple(failures))


def _drop(row: Row, base: Row | None, family: Family, statistics: Statistics | None) -> Drop | None:
    if base is None or row is base or row.role in {"teacher", "assistant", "aligned"} or has_collapsed(row):
        return None
    known = statistics is not None and {row.name, base.name} <= statistics.rows.keys()
    own, other = family_mean(row, family), family_mean(base, family)
    return Drop(
        points=own - other,
        percent=100 * (own / other - 1) if other else 0.0,
        interval=statistics.difference(row.name, base.name).families[family] if statistics and known else None,
    )


def _standings(rows: Sequence[Row], family: Family, statistics: Statistics | None) -> dict[str, Standing]:
    if statistics is None:
        return {}
    best_first = sorted(
        (row for row in rows if row.name in statistics.rows and not has_collapsed(row)),
        key=lambda row: (-family_mean(row, family), row.name),
    )
    return standings([row.name for row in best_first], family, statistics)


def _frontier(rows: Sequence[Row], family: Family) -> frozenset[str]:
    """Quality against stored parameters, bytes and latency; what was not measured cannot count as small."""

    def cost(value: float | None) -> float:
        return inf if value is None else value

    points = {
        row.name: (
            family_mean(row, family),
            float(stored_parameters(row)),
            cost(weight_bytes(row)),
            cost(latency(row)),
        )
        for row in rows
        if not has_collapsed(row)
    }
    return frontier(points, (True, False, False, False))
