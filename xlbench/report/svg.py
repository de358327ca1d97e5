"""Plots of quality against what an encoder costs, as SVG text: the same bytes from the same figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from xlbench.comparison.rank import frontier
from xlbench.records.published import published_family_mean
from xlbench.records.rows import has_collapsed, latency, stored_parameters, weight_bytes
from xlbench.report.formats import FAMILY_NAMES, MEGA, doubt, plain, points
from xlbench.report.layout import Box, Label, linear_scale, log_scale, place_labels, text_width
from xlbench.report.series import series_of
from xlbench.report.templating import asset, environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xlbench.comparison.statistics import Interval
    from xlbench.experiment import Family
    from xlbench.records.rows import Row
    from xlbench.report.figures import Figures, Line
    from xlbench.report.series import Series

Cost = Literal["bytes", "latency"]
COST_NAMES: dict[Cost, tuple[str, str]] = {
    "bytes": ("stored bytes", "Megabytes of stored weights, log scale (fewer to the left)"),
    "latency": ("latency", "Milliseconds for one sentence, log scale (faster to the left)"),
}
FLOAT32 = 4  # bytes of a parameter: how checkpoints are published whose files nobody here has seen
ROLE_NAMES = {
    "student": "student",
    "encoder": "encoder as given",
    "assistant": "assistant",
    "aligned": "aligned assistant",
    "teacher": "teacher",
    "published": "published, not measured here",
}
# Shapes around (0, 0), about as large as each other: roles are told apart without colour.
SHAPES = {
    "student": "M-4.6 0A4.6 4.6 0 1 1 4.6 0A4.6 4.6 0 1 1-4.6 0Z",
    "encoder": "M0-6L6 0L0 6L-6 0Z",
    "assistant": "M-4.4-4.4H4.4V4.4H-4.4Z",
    "aligned": "M-4.4-4.4H4.4V4.4H-4.4Z",
    "teacher": "M0-6L5.6 4.2H-5.6Z",
    "published": "M-4.4-4.4L4.4 4.4M4.4-4.4L-4.4 4.4",
}
WIDTH, HEIGHT = 460.0, 340.0
PLOT = Box(46.0, 40.0, 448.0, 288.0)
GAP = 24.0
RADIUS, LABEL_SIZE, LONGEST_LABEL = 6.0, 11.5, 40


@dataclass(frozen=True)
class Point:
    """A row in a plot: ``x`` is what it costs, ``y`` its score, ``key`` its number in the table."""

    key: str
    name: str
    label: str
    role: str
    x: float
    y: float
    interval: Interval | None
    tip: str


@dataclass(frozen=True)
class Mark:
    """A point where it is drawn; ``whisker`` holds the ends of its interval, lower score first."""

    point: Point
    x: float
    y: float
    whisker: tuple[float, float] | None
    shape: str
    label: Label | None


@dataclass(frozen=True)
class Curve:
    """A line through the points of a series: their keys, and path data."""

    keys: tuple[str, ...]
    path: str


@dataclass(frozen=True)
class Panel:
    """One plot, laid out."""

    title: str
    about: str
    marks: tuple[Mark, ...]
    curves: tuple[Curve, ...]
    frontier: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    x_label: str
    box: Box = PLOT
    width: float = WIDTH
    height: float = HEIGHT
    size: float = LABEL_SIZE


def points_of(table: Figures, family: Family, cost: Cost, series: Sequence[Series]) -> list[Point]:
    """Return what can be plotted: rows that have not collapsed, and whose cost is known."""
    found = []
    ending = common_ending([line.row.name for line in table.lines if line.row.role == "student"])
    called = _labels_of_series(series, {line.row.name: line.qualities[family].score for line in table.lines})
    for number, line in enumerate(table.lines):
        value = latency(line.row) if cost == "latency" else _megabytes(line.row)
        if value is None or has_collapsed(line.row):
            continue
        quality = line.qualities[family]
        name, role = line.row.name, line.row.role
        label = called.get(name, name.removesuffix(ending))
        tip = _tip(line, family)
        found.append(Point(f"r{number}", name, label, role, value, quality.score, quality.interval, tip))
    for number, row in enumerate(table.published, len(table.lines)):
        mean = published_family_mean(row, family, table.scores)
        if cost == "bytes" and row.parameters and mean is not None:
            size = FLOAT32 * row.parameters / MEGA
            tip = f"{plain(row.name)}\n{FAMILY_NAMES[family]} {points(mean)}, published\n{size:.0f} MB as float32"
            found.append(Point(f"r{number}", row.name, row.name, "published", size, mean, None, tip))
    return found


def _megabytes(row: Row) -> float | None:
    stored = weight_bytes(row)
    return None if stored is None else stored / MEGA


def _labels_of_series(series: Sequence[Series], scores: Mapping[str, float]) -> dict[str, str]:
    """Return the labels of rows in a series: its name at the best of them, nothing at the others."""
    labels = {row: "" for each in series for row in each.rows}
    return labels | {max(each.rows, key=scores.__getitem__): each.name for each in series}


def common_ending(names: Sequence[str]) -> str:
    """Return the '/student' that all names of two or more end in: said once, it need not be said of each."""
    endings = {name[name.rfind("/") :] if "/" in name else "" for name in names}
    return endings.pop() if len(endings) == 1 and len(names) > 1 else ""


def _tip(line: Line, family: Family) -> str:
    quality, milliseconds = line.qualities[family], latency(line.row)
    score = f"{FAMILY_NAMES[family]} {points(quality.score)}{doubt(quality.interval, quality.deviation)}"
    if quality.standing:
        score += f", rank {quality.standing.rank} {quality.standing.letters}"
    stored = _megabytes(line.row)
    size = f"{stored_parameters(line.row) / MEGA:.1f} M parameters{f', {stored:.0f} MB' if stored is not None else ''}"
    speed = f", {milliseconds:.1f} ms" if milliseconds is not None else ""
    return f"{plain(line.row.name)} ({ROLE_NAMES[line.row.role]})\n{score}\n{size}{speed}"


def panel(table: Figures, family: Family, cost: Cost) -> Panel | None:
    """Return the plot of a family's quality against a cost; nothing if there is nothing to plot."""
    series = series_of(table)
    found = points_of(table, family, cost, series)
    if not found:
        return None
    front = frontier({point.key: (point.y, point.x) for point in found if point.role != "published"}, (True, False))
    found.sort(
        key=lambda point: (point.role not in {"assistant", "aligned"}, point.key not in front, -point.y, point.x)
    )
    across = log_scale([point.x for point in found], PLOT.left, PLOT.right)
    ends = [end for point in found if point.interval for end in (point.interval.low, point.interval.high)]
    up = linear_scale([*(point.y for point in found), *ends], PLOT.bottom, PLOT.top)
    places = [(across.place(point.x), up.place(point.y)) for point in found]
    whiskers = [
        (up.place(point.interval.low), up.place(point.interval.high)) if point.interval else None for point in found
    ]
    drawn = {point.name: (point.key, place) for point, place in zip(found, places, strict=True)}
    # By cost and not by pixel: costs that differ may fall on one.
    best = sorted((point for point in found if point.key in front), key=lambda point: point.x)
    steps = [drawn[point.name][1] for point in best]
    labels = place_labels(
        places,
        [plain(point.label, LONGEST_LABEL) for point in found],
        Box(PLOT.left + 2, PLOT.top + 2, PLOT.right - 2, PLOT.bottom - 2),
        size=LABEL_SIZE,
        radius=RADIUS,
        lines=[
            *(Box(x - 1, ends[1], x + 1, ends[0]) for (x, _), ends in zip(places, whiskers, strict=True) if ends),
            *_segments(steps),
        ],
    )
    name, x_label = COST_NAMES[cost]
    return Panel(
        title=FAMILY_NAMES[family],
        about=_about(len(found), best, family, name),
        marks=tuple(
            Mark(point, x, y, ends, SHAPES[point.role], label)
            for point, (x, y), ends, label in zip(found, places, whiskers, labels, strict=True)
        ),
        curves=_curves(series, drawn) if cost == "bytes" else (),
        frontier=_staircase(steps),
        x_ticks=tuple((across.place(tick), f"{tick:g}") for tick in across.ticks),
        y_ticks=tuple((up.place(tick), points(tick).removesuffix(".0")) for tick in up.ticks),
        x_label=x_label,
    )


