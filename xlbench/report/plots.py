"""Plots of quality against cost, drawn by matplotlib from points alone: the same bytes from the same points.

Rows go by their number in the table, and a key below the plots says whose it is; a few rows go by name, if all names
find room off the lines. A label is placed by the extents that matplotlib's renderer gives, where it lies on no mark,
no interval and no other label.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING

from xlbench.report.formats import plain
from xlbench.report.labels import place_labels
from xlbench.report.plot_style import (
    DARK,
    DOT,
    FAINT,
    GREEN,
    INK,
    LONGEST,
    MARK,
    MUTED,
    PAPER,
    STYLE,
    colour_of,
    extent_of,
    in_columns,
    in_lines,
    key_entries,
    legend_entries,
    mark_of,
    series_entries,
    series_styles,
)
from xlbench.report.plot_svg import dark_style, gid, standalone, tidied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.path import Path

    from xlbench.report.plot_style import SeriesStyles
    from xlbench.report.points import Panel, Point

DPI = 72  # a point is a pixel
WIDTH, HEIGHT, TALL = 480, 350, 470  # of a panel with its axes' labels, and the height of one with many points
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 40, 48  # around the axes
CROWD = 24  # points of a panel: with more of them only those that matter have numbers and intervals
FEW = 8  # points of a panel: up to so many are labelled with their names, where there is room
GAP = 6  # above the key
HALF, KEPT = 0.5, 0.99  # of the assistant's megabytes and quality
NARROWEST = 1.6  # smallest ratio of a log axis's ends, so that figures that are nearly equal are drawn close together


def drawing(ident: str, title: str, panels: Sequence[Panel]) -> str:
    """Return panels side by side with their key, as an ``<svg>`` element that can stand in a page.

    Args:
        ident: Begins the ids inside; no other drawing of the page has it.
        title: What it shows.
        panels: At least one, each with a point at least.
    """
    return _written(figure_of(panels), ident, title, panels)


def picture_of(drawing: str) -> str:
    """Return a drawing as a file of its own, with its colours for dark pages."""
    return standalone(drawing, dark_style(DARK))


def claim_picture(title: str, megabytes: Panel, speed: Panel, most: int = 7) -> str:
    """Return quality against size and against speed, with the paper's claim drawn in, as an SVG file.

    The claim is the region of half the assistant's megabytes or less and of 99 % of its quality or more.

    Args:
        title: What it shows.
        megabytes: Its points; one of them is the assistant's, aligned or as given.
        speed: The same rows, against the multiple of the assistant's speed.
        most: How many rows have labels: first the assistant, then the frontier, then the best.
    """
    panels = (megabytes, speed)
    text = _written(figure_of(panels, most=most, claim=True), "claim", title, panels)
    return picture_of(text)


def figure_of(panels: Sequence[Panel], *, most: int | None = None, claim: bool = False) -> Figure:
    """Draw panels side by side, above their legend and the key of their numbers.

    Args:
        panels: At least one.
        most: How many rows have labels; None for all, or in a crowd for those that matter.
        claim: Whether the first panel, against megabytes, shows the region of the paper's claim.
    """
    shown = [_labelled(panel) for panel in panels] if most is None else [_leading(panels, most)] * len(panels)
    few = most is not None or max(len(panel.points) for panel in panels) <= FEW
    with _styled():
        if few:
            figure, fits = _figure(panels, shown, claim=claim, named=True)
            if fits:
                return figure
        return _figure(panels, shown, claim=claim, named=False)[0]


def _written(figure: Figure, ident: str, title: str, panels: Sequence[Panel]) -> str:
    text = StringIO()
    with _styled():
        figure.savefig(text, format="svg", metadata={"Date": None})
    return tidied(text.getvalue(), ident, title, panels, halo=PAPER)


@contextmanager
def _styled() -> Iterator[None]:
    """Draw as `STYLE` says, whatever the user's own settings of matplotlib are, and leave those as they were."""
    from matplotlib import style

    with style.context(["default", STYLE]), warnings.catch_warnings():
        # A browser has fonts for every alphabet; the one that extents are measured with has not.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _labelled(panel: Panel) -> frozenset[str]:
    """Return the keys of the points that have a label: all, or in a crowd the frontier, ends of series, and roles."""
    if len(panel.points) <= CROWD:
        return frozenset(point.key for point in panel.points)
    ends = {key for _, keys in panel.series for key in (keys[0], keys[-1])}
    return frozenset(
        point.key
        for point in panel.points
        if point.frontier or point.key in ends or point.role not in {"student", "encoder"}
    )


