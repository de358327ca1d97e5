"""A board in every format: the same figures in each, whatever stands in a name, and from the command line."""

from __future__ import annotations

import json
import os
import re
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from click.testing import CliRunner
from toy_board import collapsed, example_records, statistics_of, student

from xlbench import XlbenchError
from xlbench.boards.board import read_board
from xlbench.boards.folder import write_folder
from xlbench.cli.app import app
from xlbench.records.published import PublishedRow
from xlbench.records.record import Failure
from xlbench.records.rows import rows_of
from xlbench.report.columns import columns_of, table_of
from xlbench.report.figures import Figures, figures
from xlbench.report.latex import latex
from xlbench.report.page import BoardText
from xlbench.report.write import ENDINGS, text_of, write_as

if TYPE_CHECKING:
    from click.testing import Result

    from xlbench.report.write import Format

BOARD = BoardText(name="toy", title="A board", text="Some *text*.")
HOSTILE = [
    "50 % of a_b & #1 $x^2$ {~}",
    "\\input{/etc/passwd}",
    "[2em] in brackets",
    "* starred",
    "a | b <c> \"d\" `e`",
    "−1 ± 2 × 3 † ‡ Δ …",
]  # fmt: skip


def toy_figures(name: str = "minilm-half") -> Figures:
    records = [*example_records()[:3], student(name=name, method="a"), student(1.0, name=name, method="a", seed=1)]
    rows = rows_of([*records, collapsed(student(-9.0, name=name, method="b"))])
    other = PublishedRow(name=name, citation="c", commit="d", scores={}, parameters=10**8)
    failures = (Failure(row=f"a/{name}", seed=2, message="diverged"), Failure(row="gone", seed=0, message="no"))
    return figures(rows, statistics_of(rows), (other,), failures)


def test_every_column_reads_exactly_the_frame_columns_that_it_declares() -> None:
    found = toy_figures()
    for column in columns_of(found):
        line: dict[str, object] = dict.fromkeys(column.reads)
        line |= {name: False for name in column.reads if str(found.board.dtypes[name]) == "bool"}
        column.cell(line)  # type: ignore[arg-type]
    read = {name for column in columns_of(found) for name in column.reads}
    assert read <= set(found.board.columns)


def test_empty_columns_are_left_out() -> None:
    headings = [column.title for column in table_of(figures(rows_of(example_records()))).columns]
    assert headings == [
        "Encoder",
        "Method",
        "STS",
        "Δ STS",
        "Bitext",
        "Δ Bitext",
        "Params M",
        "Layers",
        "MB",
        "Speed",
        "ms",
        "Train min",
    ]  # fmt: skip - no ranks without statistics, no languages, no seeds where each row rests on one


def test_every_column_of_figures_is_explained() -> None:
    assert [column.heading for column in columns_of(toy_figures()) if not column.about] == ["Encoder"]
    markdown = text_of(toy_figures(), "markdown", BOARD)
    for column in table_of(toy_figures()).columns[1:]:
        assert f"- {column.label or column.title}: {column.about}" in markdown


