"""Plots: marks where their figures are, labels on nothing, the figures inside, the same bytes every time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from matplotlib.text import Annotation, Text
from toy_board import collapsed, example_records, statistics_of, student

from xlbench.boards.board import find_board
from xlbench.boards.folder import read_folder
from xlbench.records.published import PublishedRow, published_row
from xlbench.records.rows import rows_of
from xlbench.report.figures import figures
from xlbench.report.panels import claim_panels, panels_of
from xlbench.report.plot_style import DARK, MARKS, PAPER, extent_of
from xlbench.report.plot_svg import plotted, without_drawings
from xlbench.report.plots import claim_picture, drawing, figure_of, picture_of
from xlbench.report.points import Panel, Point, with_frontier

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    from xlbench.records.record import Record
    from xlbench.report.figures import Figures
    from xlbench.report.panels import Cost

BOARDS = Path(__file__).parents[1] / "leaderboards"
SVG = "{http://www.w3.org/2000/svg}"


def table(*records: Record, published: tuple[PublishedRow, ...] = ()) -> Figures:
    rows = rows_of([*example_records(), *records])
    return figures(rows, statistics_of(rows), published)


@cache
def board(name: str) -> Figures:
    declared = find_board(str(BOARDS / f"{name}.toml"))
    folder = read_folder(declared)
    tasks = folder.records[0].scores.tasks
    published = tuple(published_row(entry.model, tasks) for entry in declared.board.published)
    return figures(folder.rows, folder.statistics, published, folder.failures)


def panel(*points: Point, more: bool = False) -> Panel:
    return Panel("STS", "Megabytes", " MB", with_frontier(points, more=more), more=more)


def point(number: int, x: float, y: float, **others: object) -> Point:
    return replace(Point(f"r{number - 1}", number, f"row {number}", "student", x, y), **others)  # type: ignore[arg-type]


def many_points(count: int) -> Panel:
    """Points that lie close together, with intervals; every tenth a little better than the one before."""
    return panel(
        *(point(n + 1, 100 + 7 * (n % 9), 60 + n / 10, low=59 + n / 10, high=61 + n / 10) for n in range(count))
    )


def boxes(figure: Figure, kind: str, place: int) -> dict[str, Bbox]:
    """What the artists of one kind take in a panel, in pixels as matplotlib's renderer gives them, by key."""
    found = {}
    for artist in figure.axes[place].get_children():
        if (artist.get_gid() or "").startswith(f"{kind}|"):
            found[artist.get_gid().split("|")[1]] = extent_of(artist, figure.canvas)
            if isinstance(artist, Annotation):  # whose own extent holds the line to its mark, too
                found[artist.get_gid().split("|")[1]] = Text.get_window_extent(artist)
    return found


def assert_labels_lie_on_nothing(figure: Figure) -> int:
    count = 0
    for place, axes in enumerate(figure.axes):
        labels = boxes(figure, "label", place)
        assert not [(a, b) for a, b in combinations(labels, 2) if labels[a].overlaps(labels[b])]
        for kind in ("point", "whisker"):
            marks = boxes(figure, kind, place)
            assert not [(a, kind, b) for a in labels for b in marks if labels[a].overlaps(marks[b])]
        for box in labels.values():
            assert axes.bbox.containsx(box.x0)
            assert axes.bbox.containsx(box.x1)
        count += len(labels)
    return count


@pytest.mark.parametrize("cost", ["bytes", "latency"])
@pytest.mark.parametrize("name", sorted(path.stem for path in BOARDS.glob("*.toml")))
def test_no_label_of_a_real_board_lies_on_a_mark_an_interval_or_a_label(name: str, cost: Cost) -> None:
    panels = panels_of(board(name), cost)
    figure = figure_of(panels)
    labels = assert_labels_lie_on_nothing(figure)
    points = sum(len(part.points) for part in panels)
    # All rows have a label; of fifty those that matter have: the frontier, the ends of ten series, three roles.
    assert labels == points if points <= 2 * 24 else 40 <= labels < points


