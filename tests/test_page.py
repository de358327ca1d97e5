"""The page of a board: one file, safe whatever it shows, readable in every light; and the files beside it."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from toy_board import collapsed, example_records, statistics_of, student, with_tasks

from xlbench.records.published import PublishedRow
from xlbench.records.record import Failure
from xlbench.records.rows import rows_of
from xlbench.report.curves import configuration, training_details
from xlbench.report.figures import figures
from xlbench.report.heat import language_of
from xlbench.report.page import BoardText, asset, render

if TYPE_CHECKING:
    from xlbench.records.record import Record

VOID = {"meta", "link", "input", "br", "wbr", "hr", "img"}
HOSTILE = ["<script>alert(1)</script>", "a | b", "x" * 300, "'\"><img src=http://evil/x onerror=alert(1)>"]


class Page(HTMLParser):
    """Elements with their attributes, and the text of scripts and styles; complains of what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inside: dict[str, str] = {}
        self.words = ""
        self.titles: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"script", "style"}:
            self.inside[self.open[-1]] = self.inside.get(self.open[-1], "") + data
        elif self.open and self.open[-1] == "title":
            self.titles.append(data)
        else:
            self.words += data

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def files(title: str = "A board", text: str = "", name: str = "minilm-half") -> dict[str, str]:
    rows = rows_of(
        [
            *example_records(),
            student(name=name, method="a"),
            student(1.0, name=name, method="a", seed=1),
            collapsed(student(-9.0, name=name, method="a", seed=2)),
        ]
    )
    published = PublishedRow(name=name, citation=name, commit="c", scores={}, parameters=10**8)
    failures = (
        Failure(row=rows[-1].name, seed=3, message=f"diverged: {name}"),
        Failure(row=f"{name}2", seed=0, message="no"),
    )
    return render(BoardText(name="board", title=title, text=text), rows, statistics_of(rows), (published,), failures)


def test_a_board_is_a_table_a_page_and_two_pictures() -> None:
    found = files(text="First.\n\nSecond.")
    assert sorted(found) == ["board-bytes.svg", "board-latency.svg", "board.html", "board.md"]
    lines = found["board.md"].split("\n\n")
    assert lines[1:4] == ["# A board", "First.", "Second."]
    assert "![Quality against stored bytes](board-bytes.svg)" in lines
    assert found["board.md"].endswith("\n")


