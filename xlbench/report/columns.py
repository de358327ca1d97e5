"""The columns of a board, in one list for all formats: heading, explanation, what each reads, and its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from xlbench.records.rows import undefined_scores
from xlbench.report.formats import FAMILY_NAMES, MEGA, plain, points, signed
from xlbench.report.frame import Value, records_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xlbench.experiment import Family
    from xlbench.report.figures import Figures

    Line: TypeAlias = Mapping[str, Value]  # of the board's frame

WHOLE = 32  # bits of a weight that is not rounded
PUBLISHED = " (published)"
COLLAPSED, FAILED, UNDEFINED = "†", "‡", "§"  # behind a score or a number of seeds


@dataclass(frozen=True)
class Bar:
    """An interval and its middle as shares of the family's common scale; ``base`` is the reference's score."""

    at: float
    low: float
    high: float
    base: float | None


@dataclass(frozen=True)
class Cell:
    """The contents of a cell.

    Attributes:
        figure: The main figure: '34.3'.
        rest: What follows it in formats with one line: ' ± 2.0 (sd 0.4)'.
        beside: What follows it on a page, where ``small`` is below it.
        small: What is printed smaller beside or below it on a page.
        value: What a page sorts by; None stays last.
        bold: The row is on the frontier.
        tie: It cannot be told apart from the reference.
        bar: The bar that a page draws below it.
    """

    figure: str = ""
    rest: str = ""
    beside: str = ""
    small: str = ""
    value: float | None = None
    bold: bool = False
    tie: bool = False
    bar: Bar | None = None

    @property
    def remark(self) -> str:
        """In words, what a page shows by style alone."""
        remarks = {"on the frontier": self.bold, "not told apart": self.tie, "collapsed": self.beside == COLLAPSED}
        return ", ".join(words for words, true in remarks.items() if true)


@dataclass(frozen=True)
class Column:
    """A column that is shown.

    Attributes:
        heading: Its heading, below that of its group.
        about: Its explanation, for the legend and the page's tooltips.
        reads: The columns of the board's frame that its cells are made from.
        cell: Makes a cell from a line of the frame.
        group: The heading that it shares with its neighbours.
        alone: Its heading in a table without groups; empty for ``heading``.
        label: What the legend calls it; empty for the heading of a table without groups.
        notes: Remarks on it for the legend, in sentences.
        kind: Its style on a page.
        falling: The first click on its heading on a page sorts the largest value first.
        words: Its cells are text from outside, to be escaped, not figures.
        beside: On a page it is shown with the row's name.
    """

    heading: str
    about: str
    reads: tuple[str, ...]
    cell: Callable[[Line], Cell]
    group: str = ""
    alone: str = ""
    label: str = ""
    notes: tuple[str, ...] = ()
    kind: str = ""
    falling: bool = False
    words: bool = False
    beside: bool = False

    @property
    def title(self) -> str:
        """Its heading in a table without groups."""
        return self.alone or self.heading


@dataclass(frozen=True)
class Table:
    """The cells of a board, row by row; empty columns are left out."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    cells: tuple[tuple[Cell, ...], ...]


def table_of(figures: Figures) -> Table:
    """Return what a board shows."""
    lines = tuple(records_of(figures.board))
    filled = [(column, [column.cell(line) for line in lines]) for column in columns_of(figures)]
    shown = [(column, cells) for column, cells in filled if any(cell.figure for cell in cells)]
    rows = tuple(tuple(cells[place] for _, cells in shown) for place in range(len(lines)))
    return Table(tuple(column for column, _ in shown), lines, rows)


def columns_of(figures: Figures) -> tuple[Column, ...]:
    """Return every column that a board may have, in order."""
    return (
        Column("Encoder", "", ("name", "published"), _name, words=True, beside=True),
        Column(
            "Method", "what distilled it, where its name does not say so.", ("name", "method"), _method,
            words=True, beside=True,
        ),
        *(column for family in figures.families for column in _quality(family, figures)),
        *_size(figures),
        *_time(figures),
        _seeds(figures),
    )  # fmt: skip


def _name(line: Line) -> Cell:
    return Cell(_words(line["name"]), PUBLISHED if line["published"] else "")


def _method(line: Line) -> Cell:
    method = _words(line["method"])
    return Cell("" if method in _words(line["name"]) else method)