def _leading(panels: Sequence[Panel], most: int) -> frozenset[str]:
    """Return the keys of the assistant, then of the frontier of any panel, then of the best: ``most`` of them."""
    front = {point.key for panel in panels for point in panel.points if point.frontier}
    base = _baseline(panels[0])
    ordered = sorted(panels[0].points, key=lambda point: (point is not base, point.key not in front, -point.y))
    return frozenset(point.key for point in ordered[:most])


def _baseline(panel: Panel) -> Point | None:
    """Return the assistant that rows are measured against: the aligned one where there is one."""
    return next((point for role in ("aligned", "assistant") for point in panel.points if point.role == role), None)


def _figure(
    panels: Sequence[Panel], shown: Sequence[frozenset[str]], *, claim: bool, named: bool
) -> tuple[Figure, bool]:
    """Return the figure, with names or numbers at the points ``shown``, and whether all of these found room."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.transforms import IdentityTransform

    width = WIDTH * len(panels)
    part = TALL if max(len(panel.points) for panel in panels) > CROWD else HEIGHT
    figure = Figure((width / DPI, part / DPI), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    styles = series_styles(panels)
    dots = any(point.key not in keys for panel, keys in zip(panels, shown, strict=True) for point in panel.points)
    legends = in_lines(canvas, legend_entries(panels, dots=dots, claim=claim), width - 2 * RIGHT)
    legends += in_lines(canvas, series_entries(styles), width - 2 * RIGHT)
    if not named:
        key = key_entries(panels, frozenset().union(*shown), styles)
        legends.append(in_columns(canvas, key, width - 2 * RIGHT, lines=True)[1])
    heights = [extent_of(legend, canvas).height for legend in legends]
    height = part + sum(heights) + GAP + RIGHT
    figure.set_size_inches(width / DPI, height / DPI)
    top = height - part
    for legend, tall in zip(legends, heights, strict=True):
        top -= GAP if legend is legends[-1] and not named else 0
        legend.set_bbox_to_anchor((RIGHT, top), IdentityTransform())
        top -= tall
    fits = True
    for place, (panel, keys) in enumerate(zip(panels, shown, strict=True)):
        low, up = height - part + BOTTOM, part - TOP - BOTTOM
        area = (WIDTH * place + LEFT) / width, low / height, (WIDTH - LEFT - RIGHT) / width, up / height
        axes = figure.add_axes(area)
        _set_scales(axes, panel, keys)
        lines = _draw_lines(axes, panel, place, styles, claim=claim and place == 0)
        _draw_points(axes, panel, place, keys, styles)
        fits = _draw_labels(canvas, axes, panel, place, keys, lines, named=named) and fits
    return figure, fits


def _set_scales(axes: Axes, panel: Panel, shown: frozenset[str]) -> None:
    """Set limits around what is drawn, and a few round ticks."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    axes.set_title(panel.title, loc="left", pad=16)
    axes.set_title("score × 100, higher is better", loc="right", pad=16, fontsize=11, fontweight="normal", color=MUTED)
    axes.set_xlabel(panel.axis, labelpad=8)
    axes.grid(axis="y")
    axes.set_xscale("log")
    costs = [point.x for point in panel.points]
    least, most = min(costs), max(costs)
    room = max((most / least) ** 0.1, (NARROWEST * least / most) ** 0.5)
    left, right = least / room, most * room
    ticks = LogLocator(subs=(1, 2, 5), numticks=99).tick_values(left, right)
    if sum(left <= tick <= right for tick in ticks) < 3:  # an axis with fewer cannot be read
        ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(left, right)
    inside = [tick for tick in ticks if left <= tick <= right]
    axes.minorticks_off()
    axes.set_xticks(inside, [f"{tick:g}" for tick in inside])
    axes.set_xlim(left, right)
    ends = [end for point in panel.points if point.key in shown for end in (point.low, point.high) if end is not None]
    scores = [*(point.y for point in panel.points), *ends]
    room = max(0.06 * (max(scores) - min(scores)), 0.25)
    axes.set_ylim(min(scores) - room, max(scores) + room)