def test_the_legend_and_the_key_lie_below_the_plots_and_inside_the_picture() -> None:
    figure = figure_of(panels_of(board("size-curve"), "latency"))
    below = min(axes.get_tightbbox().y0 for axes in figure.axes)
    taken = [extent_of(legend, figure.canvas) for legend in figure.legends]
    assert all(box.y1 <= below and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in taken)
    assert not [
        (one, other) for one, other in combinations(taken, 2) if one.y0 < other.y1 - 0.5 and other.y0 < one.y1 - 0.5
    ]


@pytest.mark.parametrize("count", [1, 8, 20, 50])
def test_any_number_of_rows_can_be_drawn(count: int) -> None:
    figure = figure_of([many_points(count)])
    assert_labels_lie_on_nothing(figure)
    assert len(boxes(figure, "point", 0)) == count


def test_a_few_rows_are_labelled_by_name_and_many_by_number_with_a_key() -> None:
    few = drawing("a", "t", [panel(point(1, 50, 60), point(2, 100, 70))])
    assert {"row 1", "row 2"} <= words(few)
    many = drawing("a", "t", [many_points(20)])
    assert {"7", "7\u2002row 7"} <= words(many)
    assert "row 7" not in words(many)
    # Where names find no room, numbers do.
    assert {"1", "2"} <= words(drawing("a", "t", [panel(*(point(n, 100, 60, name="x" * 90) for n in (1, 2)))]))


