"""The main table of a page: its columns, and what stands in each cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlbench.leaderboard.figures import published_family_mean, seeds_used
from xlbench.leaderboard.formats import FAMILY_NAMES, MEGA, half, plain, points, signed, span
from xlbench.leaderboard.looks import MARKS
from xlbench.leaderboard.points import ROLE_NAMES
from xlbench.leaderboard.rows import has_collapsed, latency, stored_parameters, throughput_ratio, train_minutes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.experiment import Family
    from xlbench.leaderboard.figures import Figures, Line, Quality
    from xlbench.leaderboard.rows import Row

BAR = 84.0  # pixels


@dataclass(frozen=True)
class Column:
    """A column: ``group`` is the heading above it, ``falling`` whether a first click puts large values on top."""

    name: str
    about: str
    group: str = ""
    falling: bool = False


@dataclass(frozen=True)
class Bar:
    """An interval and its middle on the family's common scale, in pixels; ``base`` is the baseline's score."""

    at: float
    low: float
    high: float
    base: float | None


@dataclass(frozen=True)
class Cell:
    """A cell: its text, smaller text beside it, the number to sort by, a remark for screen readers only."""

    text: str = ""
    small: str = ""
    value: float | None = None
    kind: str = ""
    remark: str = ""
    bar: Bar | None = None


@dataclass(frozen=True)
class PageRow:
    """A row of the page; ``key`` ties it to its points in the plots, ``mark`` is a character like theirs."""

    key: str
    name: str
    role: str
    role_name: str
    mark: str
    about: str
    cells: tuple[Cell, ...]


def main_table(table: Figures) -> tuple[tuple[Column, ...], tuple[PageRow, ...]]:
    """Return columns and rows; columns in which nothing stands are left out, published and lost rows come last."""
    columns = _columns(table)
    rows = [_measured(f"r{number}", line, table) for number, line in enumerate(table.lines)]
    rows += _others(table, len(columns))
    there = [number for number in range(len(columns)) if any(row.cells[number].text for row in rows)]
    return tuple(columns[number] for number in there), tuple(
        PageRow(row.key, row.name, row.role, row.role_name, row.mark, row.about, tuple(row.cells[n] for n in there))
        for row in rows
    )


def _columns(table: Figures) -> list[Column]:
    columns = []
    for family in table.families:
        name = FAMILY_NAMES[family]
        columns += [
            Column("Rank", f"{name}: rank and letters; rows that share a letter cannot be told apart", name),
            Column("Score", f"{name}: score × 100, with its 95 % interval", name, falling=True),
            Column("Δ", f"{name}: points against the assistant, their 95 % interval, per cent", name, falling=True),
        ]
    return [
        *columns,
        Column("Params", "Stored parameters in millions, and their share of the assistant's", "Size"),
        Column("Languages", "Those that a trimmed vocabulary kept; empty: all of the assistant's", "Size"),
        Column("Layers", "Stored layers, and as how many they run", "Size"),
        Column("MB", "Megabytes of the weight files", "Size"),
        Column("Speed", "Sentences per second, as a multiple of the given assistant's", "Time", falling=True),
        Column("ms", "Milliseconds for one sentence alone", "Time"),
        Column("Train", "Minutes of all its stages", "Time"),
    ]


def _measured(key: str, line: Line, table: Figures) -> PageRow:
    row, size = line.row, line.row.record.footprint
    cells: list[Cell] = []
    for family in table.families:
        cells += _quality(line, family, table)
    share = f"{100 * line.share:.0f} %" if line.share is not None and line.share != 1 else ""
    looped = "" if size.stored_layers == size.executed_layers else f"run as {size.executed_layers}"
    cells += [
        _number(stored_parameters(row) / MEGA, 1, small=share),
        Cell(" ".join(line.languages)),
        Cell("" if size.stored_layers is None else str(size.stored_layers), looped, size.stored_layers, "below"),
        _number(None if size.weight_bytes is None else size.weight_bytes / MEGA, 0),
        _number(throughput_ratio(row), 2, unit="×"),
        _number(latency(row), 1),
        _number(train_minutes(row), 1),
    ]
    return PageRow(
        key, plain(row.name), row.role, ROLE_NAMES[row.role], MARKS[row.role][1], _about(line, table), tuple(cells)
    )


def _number(value: float | None, digits: int, *, unit: str = "", small: str = "") -> Cell:
    return Cell() if value is None else Cell(f"{value:.{digits}f}{unit}", small, value, "below" if small else "")


def _about(line: Line, table: Figures) -> str:
    """Return what stands under a name: its part, its method where the name does not say it, its seeds."""
    experiment = line.row.record.experiment
    parts = [ROLE_NAMES[line.row.role]]
    if experiment is not None and experiment.method not in line.row.name:
        parts.append(plain(experiment.method))
    count, marks = seeds_used(line)
    if count and (count != "1" or any(len(other.row.runs) > 1 for other in table.lines)):
        parts.append(f"{count} seed{'' if count == '1' else 's'} {marks}".strip())
    return " · ".join(parts)


def _quality(line: Line, family: Family, table: Figures) -> list[Cell]:
    quality = line.qualities[family]
    standing, drop, interval = quality.standing, quality.drop, quality.interval
    rank = Cell(str(standing.rank), standing.letters, standing.rank) if standing else Cell()
    collapsed = has_collapsed(line.row)
    doubts = [f"± {points(half(interval))}"] if interval else []
    doubts += [f"sd {points(quality.deviation)}"] if quality.deviation is not None else []
    score = Cell(
        points(quality.score) + ("†" if collapsed else ""),
        ", ".join(doubts),
        None if collapsed else quality.score,
        "score front" if quality.frontier else "score",
        "collapsed" if collapsed else "on the frontier" if quality.frontier else "",
        _bar(quality, family, table),
    )
    if drop is None:
        return [rank, score, Cell()]
    tie = drop.interval is not None and drop.interval.holds_zero()
    change = Cell(
        f"{signed(drop.points)} ({signed(drop.percent, 0)} %)",
        span(drop.interval) if drop.interval else "",
        drop.points,
        "drop tie" if tie else "drop",
        "not told apart" if tie else "",
    )
    return [rank, score, change]


def _bar(quality: Quality, family: Family, table: Figures) -> Bar | None:
    if quality.interval is None:
        return None
    intervals = [
        interval
        for line in table.lines
        if (interval := line.qualities[family].interval) is not None and not has_collapsed(line.row)
    ]
    if not intervals:
        return None
    lowest, highest = min(item.low for item in intervals), max(item.high for item in intervals)
    room = BAR - 8

    def place(value: float) -> float:
        share = (value - lowest) / (highest - lowest) if highest > lowest else 0.5
        return 4 + room * min(max(share, 0.0), 1.0)

    base = _score_of(table.base, family, table.lines)
    return Bar(
        place(quality.score),
        place(quality.interval.low),
        place(quality.interval.high),
        None if base is None else place(base),
    )


def _score_of(base: Row | None, family: Family, lines: Sequence[Line]) -> float | None:
    return next((line.qualities[family].score for line in lines if line.row is base), None)


def _others(table: Figures, width: int) -> list[PageRow]:
    """Return published rows, then rows none of whose runs ended well."""
    found = []
    for number, row in enumerate(table.published, len(table.lines)):
        cells: list[Cell] = []
        for family in table.families:
            mean = published_family_mean(row, family, table.scores)
            cells += [Cell(), Cell() if mean is None else Cell(points(mean), "", mean, "score"), Cell()]
        cells.append(_number(row.parameters / MEGA, 1) if row.parameters else Cell())
        cells += [Cell()] * (width - len(cells))
        name = plain(row.name)
        about = "published, not ranked"
        found.append(PageRow(f"r{number}", name, "published", about, MARKS["published"][1], about, tuple(cells)))
    for number, (name, lost) in enumerate(table.lost().items(), len(table.lines) + len(table.published)):
        about = f"no run ended well: 0 of {len(lost)} seeds ‡"
        found.append(PageRow(f"r{number}", plain(name), "lost", about, "", about, (Cell(),) * width))
    return found
