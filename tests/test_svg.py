"""Plots: marks where their figures are, labels that do not collide, the same bytes every time."""

from __future__ import annotations

import random
from itertools import combinations
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from toy_board import collapsed, example_records, statistics_of, student

from xlbench.records.published import PublishedRow
from xlbench.records.rows import rows_of
from xlbench.report.figures import figures
from xlbench.report.layout import Box, linear_scale, log_scale, place_labels, text_width
from xlbench.report.series import series_of
from xlbench.report.svg import PLOT, SHAPES, panel, plot

if TYPE_CHECKING:
    from xlbench.records.record import Record
    from xlbench.report.figures import Figures

NAMESPACE = {"svg": "http://www.w3.org/2000/svg"}
BOUNDS = Box(0, 0, 400, 250)


def table(*records: Record, published: tuple[PublishedRow, ...] = ()) -> Figures:
    rows = rows_of([*example_records(), *records])
    return figures(rows, statistics_of(rows), published)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mean_cosine", [400.0, 40.0, 0.0])
def test_no_label_covers_another_or_a_mark_and_none_leaves_the_plot(seed: int, spread: float) -> None:
    chance = random.Random(seed)
    points = [
        (round(200 + spread * (chance.random() - 0.5), 2), round(125 + spread / 2 * (chance.random() - 0.5), 2))
        for _ in range(30)
    ]
    texts = [f"method-{number}/minilm-half"[: chance.randint(6, 30)] for number in range(30)]
    labels = place_labels(points, texts, BOUNDS, size=11, radius=5)
    marks = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    boxes = [label.box for label in labels if label]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.overlaps(mark) for box in boxes for mark in marks)
    assert all(BOUNDS.holds(box) for box in boxes)
    # 30 labels of up to 150 x 13 pixels would cover half of 400 x 250: not all find room, most do.
    assert len(boxes) >= (20 if spread else 12)


def test_a_label_that_fits_nowhere_is_left_out() -> None:
    labels = place_labels([(200, 125)], ["x" * 200], BOUNDS, size=11, radius=5)
    assert labels == [None]


def test_the_first_label_stands_right_of_its_mark() -> None:
    (label,) = place_labels([(100.0, 100.0)], ["ab"], BOUNDS, size=10, radius=5)
    assert label is not None
    # 9 pixels to the right, centred: 10 pixels of font are 12 high, 'ab' at most 2 x 0.62 wide.
    assert label.box == (109.0, 94.0, 121.4, 106.0)
    assert label.leader is None


def test_labels_keep_off_lines_and_are_tied_to_marks_far_away() -> None:
    (label,) = place_labels([(100.0, 100.0)], ["ab"], BOUNDS, size=10, radius=5, lines=[Box(100, 99, 400, 101)])
    assert label is not None
    assert label.box.right <= 100 - 5
    crowd = [Box(60, 60, 140, 140)] * 9
    (label,) = place_labels([(100.0, 100.0)], ["ab"], BOUNDS, size=10, radius=5, lines=crowd)
    assert label is not None
    assert label.leader is not None


def test_wide_letters_are_taken_for_wide() -> None:
    assert text_width("WWWW", 10) > text_width("aaaa", 10) > text_width("iiii", 10)
    assert text_width("語", 10) == pytest.approx(10.5)


def test_scales_have_round_ticks_inside() -> None:
    scale = linear_scale([34.3, 56.7], 100.0, 0.0)
    assert scale.ticks == (35.0, 40.0, 45.0, 50.0, 55.0)
    assert scale.place(34.3) > scale.place(56.7)
    assert log_scale([20, 500], 0.0, 100.0).ticks == (20.0, 50.0, 100.0, 200.0, 500.0)
    narrow = log_scale([43.0, 117.7], 0.0, 100.0).ticks
    assert len(narrow) >= 4
    assert len(linear_scale([5.0], 0.0, 10.0).ticks) >= 1


def test_both_pictures_are_valid_described_and_the_same_every_time() -> None:
    for cost in ("bytes", "latency"):
        text = plot(table(student()), cost)
        assert text is not None
        assert text == plot(table(student()), cost)
        root = ET.fromstring(text)
        assert root.find("svg:title", NAMESPACE) is not None
        about = root.find("svg:desc", NAMESPACE)
        assert about is not None
        assert "STS scores of 4 encoders" in (about.text or "")
        assert "http" not in text.replace(NAMESPACE["svg"], "")
        # Text as text: every name is there to be read and searched.
        words = {element.text for element in root.iter(f"{{{NAMESPACE['svg']}}}text")}
        assert {"STS", "Bitext", "minilm-half", "multilingual-e5-small"} <= words