def plot(table: Figures, cost: Cost) -> str | None:
    """Return a picture with a plot per family, as an SVG document; nothing if there is nothing to plot."""
    panels = [found for family in table.families if (found := panel(table, family, cost)) is not None]
    if not panels:
        return None
    width = len(panels) * (WIDTH + GAP) - GAP
    legend = _legend(panels, width - PLOT.left, intervals=table.statistics is not None)
    return (
        environment()
        .get_template("plot.svg.j2")
        .render(
            title=f"Quality against {COST_NAMES[cost][0]}",
            about=" ".join(part.about for part in panels),
            shapes=SHAPES,
            panels=[(number * (WIDTH + GAP), part) for number, part in enumerate(panels)],
            legend=legend,
            below=HEIGHT + 28,
            width=width,
            height=HEIGHT + 26 + (1 + max(row for _, _, row, _ in legend)) * 20,
            style=asset("plot.css"),
        )
    )


def _legend(panels: Sequence[Panel], width: float, *, intervals: bool) -> list[tuple[str, float, int, str]]:
    """Return what the legend explains, where it stands (pixels from the left, line), and its words."""
    entries = [(role, ROLE_NAMES[role]) for role in roles_in(panels)]
    if any(part.curves for part in panels):
        entries.append(("series", "one method and depth, other word tables"))
    entries += [("frontier", "not beaten in both"), *([("whisker", "95 % interval")] if intervals else [])]
    found, left, line = [], 0.0, 0
    for kind, words in entries:
        room = text_width(words, LABEL_SIZE) + 46
        if left + room > width and left:
            left, line = 0.0, line + 1
        found.append((kind, left, line, words))
        left += room
    return found