def _draw_lines(axes: Axes, panel: Panel, place: int, styles: SeriesStyles, *, claim: bool) -> list[Path]:
    """Draw series, the frontier and the claim; return the lines in pixels, for labels to keep off."""
    from matplotlib.path import Path

    points = {point.key: point for point in panel.points}
    drawn = []
    for name, keys in panel.series:
        colour, dashes = styles[name]
        spots = [(points[key].x, points[key].y) for key in keys]
        line = axes.plot(*zip(*spots, strict=True), color=colour, linestyle=dashes, linewidth=1.6, alpha=0.75)
        line[0].set_gid(gid("series", keys, place))
        drawn.append(spots)
    (left, right), best = axes.get_xlim(), [(point.x, point.y) for point in panel.best]
    if best:
        # The best quality at each cost or speed: a step function, drawn to the edge of the plot.
        steps = [best[0]]
        for one, other in pairwise(best):
            steps += [(one[0], other[1]) if panel.more else (other[0], one[1]), other]
        steps = [(left, steps[0][1]), *steps] if panel.more else [*steps, (right, steps[-1][1])]
        axes.plot(*zip(*steps, strict=True), color=INK, linewidth=1.2, dashes=(4, 2), gid=gid("frontier", [], place))
        drawn.append(steps)
    base = _baseline(panel)
    if claim and base is not None:
        axes.fill_between(
            [left, HALF * base.x], KEPT * base.y, axes.get_ylim()[1], color=GREEN, alpha=0.15, linewidth=0
        )
    return [Path(axes.transData.transform(spots)) for spots in drawn]


def _draw_points(axes: Axes, panel: Panel, place: int, shown: frozenset[str], styles: SeriesStyles) -> None:
    """Draw intervals and marks; points that have no label are small dots without an interval."""
    for point in panel.points:
        labelled = point.key in shown
        if labelled and point.low is not None and point.high is not None:
            axes.plot([point.x] * 2, [point.low, point.high], color=FAINT, linewidth=1.3, zorder=1.9,
                      gid=gid("whisker", [point.key], place))  # fmt: skip
        colour = colour_of(point, styles) if labelled or point.series in styles else FAINT
        mark = mark_of(point.role, colour, filled=point.frontier or not labelled, size=MARK if labelled else DOT)
        mark.set_data([point.x], [point.y])
        mark.set(gid=gid("point", [point.key], place), zorder=3 + point.frontier, clip_on=False)
        axes.add_line(mark)


def _draw_labels(
    canvas: FigureCanvasAgg,
    axes: Axes,
    panel: Panel,
    place: int,
    shown: frozenset[str],
    lines: Sequence[Path],
    *,
    named: bool,
) -> bool:
    """Draw names or numbers beside their marks; return whether every one found room."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    wanted = sorted((point for point in panel.points if point.key in shown), key=lambda point: not point.frontier)
    texts = [plain(point.name, LONGEST) if named else str(point.number) for point in wanted]
    spot = axes.transData.transform
    taken = []
    for point in panel.points:
        (x, y), half = spot((point.x, point.y)), (MARK if point.key in shown else DOT) / 2 + 1
        taken.append(Bbox.from_extents(x - half, y - half, x + half, y + half))
        if point.key in shown and point.low is not None and point.high is not None:
            taken.append(Bbox.from_extents(x - 1, spot((point.x, point.low))[1], x + 1, spot((point.x, point.high))[1]))
    sizes = []
    for text in texts:
        extent = extent_of(Text(0, 0, text, parse_math=False, figure=canvas.figure), canvas)
        sizes.append((extent.width, extent.height))
    centres = [tuple(spot((point.x, point.y))) for point in panel.points]
    marks = [tuple(spot((point.x, point.y))) for point in wanted]
    places = place_labels(marks, centres, sizes, taken, lines, axes.bbox, MARK / 2, clear=named)
    for point, text, mark, found in zip(wanted, texts, marks, places, strict=True):
        if found is not None:
            (x, y), tied = found
            tie = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": MARK / 2}
            axes.annotate(
                text, (point.x, point.y), (x - mark[0], y - mark[1]), textcoords="offset points", ha="center",
                va="center", parse_math=False, gid=gid("label", [point.key], place), zorder=6,
                arrowprops=tie if tied else None,
            )  # fmt: skip
    return all(found is not None for found in places)