def _quality(family: Family, figures: Figures) -> tuple[Column, ...]:
    name, found = FAMILY_NAMES[family], figures.statistics

    def reads(*kinds: str) -> tuple[str, ...]:
        return tuple(f"{family}_{kind}" for kind in kinds)

    notes = []
    if found is not None:
        notes.append(
            f"±: half of the 95 % interval over test items ({found.resamples:,} bootstrap resamples of"
            f" {found.items:,} items)."
        )
    if any(figures.board[f"{each}_seed_deviation"].notna().any() for each in figures.families):
        notes.append("sd: standard deviation over seeds of one method's score, apart from the interval over items.")
    notes.append(
        "Bold: on the frontier; no other row is at least as good, as small (parameters, bytes) and as fast (ms), and"
        " better in one of them."
    )
    measured = figures.board.loc[~figures.board["published"], "latency_ms"].notna()
    if measured.any() and not measured.all():
        notes.append("A row without ms counts as the slowest there: its record was made without measuring speed.")
    base = plain(figures.base.name) if figures.base else ""
    interval = "" if found is None else " their paired 95 % interval (with zero in it the two cannot be told apart),"
    return (
        Column(
            "Rank",
            "1 + how many rows are significantly better (paired 95 % interval of the difference above zero);"
            " rows that share a letter cannot be told apart.",
            reads("rank", "letters"),
            lambda line: _rank(family, line),
            group=name, alone=f"{name} rank", label="Rank",
        ),
        Column(
            "Score",
            "score × 100, the mean over the family's tasks, of each the mean over its subsets; higher is better.",
            (*reads("score", "low", "high", "seed_deviation", "frontier"), "collapsed", "name", "published"),
            _score(family, figures),
            group=name, alone=name, label=", ".join(FAMILY_NAMES[each] for each in figures.families),
            notes=tuple(notes), kind="score", falling=True,
        ),
        Column(
            "Δ",
            f"points against '{base}',{interval} and per cent of its score.",
            reads("drop", "drop_low", "drop_high", "drop_percent"),
            lambda line: _drop(family, line),
            group=name, alone=f"Δ {name}", label="Δ", kind="drop", falling=True,
        ),
    )  # fmt: skip


def _rank(family: Family, line: Line) -> Cell:
    rank, letters = number(line[f"{family}_rank"]), _words(line[f"{family}_letters"])
    return Cell() if rank is None else Cell(f"{rank:.0f}", f" {letters}", small=letters, value=rank)


def _score(family: Family, figures: Figures) -> Callable[[Line], Cell]:
    board = figures.board[~figures.board["collapsed"]]
    least, most = board[f"{family}_low"].min(), board[f"{family}_high"].max()
    reference = board.loc[board["reference"], f"{family}_score"]
    base = None if reference.isna().all() else float(reference.iloc[0])
    partial = {row.name for row in figures.rows if undefined_scores(row, family)}

    def place(value: float) -> float:
        return min(max((value - least) / (most - least), 0.0), 1.0) if most > least else 0.5

    def cell(line: Line) -> Cell:
        score, deviation = number(line[f"{family}_score"]), number(line[f"{family}_seed_deviation"])
        undefined = UNDEFINED if line["name"] in partial and not line["published"] else ""
        if score is None:
            return Cell("–" if undefined else "", undefined, beside=undefined)
        low, high = number(line[f"{family}_low"]), number(line[f"{family}_high"])
        mark = (COLLAPSED if line["collapsed"] else "") + undefined
        doubt, bar = "", None
        if low is not None and high is not None:
            doubt = f"± {points((high - low) / 2)}"
            if most >= least:  # there is a row that has not collapsed
                bar = Bar(place(score), place(low), place(high), None if base is None else place(base))
        seeds = "" if deviation is None else f"sd {points(deviation)}"
        return Cell(
            points(score),
            f"{mark}{doubt and f' {doubt}'}{seeds and f' ({seeds})'}",
            beside=mark,
            small=", ".join(filter(None, (doubt, seeds))),
            value=None if line["collapsed"] else score,
            bold=bool(line[f"{family}_frontier"]),
            bar=bar,
        )

    return cell


def _drop(family: Family, line: Line) -> Cell:
    drop, low, high, percent = (
        number(line[f"{family}_{kind}"]) for kind in ("drop", "drop_low", "drop_high", "drop_percent")
    )
    if drop is None:
        return Cell()
    ends = "" if low is None or high is None else f"[{signed(low)}, {signed(high)}]"
    share = "" if percent is None else f"{signed(percent, 0)} %"
    return Cell(
        signed(drop),
        f"{ends and f' {ends}'}{share and f', {share}'}",
        beside=share and f" ({share})",
        small=ends,
        value=drop,
        tie=low is not None and high is not None and low <= 0 <= high,
    )


