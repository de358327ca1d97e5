"""What marks, lines and colours of a plot mean: one style for each role and series, the legend, the key of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.report.formats import plain
from xlbench.report.plot_svg import gid
from xlbench.report.points import ROLE_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Bbox

    from xlbench.report.points import Panel, Point

    Dashes = tuple[float, tuple[float, ...]]
    SeriesStyles = Mapping[str, tuple[str, Dashes]]
    Entries = Sequence[tuple[Artist, str]]

PAPER, INK, MUTED, RULE, FAINT = "#fcfbf8", "#22211f", "#625f58", "#e2ded5", "#b4afa5"
BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER = "#0072b2", "#c04f00", "#00805d", "#a8558a", "#3090cc", "#ad7c00"
"""Of Okabe and Ito's palette, which the colour-blind can tell apart, some darker, to be seen on white."""
DARK = {
    PAPER: "#17181a",
    INK: "#e9e6df",
    MUTED: "#a9a59b",
    RULE: "#34353a",
    FAINT: "#6b6961",
    BLUE: "#5fb4ea",
    ORANGE: "#f08a4b",
    GREEN: "#3fc79d",
    PURPLE: "#dd95c2",
    SKY: "#8fd0fa",
    AMBER: "#e3b341",
}  # each colour, and the one for it on a dark page
SERIES = (BLUE, GREEN, ORANGE, PURPLE, SKY, AMBER)
DASHES: tuple[Dashes, ...] = ((0, ()), (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
# Matplotlib's marker, the character for it in a table, its colour: roles are told apart without colour.
MARKS = {
    "student": ("o", "●", BLUE),
    "encoder": ("D", "◆", ORANGE),
    "assistant": ("s", "■", INK),
    "aligned": ("P", "✚", INK),
    "teacher": ("^", "▲", INK),
    "published": ("x", "×", MUTED),
}
STYLE = {
    "svg.fonttype": "none",  # text is not drawn as paths
    "svg.hashsalt": "xlbench",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same extents everywhere, wider than what a page shows
    "font.size": 11, "text.color": INK, "axes.labelcolor": MUTED, "axes.labelsize": 11, "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8, "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelsize": 10.5, "ytick.labelsize": 10.5,
    "axes.facecolor": PAPER, "figure.facecolor": PAPER, "savefig.facecolor": PAPER, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 14, "axes.titleweight": "bold",
    "grid.color": RULE, "grid.linewidth": 0.8, "axes.axisbelow": True, "ytick.major.size": 0,
}  # fmt: skip
MARK, DOT = 8.0, 4.5  # pixels across: a mark with a label, one without
LONGEST = 60  # characters of a name
CLAIM = "claim: at least 50 % smaller, at most 1 % lower than the assistant"


def mark_of(role: str, colour: str, *, filled: bool, size: float = MARK) -> Line2D:
    """Return the mark of a role, nowhere yet; hollow marks are filled with the paper's colour."""
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], linestyle="none", marker=MARKS[role][0], markersize=size, markeredgecolor=colour, markeredgewidth=1.4,
        markerfacecolor=colour if filled else PAPER,
    )  # fmt: skip


def colour_of(point: Point, styles: SeriesStyles) -> str:
    """Return the colour of a point's series, or of its role where it is in none."""
    return styles[point.series][0] if point.series in styles else MARKS[point.role][2]


def series_styles(panels: Sequence[Panel]) -> SeriesStyles:
    """Return colour and dashes of each series: 'A' and 'A, trimmed' share the colour and differ in their dashes."""
    names = list(dict.fromkeys(name for panel in panels for name, _ in panel.series))
    parts = {name: name.partition(", ")[::2] for name in names}
    heads, tails = (list(dict.fromkeys(part[side] for part in parts.values())) for side in (0, 1))
    return {
        name: (SERIES[heads.index(head) % len(SERIES)], DASHES[tails.index(tail) % len(DASHES)])
        for name, (head, tail) in parts.items()
    }


def legend_entries(panels: Sequence[Panel], *, dots: bool, claim: bool) -> Entries:
    """Return what the marks and lines mean.

    Args:
        panels: What is drawn.
        dots: Whether some points have no label.
        claim: Whether the region of the claim is drawn.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    points = [point for panel in panels for point in panel.points]
    there = {point.role for point in points}
    entries: list[tuple[Artist, str]] = []
    for role in (role for role in ROLE_NAMES if role in there):
        entries.append((mark_of(role, MARKS[role][2], filled=False), ROLE_NAMES[role]))
    entries.append(
        (Line2D([], [], color=INK, linewidth=1.2, dashes=(4, 2)), "frontier (filled marks): no row is better in both")
    )
    if dots:
        entries.append((mark_of("student", FAINT, filled=True, size=DOT), "other rows"))
    if any(point.low is not None for point in points):
        entries.append((Line2D([], [], color=FAINT, marker="|", linestyle="none", markersize=11), "95 % interval"))
    if claim:
        entries.append((Patch(color=GREEN, alpha=0.15, linewidth=0), CLAIM))
    return entries


def series_entries(styles: SeriesStyles) -> Entries:
    """Return what the lines of the series are called."""
    from matplotlib.lines import Line2D

    return [
        (Line2D([], [], color=colour, linestyle=dashes, linewidth=1.6), plain(name, LONGEST))
        for name, (colour, dashes) in styles.items()
    ]


def key_entries(panels: Sequence[Panel], keys: frozenset[str], styles: SeriesStyles) -> Entries:
    """Return the key of numbers, in the order of the table."""
    points = {point.key: point for panel in panels for point in panel.points if point.key in keys}
    entries: list[tuple[Artist, str]] = []
    for point in sorted(points.values(), key=lambda point: point.number):
        handle = mark_of(point.role, colour_of(point, styles), filled=False)
        handle.set_gid(gid("key", [point.key]))
        entries.append((handle, f"{point.number}\u2002{plain(point.name, LONGEST)}"))
    return entries


def in_lines(canvas: FigureCanvasAgg, entries: Entries, width: float) -> list[Legend]:
    """Return entries in lines, as many to a line as there is room for."""
    found: list[Legend] = []
    while entries:
        count, legend = in_columns(canvas, entries, width, lines=False)
        found.append(legend)
        entries = entries[count:]
    return found


def in_columns(canvas: FigureCanvasAgg, entries: Entries, width: float, *, lines: bool) -> tuple[int, Legend]:
    """Return entries in as many columns as there is room for, and how many these are.

    Args:
        canvas: Of the figure.
        entries: At least one.
        width: The room, in pixels.
        lines: Whether to take all entries, in as many lines as it needs; else as many as fit on one.
    """
    columns = len(entries)
    while True:
        handles, names = zip(*(entries if lines else entries[:columns]), strict=True)
        legend = canvas.figure.legend(
            handles, names, ncols=columns, loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=0, borderpad=0.2,
            handletextpad=0.5, columnspacing=1.6, labelspacing=0.35, handlelength=1.6,
        )  # fmt: skip
        for text, handle in zip(legend.get_texts(), handles, strict=True):
            text.set_parse_math(False)
            text.set_gid(handle.get_gid())
        if columns == 1 or extent_of(legend, canvas).width <= width:
            return columns, legend
        legend.remove()
        columns -= 1


def extent_of(artist: Artist, canvas: FigureCanvasAgg) -> Bbox:
    """Return the pixels that something takes, by matplotlib's own renderer."""
    return artist.get_window_extent(canvas.get_renderer())  # type: ignore[no-untyped-call]