def words(svg: str) -> set[str]:
    """Text of an SVG, as text; complains where some is drawn as paths, which no reader can search."""
    assert 'id="text' not in svg
    return {element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")}


def test_both_pictures_are_valid_described_and_the_same_every_time() -> None:
    for cost in ("bytes", "latency"):
        text = picture_of(drawing(cost, "Quality", panels_of(table(student()), cost)))
        assert text == picture_of(drawing(cost, "Quality", panels_of(table(student()), cost)))
        root = ET.fromstring(text)
        about = root.find(f"{SVG}desc")
        assert about is not None
        assert "STS of 4 encoders" in (about.text or "")
        assert "http" not in text.replace(SVG[1:-1], "")
        assert {"STS", "Bitext", "minilm-half", "multilingual-e5-small"} <= words(text)
        # What a page's policy forbids, and what would meet another drawing's.
        assert not [element for element in root.iter() if "style" in element.attrib]
        assert all(element.get("id", f"{cost}-").startswith(f"{cost}-") for element in root.iter())
        assert set(re.findall(r"(?:href=\"|url\()#([\w-]+)", text)) <= {element.get("id") for element in root.iter()}


def test_the_same_bytes_in_another_process_under_other_settings(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 31\naxes.facecolor: red\nsvg.fonttype: path\n", "utf-8")
    code = "import test_plots as t; print(t.drawing('a', 't', [t.many_points(20)]), end='')"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
        env={**os.environ, "MATPLOTLIBRC": str(tmp_path), "PYTHONHASHSEED": "3"},
    )  # fmt: skip
    before = dict(mpl.rcParams)
    assert run.stdout == drawing("a", "t", [many_points(20)])
    assert dict(mpl.rcParams) == before


def test_a_plot_contains_its_figures_and_a_changed_one_is_found() -> None:
    one = point(1, 44.01327, 79.3612345678, low=77.6, high=80.8)
    other = point(2, 173.2, 78.9, name='<a> & "b"', series="6 layers")
    text = drawing("a", "t", [panel(one, other)])
    assert plotted(picture_of(text)) == [
        ["STS", "MB", "r0", 1, "row 1", "student", 44.0133, 79.3612, 77.6, 80.8, True, ""],
        ["STS", "MB", "r1", 2, '<a> & "b"', "student", 173.2, 78.9, None, None, False, "6 layers"],
    ]
    page = f"<p>before</p>{text}<p>after</p>"
    lines = without_drawings(page)
    assert lines.startswith("<p>before</p>[")
    assert lines.endswith("]<p>after</p>")
    assert "<svg" not in lines
    again = drawing("a", "t", [panel(replace(one, y=79.3613), other)])
    pairs = zip(without_drawings(text).split("\n"), without_drawings(again).split("\n"), strict=True)
    (changed,) = ((before, after) for before, after in pairs if before != after)
    assert changed[1] == changed[0].replace("79.3612", "79.3613")
    # The seventh digit is not a figure that anybody reads.
    assert without_drawings(drawing("a", "t", [panel(replace(one, y=79.36124), other)])) == without_drawings(text)
    with pytest.raises(ValueError, match="no data"):
        plotted("<svg></svg>")


def test_the_comparison_ignores_how_a_version_of_the_library_draws() -> None:
    text = picture_of(drawing("a", "t", [many_points(9)]))
    assert mpl.__version__ not in text
    redrawn = re.sub(r'stroke-width="[\d.]+"', 'stroke-width="7"', text).replace("<g", '<g data-drawn="otherwise"')
    assert redrawn != text
    assert without_drawings(redrawn) == without_drawings(text)
    assert without_drawings(text.replace("60.1", "60.2", 1)) != without_drawings(text)
    assert without_drawings(text.replace("[[", "[")) != without_drawings(text)  # damaged data is a difference


def test_names_are_shown_unchanged() -> None:
    names = ["$x_1$ and $y^2$", "<script>alert(1)</script>", "a_b_$c", 'a"b&c]]>', "漢字", "\x00\x1b-"]
    text = picture_of(drawing("a", "t", [panel(*(point(n, 10 * n, 60, name=name) for n, name in enumerate(names, 1)))]))
    assert not [element for element in ET.fromstring(text).iter() if "script" in element.tag]
    assert {*names[:5], "-"} <= words(text)
    key = drawing("a", "t", [panel(*(point(n, 10 * n, 60, name=name) for n, name in enumerate(names * 3, 1)))])
    assert {f"{n}\u2002{name}" for n, name in enumerate(names[:5], 1)} <= words(key)
    assert "x" * 59 + "…" in " ".join(words(drawing("a", "t", [panel(*[point(1, 9, 9, name="x" * 300)] * 9)])))


def test_a_mark_describes_its_row() -> None:
    front = point(1, 44.01, 79.36, low=77.6, high=80.8)
    both = panel(front, point(2, 500, 70, role="encoder"))
    assert both.tip(both.points[0]) == "row 1 (student)\nSTS 79.4 ± 1.6\n44.0 MB, on the frontier"
    assert both.tip(both.points[1]) == "row 2 (encoder as given)\nSTS 70.0\n500 MB"
    marks = [element for element in ET.fromstring(drawing("a", "t", [both])).iter() if element.get("class") == "point"]
    assert [(mark.get("data-key"), mark.get("tabindex")) for mark in marks] == [("r1", "0"), ("r0", "-1")]
    assert [mark.findtext(f"{SVG}title") for mark in marks] == [both.tip(both.points[1]), both.tip(both.points[0])]


def test_collapsed_rows_are_not_drawn_and_published_ones_not_on_the_frontier() -> None:
    scores = {name: dict.fromkeys(task.subsets, 60.0) for name, task in example_records()[0].scores.tasks.items()}
    published = PublishedRow(name="org/other", citation="s", commit="c", scores=scores, parameters=10**8)
    found, _ = panels_of(table(student(), collapsed(student(method="b")), published=(published,)), "bytes")
    assert [each.name for each in found.points if each.role == "student"] == ["multistage/minilm-half"]
    # 100 million parameters, of four bytes each as nobody says otherwise.
    (other,) = (each for each in found.points if each.role == "published")
    assert (other.x, other.y, other.frontier, other.number) == (400.0, 60.0, False, 6)
    assert len({marker for marker, _, _ in MARKS.values()}) == len(MARKS)  # told apart without colour


def test_a_cost_that_was_not_measured_has_no_panel() -> None:
    rows = rows_of([record.model_copy(update={"speed": None}) for record in example_records()])
    assert panels_of(figures(rows), "latency") == ()
    assert len(panels_of(figures(rows), "bytes")) == 2


def frontier_line(figure: Figure) -> list[tuple[float, float]]:
    (line,) = (line for line in figure.axes[0].lines if (line.get_gid() or "").startswith("frontier"))
    return [(float(x), float(y)) for x, y in line.get_xydata()]


def test_the_frontier_climbs_from_the_cheapest_to_the_best_and_its_marks_are_filled() -> None:
    figure = figure_of([panel(point(1, 100, 60), point(2, 400, 80), point(3, 400, 70))])
    right = figure.axes[0].get_xlim()[1]
    assert frontier_line(figure) == [(100, 60), (400, 60), (400, 80), pytest.approx((right, 80))]
    filled = {line.get_gid()[6:8]: line.get_markerfacecolor() != PAPER for line in figure.axes[0].lines
              if (line.get_gid() or "").startswith("point|")}  # fmt: skip
    assert filled == {"r0": True, "r1": True, "r2": False}


def test_where_more_is_better_the_frontier_falls_from_the_slowest() -> None:
    figure = figure_of([panel(point(1, 1, 80), point(2, 2, 60), point(3, 1, 50), more=True)])
    left = figure.axes[0].get_xlim()[0]
    assert frontier_line(figure) == [pytest.approx((left, 80)), (1, 80), (1, 60), (2, 60)]


def test_ticks_are_round_few_and_inside() -> None:
    def ticks(*costs: float) -> list[str]:
        axes = figure_of([panel(*(point(n, cost, 60) for n, cost in enumerate(costs, 1)))]).axes[0]
        return [label.get_text() for label in axes.get_xticklabels()]

    assert ticks(20, 500) == ["20", "50", "100", "200", "500"]
    assert ticks(13.5, 15.2) == ["12", "13", "14", "15", "16", "17", "18"]  # never less than a factor of 1.6
    assert ticks(100) == ["80", "90", "100", "110", "120"]


def test_the_claim_is_half_the_bytes_at_99_per_cent_of_the_quality() -> None:
    found = table(student())
    megabytes, speed = claim_panels(found)
    (base,) = (each for each in megabytes.points if each.role == "aligned")
    # The mean of both families, of 55.2 and 98.6.
    qualities = next(line.qualities for line in found.lines if line.row.role == "aligned")
    assert base.y == pytest.approx((qualities["sts"].score + qualities["bitext"].score) / 2)
    figure = figure_of([megabytes, speed], most=3, claim=True)
    (region,) = figure.axes[0].collections
    corner = region.get_paths()[0].get_extents()
    assert (corner.x1, corner.y0) == pytest.approx((base.x / 2, 0.99 * base.y))
    assert not figure.axes[1].collections
    assert [len(boxes(figure, "label", place)) for place in (0, 1)] == [3, 3]
    assert_labels_lie_on_nothing(figure)
    text = claim_picture("Claim", megabytes, speed)
    assert text == claim_picture("Claim", megabytes, speed)
    assert any(word.startswith("claim: at least 50 % smaller") for word in words(text))


def test_students_that_differ_in_size_only_are_joined_by_a_line() -> None:
    sizes = [student(points, name=name, parameters=more) for name, points, more in
             [("large", 2.0, 2 * 10**7), ("small", 0.0, 0), ("middle", 1.0, 10**7)]]  # fmt: skip
    found, _ = panels_of(table(*sizes), "bytes")
    key = {each.name: each.key for each in found.points}
    assert found.series == (("multistage", (key["small"], key["middle"], key["large"])),)
    text = drawing("a", "t", [found])
    (line,) = (element for element in ET.fromstring(text).iter() if element.get("class") == "series")
    assert line.get("data-keys") == " ".join(found.series[0][1])
    assert "multistage" in words(text)


def contrast(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2.2, definition)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("paper", [PAPER, DARK[PAPER]])
def test_plots_can_be_read_in_light_and_dark(paper: str) -> None:
    colours = list(DARK if paper == PAPER else DARK.values())
    _, ink, muted, _, _, *marks = colours
    assert contrast(ink, paper) >= 7
    assert contrast(muted, paper) >= 4.5  # WCAG AA, text
    assert min(contrast(mark, paper) for mark in marks) >= 3  # WCAG AA, graphics
    assert len(set(colours)) == len(DARK)


def test_colours_in_a_drawing_are_those_that_a_dark_page_exchanges() -> None:
    text = picture_of(drawing("a", "t", panels_of(board("size-curve"), "bytes")))
    found = {element.get(name) for element in ET.fromstring(text).iter() for name in ("fill", "stroke")} - {
        None,
        "none",
    }
    assert found <= DARK.keys()


def test_nothing_of_matplotlib_is_loaded_before_something_is_drawn() -> None:
    code = "import sys, xlbench.report.page; print(json.dumps([n for n in sys.modules if 'matplotlib' in n]))"
    run = subprocess.run([sys.executable, "-c", f"import json; {code}"], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []
