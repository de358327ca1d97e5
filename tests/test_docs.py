"""Documents: what is generated in them is what the code gives today, and their examples work.

``XLBENCH_UPDATE_DOCS=1 pytest tests/test_docs.py`` writes what is generated.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from docs_blocks import DOCS, MARKED, PAGES, ROOT, SHARED, claim, hook_names, names, readme_folder, renewed, variables

import xlbench
from xlbench import api
from xlbench.boards.board import read_board
from xlbench.boards.folder import Folder, differences, read_folder
from xlbench.cli.app import COMMANDS
from xlbench.plugins import hooks as hookspecs
from xlbench.records.rows import rows_of
from xlbench.report.figures import figures
from xlbench.report.frame import board_frame
from xlbench.report.markdown import markdown
from xlbench.report.plot_svg import without_drawings

if TYPE_CHECKING:
    from pathlib import Path

BOARDS = sorted((ROOT / "leaderboards").glob("*.toml"))
BRIEF = 8  # letters of a docstring that says nothing


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def named(path: Path, kind: str) -> list[str]:
    """The arguments of a page's marks of one kind."""
    marks = [match["what"].split() for match in MARKED.finditer(path.read_text("utf-8"))]
    return [argument for first, *arguments in marks if first == kind for argument in arguments]


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_what_is_generated_in_a_page_is_what_the_code_gives(path: Path) -> None:
    text = path.read_text("utf-8")
    updated = renewed(text)
    if os.environ.get("XLBENCH_UPDATE_DOCS") == "1":
        path.write_text(updated, "utf-8")
    assert text == updated, "run XLBENCH_UPDATE_DOCS=1 pytest tests/test_docs.py"


def test_the_picture_of_the_readme_shows_what_the_board_has() -> None:
    path, drawn = DOCS / "claim.svg", claim()
    if os.environ.get("XLBENCH_UPDATE_DOCS") == "1":
        path.write_text(drawn, "utf-8")
    # Of a plot its data counts: how it is drawn is for the plotting library's version to decide.
    assert without_drawings(path.read_text("utf-8")) == without_drawings(drawn)
    readme = (ROOT / "README.md").read_text("utf-8")
    (said,) = re.findall(
        r"of (\w+) students with half the megabytes or less, (\w+) (?:is|are) within one per cent", readme
    )
    table = readme_folder()
    lines = board_frame(table.rows, table.statistics)
    mean = (lines.sts_score + lines.bitext_score) / 2
    (base,) = mean.index[lines.reference]
    half = (lines.role == "student") & (lines.megabytes <= lines.megabytes[base] / 2)
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight"]
    assert said == (words[half.sum()], words[(half & (mean >= 0.99 * mean[base])).sum()])


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_mark_of_a_page_has_its_end(path: Path) -> None:
    text = path.read_text("utf-8")
    opened = len(re.findall(r"^<!-- generated: ", text, re.MULTILINE))
    assert opened == text.count("<!-- /generated -->") == len(MARKED.findall(text))


def test_a_block_that_is_out_of_date_is_reported() -> None:
    page = "a\n<!-- generated: names Pair -->\nold\n<!-- /generated -->\nb"
    assert renewed(page) == f"a\n<!-- generated: names Pair -->\n{names('Pair')}\n<!-- /generated -->\nb"


def test_every_public_name_stands_in_the_reference_once() -> None:
    plugins, python = (
        named(DOCS / "reference" / "api.md", "names"),
        named(DOCS / "reference" / "python.md", "top_names"),
    )
    assert sorted([*plugins, "XlbenchError"]) == sorted(api.__all__)
    assert sorted([*python, "__version__"]) == sorted([*xlbench.__all__, *SHARED])


PUBLIC = {name: getattr(api, name) for name in api.__all__} | {
    name: getattr(xlbench, name) for name in xlbench.__all__ if name != "__version__"
}


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_and_its_methods_have_a_docstring(name: str) -> None:
    thing = PUBLIC[name]
    assert len(thing.__doc__ or "") > BRIEF, name
    # A dataclass and a NamedTuple without one get their signature for it.
    assert not (thing.__doc__ or "").startswith(f"{name}("), name
    members = vars(thing).items() if isinstance(thing, type) else ()
    bare = [
        key
        for key, member in members
        if not key.startswith("_")
        and type(member).__name__ in {"property", "cached_property", "function"}
        and len(member.__doc__ or "") <= BRIEF
    ]
    assert bare == []


@pytest.mark.parametrize("page", ["api", "python"])
def test_the_reference_shows_no_private_module(page: str) -> None:
    text = (DOCS / "reference" / f"{page}.md").read_text("utf-8")
    assert set(re.findall(r"xlbench\.([a-z_]+)", text)) <= {"api", *xlbench.__all__}
    assert not re.search(r" at 0x|<factory>|<class '", text)


@pytest.mark.parametrize("name", hook_names())
def test_every_hook_is_documented_and_tested(name: str) -> None:
    hook = getattr(hookspecs, name)
    assert hook.__annotations__["return"].startswith("Iterable["), name
    assert len(hook.__doc__ or "") > BRIEF
    page = (DOCS / "reference" / "hooks.md").read_text("utf-8")
    assert f"## `{name}`" in page
    assert f"def {name}() -> {hook.__annotations__['return']}" in page
    # An example in the pages brings something by it, which test_docs_examples.py loads and uses.
    written = [path for path in (DOCS / "examples").glob("*.py") if f"\ndef {name}(" in path.read_text("utf-8")]
    assert written, f"no example implements {name}"


def test_the_settings_page_has_every_variable_that_the_code_reads() -> None:
    page = (DOCS / "reference" / "settings.md").read_text("utf-8")
    assert set(re.findall(r"`(XLBENCH_[A-Z_]+)`", page)) == set(variables())


def test_the_reference_has_every_command() -> None:
    page = (DOCS / "reference" / "cli.md").read_text("utf-8")
    assert set(re.findall(r"^## `xlbench ([a-z-]+)`$", page, re.MULTILINE)) == set(COMMANDS)


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked, left = {ROOT / "README.md"}, [ROOT / "README.md"]
    while left:
        page = left.pop()
        text = page.read_text("utf-8")
        targets = re.findall(r"\]\(([^)#:]+\.md)", text)
        for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
            entries = [line for line in block.split("\n") if line and not line.startswith(":")]
            names_of = [entry.rpartition("<")[2].rstrip(">") for entry in entries]
            # The one page that is no Markdown: a notebook, which the documentation build executes.
            targets += [f"{name}.ipynb" if name == "notebook" else f"{name}.md" for name in names_of]
        for target in targets:
            there = (page.parent / target).resolve()
            assert there.is_file(), f"{page.name} links to {target}, which is not there"
            if there not in linked and there in PAGES:
                linked.add(there)
                left.append(there)
    assert set(PAGES) == linked


@pytest.mark.parametrize("path", BOARDS, ids=[path.stem for path in BOARDS])
def test_the_pages_of_every_board_are_what_its_records_give(path: Path) -> None:
    assert differences(read_board(path)) == []


def example() -> Folder:
    return read_folder(read_board(ROOT / "leaderboards" / "example.toml"))


def test_example_scores_are_labelled_as_an_example() -> None:
    assert "not a benchmark" in markdown(figures(example().rows))


@pytest.mark.parametrize("title", ["<script>alert(1)</script>", "a | b", "x" * 300, "two\nlines"])
def test_a_hostile_title_breaks_no_table(title: str) -> None:
    records = list(example().records)
    hostile = [*records[1:], records[0].model_copy(update={"name": title})]
    lines = markdown(figures(rows_of(hostile))).split("\n")
    assert "<script>" not in "".join(lines)
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines[: len(records) + 2]]
    assert len(set(cells)) == 1
    assert max(map(len, lines[:2])) < 400