@pytest.mark.parametrize("tidy", [False, True])
def test_csv_json_and_parquet_give_the_frame_back(tmp_path: Path, tidy: bool) -> None:
    found = toy_figures("NA, \"quoted\" 'x'\u00e9")
    frame = found.tidy if tidy else found.board
    kinds = frame.dtypes.to_dict()
    text = StringIO(text_of(found, "csv", BOARD, tidy=tidy))
    again = pd.read_csv(text, dtype=kinds, keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    lines = json.loads(text_of(found, "json", BOARD, tidy=tidy))
    pd.testing.assert_frame_equal(pd.DataFrame(lines).astype(kinds), frame, check_exact=True)
    write_as(tmp_path / "deep" / "board.parquet", found, "parquet", BOARD, tidy=tidy)
    again = pd.read_parquet(BytesIO((tmp_path / "deep" / "board.parquet").read_bytes()))
    pd.testing.assert_frame_equal(again, frame, check_exact=True)


def test_latex_has_the_figures_of_markdown() -> None:
    lines = latex(toy_figures(), "A board", "toy").splitlines()
    assert lines[:9] == [
        r"% Needs \usepackage{booktabs} and \usepackage{graphicx}.",
        r"\begin{table*}",
        r"\centering",
        r"\caption{A board}",
        r"\label{tab:toy}",
        r"\resizebox{\textwidth}{!}{%",
        r"\begin{tabular}{lrrrrrrrrrrrrr}",
        r"\toprule",
        r" & \multicolumn{3}{c}{STS} & \multicolumn{3}{c}{Bitext} & \multicolumn{3}{c}{Size} &"
        r" \multicolumn{3}{c}{Time} &  \\",
    ]
    assert lines[9] == r"\cmidrule(lr){2-4} \cmidrule(lr){5-7} \cmidrule(lr){8-10} \cmidrule(lr){11-13}"
    (row,) = (line for line in lines if line.startswith("a/minilm-half"))
    assert [cell.strip() for cell in row.removesuffix(r" \\").split("&")] == [
        "a/minilm-half",
        r"4 {\scriptsize d}",
        r"\textbf{34.8} {\scriptsize $\pm$ 2.0 (sd 0.7)}",
        r"$-$20.3 {\scriptsize [$-$21.3, $-$19.3], $-$37 \%}",  # 34.846 - 55.192; 34.846 / 55.192 = 0.631
        r"4 {\scriptsize c}",
        r"\textbf{93.8} {\scriptsize $\pm$ 2.0 (sd 0.7)}",
        r"$-$4.5 {\scriptsize [$-$5.5, $-$3.5], $-$5 \%}",
        r"43.0 {\scriptsize (37 \%)}",
        r"6 {\scriptsize run as 12}",
        "172",
        r"0.97$\times$",
        "28.4",
        "4.3",
        r"2 of 3 {\scriptsize $\ddagger$}",
    ]
    assert lines.count(r"\midrule") == 2  # below the headings, and above what was not measured here
    assert r"$\ddagger$ gone, seed 0: no" in lines


@pytest.mark.parametrize("name", HOSTILE)
def test_latex_escapes_special_characters(name: str) -> None:
    text = latex(toy_figures(name), name, "toy")
    assert "\\input" not in text
    assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
    assert sorted(re.findall(r"\\begin\{(.*?)\}", text)) == sorted(re.findall(r"\\end\{(.*?)\}", text))
    lines = text.splitlines()
    body = lines[lines.index(r"\toprule") + 1 : lines.index(r"\bottomrule")]
    cells = [line for line in body if line.endswith(r"\\") and "multicolumn" not in line]
    # As many columns everywhere, and nothing that the \\ of the line before would take for its argument.
    assert {len(re.findall(r"(?<!\\)&", line)) for line in cells} == {13}
    assert not any(line.startswith(("[", "*")) for line in cells)
    assert all(line.count("$") % 2 == line.count("\\$") % 2 for line in lines)
    assert not re.search(r"(?<!\\)[#%_&]", next(line for line in lines if line.startswith(r"\caption")))
    assert not any("−" in line or "±" in line for line in lines)


def test_a_format_without_a_tidy_form_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(XlbenchError, match="no tidy latex"):
        text_of(toy_figures(), "latex", BOARD, tidy=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the board toy: the example's rows and their statistics."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "leaderboards" / "toy.toml"
    path.parent.mkdir()
    path.write_text('title = "A board"\nsuite = "starter"\n[[run]]\n', "utf-8")
    records = example_records()
    write_folder(read_board(path), records, statistics_of(rows_of(records)), ())
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["leaderboard", *words], catch_exceptions=False)


@pytest.mark.parametrize(
    ("wanted", "beginning"),
    [("markdown", "| Encoder "), ("csv", "name,role,method,"), ("latex", "% Needs"), ("json", '[\n {\n  "name": '),
     ("html", "<!doctype html>")],
)  # fmt: skip
def test_a_board_is_shown_in_any_format_with_its_statistics(place: Path, wanted: Format, beginning: str) -> None:
    text = call("show", "toy", "--format", wanted).stdout
    assert text.lstrip("\n").startswith(beginning)
    assert {"markdown": "4 d", "latex": r"4 {\scriptsize d}", "html": "4 <small>d</small>"}.get(wanted, "d") in text
    assert call("show", "toy", "--format", wanted, "--output", "out/file").stdout == ""
    assert Path("out/file").read_text("utf-8") == text


def test_an_output_writes_through_a_link_and_replaces_nothing_but_files(place: Path) -> None:
    Path("kept.csv").write_text("old")
    Path("link.csv").symlink_to("kept.csv")
    call("show", "toy", "--format", "csv", "--output", "link.csv")
    assert Path("link.csv").is_symlink()
    assert Path("kept.csv").read_text("utf-8").startswith("name,role,method,")
    os.mkfifo("pipe")
    with pytest.raises(XlbenchError, match="'pipe' is no plain file"):
        call("show", "toy", "--format", "csv", "--output", "pipe")
    assert Path("pipe").is_fifo()


def test_a_board_is_shown_as_markdown_and_its_records_without_statistics(place: Path) -> None:
    assert call("show", "toy").stdout == call("show", "toy", "--format", "markdown").stdout
    by_directory = call("show", "leaderboards/toy").stdout
    assert "STS rank" not in by_directory
    assert "minilm-half" in by_directory
    assert by_directory == call("show", "leaderboards/toy/records").stdout
    assert json.loads(call("show", "toy", "--json").stdout)[0]["name"] == "minilm-half"


def test_parquet_goes_into_a_file(place: Path) -> None:
    with pytest.raises(XlbenchError, match="Parquet is no text"):
        call("show", "toy", "--format", "parquet")
    call("show", "toy", "--format", "parquet", "--tidy", "--output", "toy.parquet")
    assert len(pd.read_parquet("toy.parquet")) == 4 * 17
    assert call("render", "toy", "--format", "parquet").stdout == "leaderboards/toy.parquet\n"
    assert len(pd.read_parquet("leaderboards/toy.parquet")) == 4


def test_render_writes_one_format_beside_the_board_or_all_pages(place: Path) -> None:
    for wanted in ENDINGS:
        assert call("render", "toy", "--format", wanted).stdout == f"leaderboards/toy{ENDINGS[wanted]}\n"
    page = Path("leaderboards/toy.md").read_text("utf-8")
    assert "# A board" in page
    listed = call("render", "toy").stdout.split()
    assert {"leaderboards/toy.md", "leaderboards/toy.html"} < set(listed)
    assert Path("leaderboards/toy.md").read_text("utf-8") == page
    with pytest.raises(XlbenchError, match="of one format"):
        call("render", "toy", "--output", "x")


def test_suite_and_budget_choose_among_records_only(place: Path) -> None:
    with pytest.raises(XlbenchError, match="a board has its own"):
        call("show", "toy", "--suite", "starter")