def test_marks_are_where_their_figures_are() -> None:
    found = panel(table(student(parameters=0)), "sts", "bytes")
    assert found is not None
    marks = {mark.point.name: mark for mark in found.marks}
    small, large = marks["minilm-half"], marks["multilingual-e5-small"]
    assert small.x < large.x
    assert small.y > large.y  # y grows downwards
    assert small.whisker is not None
    assert small.whisker[0] > small.y > small.whisker[1]
    # From the student, the cheaper, right and up to the assistant, the better; then on to the edge.
    assert found.frontier == f"M{small.x:g} {small.y:g}H{large.x:g}V{large.y:g}H{PLOT.right:g}"


def test_the_frontier_climbs_where_two_costs_fall_on_one_pixel() -> None:
    # 144 parameters more, of 43 million: a better student at a cost that cannot be seen.
    found = panel(table(student(10.0, method="b", parameters=144)), "sts", "bytes")
    assert found is not None
    marks = {mark.point.name: mark for mark in found.marks}
    cheap, good, large = marks["multistage/minilm-half"], marks["b/minilm-half"], marks["multilingual-e5-small"]
    assert cheap.x == good.x
    assert found.frontier == (f"M{cheap.x:g} {cheap.y:g}H{good.x:g}V{good.y:g}H{large.x:g}V{large.y:g}H{PLOT.right:g}")


def test_roles_have_shapes_of_their_own_and_collapsed_rows_no_mark() -> None:
    scores = {name: dict.fromkeys(task.subsets, 60.0) for name, task in example_records()[0].scores.tasks.items()}
    published = PublishedRow(name="org/other", citation="s", commit="c", scores=scores, parameters=10**8)
    found = panel(table(student(), collapsed(student(method="b")), published=(published,)), "sts", "bytes")
    assert found is not None
    shapes = {mark.point.role: mark.shape for mark in found.marks}
    assert shapes["student"] == SHAPES["student"]
    # Assistant and aligned assistant are both squares, one filled and one hollow.
    assert len(set(shapes.values())) == len(shapes) - 1
    assert [mark.point.name for mark in found.marks if mark.point.role == "student"] == ["multistage/minilm-half"]
    # 100 million parameters, of four bytes each as nobody says otherwise.
    assert [mark.point.x for mark in found.marks if mark.point.role == "published"] == [400.0]
    assert panel(table(published=(published,)), "sts", "latency") is not None


def test_what_was_not_measured_has_no_picture() -> None:
    rows = rows_of([record.model_copy(update={"speed": None}) for record in example_records()])
    assert plot(figures(rows), "latency") is None
    assert plot(figures(rows), "bytes") is not None


def test_an_ending_that_all_students_share_is_left_out_of_labels() -> None:
    found = panel(table(student(), student(1.0, method="single-stage")), "sts", "bytes")
    assert found is not None
    texts = {mark.label.text for mark in found.marks if mark.label}
    assert {"multistage", "single-stage", "multilingual-e5-small"} <= texts


def test_students_that_differ_in_size_only_are_a_curve_with_one_label() -> None:
    sizes = [student(points, name=name, parameters=more) for name, points, more in
             [("large", 2.0, 2 * 10**7), ("small", 0.0, 0), ("middle", 1.0, 10**7)]]  # fmt: skip
    found = panel(table(*sizes), "sts", "bytes")
    assert found is not None
    marks = {mark.point.name: mark for mark in found.marks}
    (curve,) = found.curves
    names = ("small", "middle", "large")
    assert curve.keys == tuple(marks[name].point.key for name in names)
    assert curve.path == "M" + "L".join(f"{marks[name].x:g} {marks[name].y:g}" for name in names)
    # One series of the method: called after it, at the best of its rows.
    assert [mark.label and mark.label.text for mark in (marks[name] for name in names)] == [None, None, "multistage"]
    picture = plot(table(*sizes), "bytes") or ""
    assert "one method and depth, other word tables" in picture
    assert picture.count('class="series" data-rows') == 2  # in either panel
    latency = panel(table(*sizes), "sts", "latency")
    assert latency is not None
    assert latency.curves == ()


def test_curves_of_one_method_are_told_apart_by_their_layers() -> None:
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


@pytest.mark.parametrize("title", ["<script>alert(1)</script>", 'a"b&c]]>', "x" * 300, "\x00\x1b", "漢字" * 40])
def test_a_hostile_title_breaks_no_picture(title: str) -> None:
    text = plot(table(student(name=title)), "bytes")
    assert text is not None
    root = ET.fromstring(text)
    assert not [element for element in root.iter() if "script" in element.tag]
    labels = [element.text or "" for element in root.iter(f"{{{NAMESPACE['svg']}}}text")]
    assert max(map(len, labels)) < 80