def roles_in(panels: Sequence[Panel]) -> list[str]:
    """Return the roles that occur, in the order of the legend."""
    there = {mark.point.role for part in panels for mark in part.marks}
    return [role for role in ROLE_NAMES if role in there]


def _curves(series: Sequence[Series], drawn: Mapping[str, tuple[str, tuple[float, float]]]) -> tuple[Curve, ...]:
    """Return a line for each series through its rows' keys and places, the smallest row first."""
    number = environment().filters["number"]
    found = []
    for each in series:
        keys, places = zip(*(drawn[row] for row in each.rows), strict=True)
        found.append(Curve(keys, "M" + "L".join(f"{number(x)} {number(y)}" for x, y in places)))
    return tuple(found)


def _segments(steps: Sequence[tuple[float, float]]) -> list[Box]:
    """Return the lines of the frontier as thin boxes."""
    boxes = []
    for (x, y), (next_x, next_y) in zip(steps, [*steps[1:], (PLOT.right, steps[-1][1])] if steps else [], strict=True):
        boxes.append(Box(x, y - 1, next_x, y + 1))
        boxes.append(Box(next_x - 1, next_y, next_x + 1, y))
    return boxes


def _staircase(steps: Sequence[tuple[float, float]]) -> str:
    """Return the frontier as path data: what one gets at most for a cost."""
    if not steps:
        return ""
    number = environment().filters["number"]
    (x, y), rest = steps[0], steps[1:]
    turns = "".join(f"H{number(x)}V{number(y)}" for x, y in rest)
    return f"M{number(x)} {number(y)}{turns}H{number(PLOT.right)}"


def _about(count: int, best: Sequence[Point], family: Family, cost: str) -> str:
    """Describe a plot to those who do not see it: how many encoders, and the frontier, cheapest first."""
    names = ", ".join(plain(point.name) for point in best)
    return (
        f"{FAMILY_NAMES[family]} scores of {count} encoders against their {cost}."
        f" Not beaten in both, cheapest first: {names}."
    )