def test_the_page_allows_no_script_or_file_from_outside() -> None:
    page = Page(files()["board.html"])
    policy = next(meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    for tag in ("script", "style"):
        assert len(page.of(tag)) == 1
        digest = base64.b64encode(hashlib.sha256(page.inside[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "style", "action"} & attributes.keys(), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        if tag == "link":
            assert attributes["href"] == "data:,"
    assert "url(" not in page.inside["style"]


def test_the_page_is_labelled_for_screen_readers() -> None:
    text = files()["board.html"]
    page = Page(text)
    assert page.of("html")[0]["lang"] == "en"
    assert len(page.of("h1")) == len(page.of("main")) == 1
    assert all(head.get("scope") in {"col", "row", "colgroup"} for head in page.of("th"))
    sortable = [head for head in page.of("th") if "aria-sort" in head]
    assert len(sortable) == 1 + 3 + 3 + 3 + 3  # name; rank, score, drop twice; size; time
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    named = {attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes}
    assert named <= set(identities)
    points = [attributes for _, attributes in page.elements if attributes.get("class") == "point"]
    assert all(point["role"] == "img" for point in points)
    tips = page.titles[1:]  # after the page's own
    assert len(tips) == len(points)
    assert all(tip.count("\n") == 2 for tip in tips)  # name; score; cost
    # One stop of the tab key per plot; arrow keys go on from there.
    stops = [
        attributes
        for _, attributes in page.elements
        if attributes.get("class") == "point" and attributes["tabindex"] == "0"
    ]
    assert len(stops) == len([plot for plot in page.of("svg") if plot.get("class") == "plot"]) == 2


def test_every_row_shows_its_curves_configuration_and_languages() -> None:
    page = Page(files()["board.html"])
    words = " ".join(page.words.split())
    assert 'method = "multistage"' in words
    assert "recurrent, 38 steps" in words
    assert "2 of 4 seeds †‡" in words
    assert "accuracy 36.7 → 97.6 %" in words  # the first and last evaluation of the example's stage
    heat = [row for row in page.of("tr") if row.get("data-row") == "r0"]
    assert len(heat) == 1 + 2 + 2  # main table, families, tasks


def test_a_row_describes_its_encoder_and_not_its_spec() -> None:
    record = student(method="full-size")
    size = record.footprint.model_copy(update={"stored_layers": 12})
    rows = rows_of([*example_records(), record.model_copy(update={"footprint": size})])
    summaries = [details.summary for details in training_details(figures(rows))]
    assert summaries == [
        "1 stage, not cut",
        "scored as given",
        "2 stages, not cut",
        # The spec of both is minilm-half: 6 layers run twice. Records of before shapes were kept say no width.
        "full-size, 12 layers",
        "multistage, 6 layers run as 12",
    ]


def test_an_option_that_is_none_is_left_out_of_the_configuration() -> None:
    record = student()
    assert record.experiment is not None
    experiment = record.experiment.model_copy(update={"options": {"layer": None, "heads": 4}})
    (row,) = rows_of([record.model_copy(update={"experiment": experiment})])
    assert tomllib.loads(configuration(row))["options"] == {"heads": 4}


@pytest.mark.parametrize("title", HOSTILE)
def test_a_hostile_title_is_escaped(title: str) -> None:
    found = files(title=title, text=f"Text {title}", name=title)
    page = Page(found["board.html"])
    assert len(page.of("script")) == 1
    assert page.of("img") == []
    assert len(re.findall("<script>", found["board.md"].replace(f"Text {title}", ""))) == 0
    assert title[:20] in page.words
    assert max(len(word) for word in page.words.split("\n")) < 2000


def test_text_is_markdown_without_html_and_pictures() -> None:
    text = "A *b* [c](https://example.org) [d](javascript:alert(1)) ![e](https://evil.example/x.png) <b>f</b>"
    page = Page(files(text=text)["board.html"])
    assert page.of("em")
    targets = [link["href"] for link in page.of("a") if not link["href"].startswith("#")]
    # A picture's address is left as a link, which loads nothing by itself.
    assert targets == ["https://example.org", "https://evil.example/x.png"]
    assert "<b>f</b>" in page.words


def test_links_to_other_boards_lead_to_their_pages() -> None:
    text = "[a](ablation.md) [b](./size-curve.md#rows) [c](../docs/decisions.md) [d](https://example.org/x.md)"
    found = files(text=text)
    targets = [link["href"] for link in Page(found["board.html"]).of("a") if not link["href"].startswith("#")]
    assert targets == ["ablation.html", "size-curve.html#rows", "../docs/decisions.md", "https://example.org/x.md"]
    assert text in found["board.md"]  # whose reader reads markdown


def test_a_board_without_speed_has_no_filter_by_speed() -> None:
    rows = rows_of([record.model_copy(update={"speed": None}) for record in example_records()])
    page = render(BoardText(name="toy", title="A board"), rows, statistics_of(rows))["toy.html"]
    assert 'id="megabytes"' in page
    assert 'id="speed"' not in page


def test_every_row_with_details_links_to_them() -> None:
    page = Page(files()["board.html"])
    cards = [details["id"] for details in page.of("details") if "id" in details]
    links = [link["href"] for link in page.of("a") if link.get("class") == "name"]
    assert links == [f"#{card}" for card in cards]
    assert cards == [f"row-{number}" for number in range(1, len(cards) + 1)]


def paper_shaped(record: Record) -> Record:
    """The record with four tasks of 10, 6, 7 and 14 subsets, as many as the suite `paper` has."""
    sts, bitext = record.scores.tasks.values()
    tasks = {}
    for name, task, count in (("STS17", sts, 10), ("STSb", sts, 6), ("Tatoeba", bitext, 7), ("NTREX", bitext, 14)):
        cells = list(task.subsets.values())
        subsets = {f"eng_Latn-x{number:02}_Latn": cells[number % len(cells)] for number in range(count)}
        tasks[name] = task.model_copy(update={"subsets": subsets})
    return with_tasks(record, tasks)


def test_thirty_rows_on_the_shape_of_the_paper_stay_below_450_kb() -> None:
    records = [student(float(-n), method=f"method-{n}", seed=seed) for n in range(26) for seed in range(3)]
    rows = rows_of([paper_shaped(record) for record in [*example_records(), *records]])
    assert sum(len(task.subsets) for task in rows[0].record.scores.tasks.values()) == 37
    found = render(BoardText(name="b", title="t"), rows, statistics_of(rows))
    assert len(rows) == 30
    # A tenth of it is the table as LaTeX, CSV and markdown, ready to be copied.
    assert len(found["b.html"].encode()) < 450_000


def test_the_same_bytes_in_another_process() -> None:
    code = "import sys, test_page; sys.stdout.buffer.write(test_page.digest(test_page.files()).encode())"
    # Whatever would follow the order of a set comes out differently under another seed of hashing.
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == digest(files())


def digest(found: dict[str, str]) -> str:
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


@pytest.mark.parametrize(
    ("languages", "language"),
    [("en-de", "de"), ("de-en", "de"), ("en", "en"), ("ar", "ar"), ("de-fr", "de-fr"), ("default", "default")],
)
def test_a_subset_is_about_its_language_that_is_not_english(languages: str, language: str) -> None:
    assert language_of(languages) == language


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2, definition)."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_can_be_read_in_light_and_dark(theme: int) -> None:
    blocks = re.findall(r"root \{(.*?)\}", asset("board.css"), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[theme]))
    grounds = [name for name in colours if name in {"paper", "raised"} or name.startswith("h")]
    assert {"paper", "ink", "muted", "student", "warm"} <= colours.keys()
    for ground in grounds:
        assert contrast(colours["ink"], colours[ground]) >= 7
    for word in ("muted", "student", "warm"):
        assert contrast(colours[word], colours["paper"]) >= 4.5  # WCAG AA
