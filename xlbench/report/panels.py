"""From the figures of a board to the panels of its plots: the one place where plots meet the table."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Literal

from xlbench.experiment import is_main
from xlbench.records.published import published_family_mean
from xlbench.records.rows import has_collapsed, latency, throughput_ratio, weight_bytes
from xlbench.report.formats import FAMILY_NAMES, MEGA
from xlbench.report.points import Panel, Point, with_frontier
from xlbench.report.series import series_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from xlbench.experiment import Family
    from xlbench.records.rows import Row
    from xlbench.report.figures import Figures

Cost = Literal["bytes", "latency"]
COST_NAMES: dict[Cost, str] = {"bytes": "stored bytes", "latency": "latency"}
MEGABYTES = "Megabytes of stored weights (log scale, smaller to the left)"
MILLISECONDS = "Milliseconds for one sentence (log scale, faster to the left)"
MULTIPLE = "Speed as a multiple of the assistant's (log scale, faster to the right)"
FLOAT32 = 4  # bytes of a parameter, assumed for published checkpoints whose files were not measured


def panels_of(table: Figures, cost: Cost) -> tuple[Panel, ...]:
    """Return a panel for each family: its scores against a cost.

    Collapsed rows, undefined scores and unknown costs are left out.
    """
    found = (_panel(table, family, cost) for family in table.families)
    return tuple(panel for panel in found if panel.points)


def claim_panels(table: Figures) -> tuple[Panel, Panel]:
    """Return the mean over the families against megabytes, and against the speed as a multiple of the assistant's.

    Families of languages that students need not keep are left out.
    """
    families = [family for family in table.families if is_main(family)]

    def points(value: Callable[[Row], float | None], *, more: bool) -> tuple[Point, ...]:
        return with_frontier(
            (
                Point(f"r{place}", place + 1, line.row.name, line.row.role, x, mean)
                for place, line in enumerate(table.lines)
                if (x := value(line.row)) is not None and not has_collapsed(line.row)
                for scores in [[line.qualities[family].score for family in families]]
                if None not in scores
                for mean in [fmean(score for score in scores if score is not None)]
            ),
            more=more,
        )

    title = "Mean of " + " and ".join(FAMILY_NAMES[family] for family in families)
    return (
        Panel(title, MEGABYTES, " MB", points(_megabytes, more=False)),
        Panel(title, MULTIPLE, "×", points(throughput_ratio, more=True), more=True),
    )


def _panel(table: Figures, family: Family, cost: Cost) -> Panel:
    series = series_of(table)
    member = {name: each.name for each in series for name in each.rows}
    key = {line.row.name: f"r{place}" for place, line in enumerate(table.lines)}
    found = []
    for place, line in enumerate(table.lines):
        row, quality = line.row, line.qualities[family]
        x = latency(row) if cost == "latency" else _megabytes(row)
        if x is not None and quality.score is not None and not has_collapsed(row):
            low, high = (quality.interval.low, quality.interval.high) if quality.interval else (None, None)
            found.append(
                Point(key[row.name], place + 1, row.name, row.role, x, quality.score, low, high,
                      member.get(row.name, ""))
            )  # fmt: skip
    for place, other in enumerate(table.published, len(table.lines)):
        mean = published_family_mean(other, family, table.scores)
        if cost == "bytes" and other.parameters and mean is not None:
            size = FLOAT32 * other.parameters / MEGA
            found.append(Point(f"r{place}", place + 1, other.name, "published", size, mean))
    there = {point.key for point in found}
    lines = ((each.name, tuple(key[row] for row in each.rows if key[row] in there)) for each in series)
    joined = tuple((name, keys) for name, keys in lines if len(keys) > 1)
    axis, unit = (MEGABYTES, " MB") if cost == "bytes" else (MILLISECONDS, " ms")
    return Panel(FAMILY_NAMES[family], axis, unit, with_frontier(found), joined)


def _megabytes(row: Row) -> float | None:
    stored = weight_bytes(row)
    return None if stored is None else stored / MEGA