def _size(figures: Figures) -> tuple[Column, ...]:
    share = "; in brackets their share of the assistant's" if figures.base else ""
    rounded = figures.board["bits"].lt(WHOLE).any()
    notes = ("8bit, 16bit: rounded to that many bits of each weight; MB are those of the files.",) if rounded else ()
    return (
        Column(
            "Params M", f"stored parameters, in millions{share}.", ("parameters", "parameters_share"), _parameters,
            group="Size", kind="below",
        ),
        Column(
            "Languages", "those that a trimmed vocabulary kept; empty: all of the assistant's.", ("languages",),
            lambda line: Cell(_words(line["languages"])), group="Size", kind="words", words=True,
        ),
        Column(
            "Layers", "stored layers, and as how many they run where they are looped: that saves bytes, not time.",
            ("stored_layers", "executed_layers"), _layers, group="Size", kind="below",
        ),
        Column(
            "MB", "megabytes of the weight files.", ("megabytes",), _figure("megabytes", 0), group="Size", notes=notes
        ),
    )  # fmt: skip


def _parameters(line: Line) -> Cell:
    found, share = number(line["parameters"]), number(line["parameters_share"])
    if found is None:
        return Cell()
    small = "" if share is None or line["reference"] or share == 100 else f"{share:.0f} %"
    return Cell(f"{found / MEGA:.1f}", small and f" ({small})", small=small, value=found / MEGA)


def _layers(line: Line) -> Cell:
    stored, executed = number(line["stored_layers"]), number(line["executed_layers"])
    if stored is None:
        return Cell()
    looped = "" if executed is None or stored == executed else f"run as {executed:.0f}"
    return Cell(f"{stored:.0f}", looped and f" {looped}", small=looped, value=stored)


def _time(figures: Figures) -> tuple[Column, ...]:
    speeds = [run.speed for row in figures.rows for run in row.runs if run.speed]
    machines = sorted(
        {plain(f"{it.machine.cpu}, {it.machine.cores} cores, {it.machine.device}, {it.precision}") for it in speeds}
    )
    apart = " Not all on one machine: compare the multiples." if len(machines) > 1 else ""
    where = f"Speed and ms were measured on {'; '.join(machines)}.{apart}"
    rounds = f", median of {speeds[0].repetitions} rounds" if speeds else ""
    return (
        Column(
            "Speed", "sentences per second as a multiple of the given assistant's, both measured in turns in one"
            " process.", ("throughput_ratio",), _figure("throughput_ratio", 2, "×"), group="Time", falling=True,
        ),
        Column(
            "ms", f"milliseconds for one sentence alone{rounds}.", ("latency_ms",), _figure("latency_ms", 1),
            group="Time", notes=(where,),
        ),
        Column(
            "Train min", "minutes of all stages of a run, whether made for it or taken from the store; mean over"
            " seeds.", ("train_minutes",), _figure("train_minutes", 1), group="Time",
        ),
    )  # fmt: skip


def _figure(name: str, digits: int, unit: str = "") -> Callable[[Line], Cell]:
    def cell(line: Line) -> Cell:
        value = number(line[name])
        return Cell() if value is None else Cell(f"{value:.{digits}f}{unit}", value=value)

    return cell


def _seeds(figures: Figures) -> Column:
    # The column is empty if every row has the one seed that was asked for.
    several = bool(figures.board["seeds_asked"].gt(1).any())
    about = f"runs that the figures are the mean of; {COLLAPSED}: some collapsed, {FAILED}: some failed (see below)."
    reads = ("seeds", "seeds_asked", "seeds_collapsed", "seeds_failed")

    def cell(line: Line) -> Cell:
        used, asked, collapsed, failed = (number(line[name]) for name in reads)
        if used is None or not (several or collapsed or failed):
            return Cell()
        marks = (COLLAPSED if collapsed else "") + (FAILED if failed else "")
        return Cell(f"{used:.0f} of {asked:.0f}" if marks else f"{used:.0f}", marks and f" {marks}", value=used)

    return Column("Seeds", about, reads, cell, beside=True)


def number(value: Value) -> float | None:
    """Return a figure of a frame's line; None where it is missing."""
    return None if value is None else float(value)


def _words(value: Value) -> str:
    return str(value or "")
