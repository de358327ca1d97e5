"""Boards as files: run, rendered from what is kept beside them, and checked against it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from pyarrow import parquet
from toy_runs import PLUGIN, make_place, settings_at

from xlbench import XlbenchError
from xlbench.boards.board import BoardFile, find_board, read_board
from xlbench.boards.folder import differences, read_folder, write_pages
from xlbench.boards.run import run_board
from xlbench.cli.app import app
from xlbench.distill import training
from xlbench.distill.health import FailedTrainingError
from xlbench.exports.directory import verified_directory
from xlbench.plugins.registry import load_registry
from xlbench.store import entries
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = """
[[run]]
method = "single-stage"
student = {{ name = "toy-half", bottleneck = 8, layers = 2, repeats = 2 }}
options = {{ batch_size = 16 }}

[[encoder]]
model = "{place}/other"
name = "another <encoder> | of old"
"""
HEAD = """
title = "Toys & <others>"
text = "Written for a test."
suite = "toy"
budget = "toy"
precision = "float32"
seeds = [0, 1]
assistant = "{place}/assistant"
corpus = ["tsv:{place}/corpus"]
"""
STUDENTS = ["toy-half-seed0.json", "toy-half-seed1.json"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = make_place(tmp_path_factory.mktemp("boards"))
    save_toy_encoder(directory / "other", seed=1)
    return directory


def declare(place: Path, name: str, rows: str = ROWS, head: str = HEAD) -> BoardFile:
    path = place / "leaderboards" / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text((head + rows).format(place=place), "utf-8")
    return read_board(path)


def run_toy_board(place: Path, board: BoardFile) -> list[str]:
    notes: list[str] = []
    run_board(board, load_registry((PLUGIN,)), settings_at(place / "home"), notes.append)
    return notes


@pytest.fixture(scope="module")
def finished(place: Path) -> tuple[BoardFile, list[str]]:
    """A board that was run, and what was said meanwhile."""
    board = declare(place, "toys")
    return board, run_toy_board(place, board)


@pytest.fixture
def board(finished: tuple[BoardFile, list[str]], tmp_path: Path) -> BoardFile:
    """A copy of it, far from its store and encoders."""
    source = finished[0].path.parent
    shutil.copytree(source, tmp_path / "leaderboards")
    return read_board(tmp_path / "leaderboards" / "toys.toml")


def pages(board: BoardFile) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in board.path.parent.glob("toys*") if path.is_file()}


def records(board: BoardFile) -> Path:
    return board.path.with_suffix("") / "records"


def change(path: Path, edit: Callable[[dict[str, dict[str, object]]], None]) -> None:
    record = json.loads(path.read_text("utf-8"))
    edit(record)
    path.write_text(json.dumps(record), "utf-8")


def test_a_board_keeps_records_and_statistics_and_no_item_of_a_test_set(board: BoardFile) -> None:
    folder = read_folder(board)
    names = sorted(path.name for path in board.path.with_suffix("").rglob("*.json"))
    assert names == sorted(
        ["another-encoder-of-old.json", "assistant.json", "assistant-mean-centred.json", "statistics.json", *STUDENTS]
    )
    others = [
        path
        for path in board.path.parent.rglob("*")
        if path.suffix not in {".json", ".md", ".html", ".svg", ".toml", ""}
    ]
    assert {path.parent for path in others} == {board.path.with_suffix("") / "predictions"}
    assert sorted(path.stem for path in others) == sorted(path.stem for path in records(board).iterdir())
    for path in others:
        assert parquet.read_schema(path).names == ["task", "subset", "prediction"]  # no gold, no sentence
    assert {row.name: len(row.runs) for row in folder.rows} == {
        "toy-half": 2,
        "another <encoder> | of old": 1,
        "assistant": 1,
        "assistant, mean-centred": 1,
    }
    assert folder.statistics.rows.keys() == {row.name for row in folder.rows}
    assert folder.failures == ()
    assert folder.stale is None


def test_pages_are_the_same_bytes_without_the_store_in_another_process(board: BoardFile) -> None:
    first = pages(board)
    assert {"toys.md", "toys.html"} <= first.keys()
    for path in first.keys() - {"toys.toml"}:
        (board.path.parent / path).unlink()
    environment = {**os.environ, "XLBENCH_HOME": str(board.path.parent / "nowhere"), "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        [sys.executable, "-m", "xlbench", "leaderboard", "render", "toys"],
        cwd=board.path.parents[1],
        env={**environment, "PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert pages(board) == first
    assert set(done.stdout.split()) == {f"leaderboards/{name}" for name in first.keys() - {"toys.toml"}}
    assert differences(board) == []


def test_a_changed_digit_fails_the_check_with_a_diff(board: BoardFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(board.path.parents[1])
    assert CliRunner().invoke(app, ["leaderboard", "check"]).exit_code == 0

    def higher(record: dict[str, dict[str, dict[str, float]]]) -> None:
        record["scores"]["families"]["bitext"] += 10

    change(records(board) / STUDENTS[0], higher)  # type: ignore[arg-type]
    failed = CliRunner().invoke(app, ["leaderboard", "check"])
    assert isinstance(failed.exception, XlbenchError)  # which main prints, to exit with 2
    assert "toys" in failed.exception.problem
    assert f"--- {Path('leaderboards/toys.md')}" in failed.stdout
    assert any(line.startswith("+|") and "toy-half" in line for line in failed.stdout.splitlines())
    assert "are not those that its statistics were computed for" in failed.stdout
    with pytest.raises(XlbenchError, match="statistics were computed for") as caught:
        write_pages(board)
    assert caught.value.remedy == "Run `xlbench leaderboard run toys`."


def test_a_digit_that_no_page_shows_fails_the_check_too(board: BoardFile) -> None:
    change(records(board) / STUDENTS[1], lambda record: record["scores"].update(encode_seconds=1234.5))
    assert differences(board)[0].endswith("are not those that its statistics were computed for.")


def test_an_edited_page_fails_the_check(board: BoardFile) -> None:
    page = board.path.with_suffix(".html")
    page.write_text(page.read_text("utf-8").replace("</html>", "<p>and I win</html>"), "utf-8")
    lines = differences(board)
    assert any(line.startswith("-") and "and I win" in line for line in lines)
    board.path.with_suffix(".md").unlink()
    assert any(line.startswith("+") for line in differences(board))


def test_the_check_compares_the_figures_of_a_plot_and_not_its_drawing(board: BoardFile) -> None:
    picture, page = board.path.with_name("toys-bytes.svg"), board.path.with_suffix(".html")
    for path in (picture, page):
        text = path.read_text("utf-8")
        path.write_text(text.replace('class="whisker"', 'class="whisker" opacity="0.5"'), "utf-8")
        assert path.read_text("utf-8") != text
        assert differences(board) == []
        point = re.search(r'\["STS","MB","r0",.*', text)
        assert point is not None
        path.write_text(text.replace(point[0], point[0].replace('"MB"', '"kB"')), "utf-8")
        lines = differences(board)
        changed = [line[:13] for line in lines if line[0] in "+-" and '"r0"' in line]
        assert changed == ['-[["STS","kB"', '+[["STS","MB"']
        path.write_text(text, "utf-8")


def test_a_changed_title_needs_rendering_and_a_changed_seed_needs_running(board: BoardFile) -> None:
    text = board.path.read_text("utf-8")
    board.path.write_text(text.replace("Toys &", "Games &"), "utf-8")
    renamed = read_board(board.path)
    assert any("Games" in line for line in differences(renamed))
    write_pages(renamed)
    assert differences(renamed) == []
    board.path.write_text(text.replace("[0, 1]", "[0, 1, 2]"), "utf-8")
    assert "asks for other rows" in differences(read_board(board.path))[0]
    with pytest.raises(XlbenchError, match="asks for other rows"):
        write_pages(read_board(board.path))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda record: record["scores"].update(suite="paper"), "suites 'toy' and 'paper'|suites 'paper' and 'toy'"),
        (lambda record: record["scores"].update(mteb_version="3.0.0"), "mteb .*3.0.0"),
        (lambda record: record["scores"]["tasks"]["StarterSTS"].update(data="x@1"), "other data of StarterSTS"),
        (lambda record: record["experiment"]["budget"].update(name="big"), "budgets"),
    ],
)
def test_rows_that_cannot_share_a_board_are_refused(
    board: BoardFile, edit: Callable[[dict[str, dict[str, object]]], None], words: str
) -> None:
    change(records(board) / STUDENTS[1], edit)
    with pytest.raises(XlbenchError, match=words):
        differences(board)


def test_a_board_that_was_not_run_or_is_damaged_says_so(board: BoardFile) -> None:
    folder = board.path.with_suffix("")
    (folder / "statistics.json").write_text("{", "utf-8")
    with pytest.raises(XlbenchError, match="cannot be read"):
        write_pages(board)
    (folder / "statistics.json").unlink()
    with pytest.raises(XlbenchError, match="has no statistics") as caught:
        write_pages(board)
    assert caught.value.remedy == f"Run `xlbench leaderboard run {board.path}`."  # no name stands for it here
    shutil.rmtree(folder)
    with pytest.raises(XlbenchError, match="has no records"):
        differences(board)


def test_the_time_saved_by_shared_stages_is_reported(place: Path, finished: tuple[BoardFile, list[str]]) -> None:
    kept = list(entries(place / "home"))
    stages = {str(it.facts["stage"]): 0.0 for it in kept if it.kind == "stages"}
    seconds = {it.key: it.seconds for it in kept if it.kind == "stages"}
    centred = sum(it.seconds for it in kept if it.kind == "stages" and it.facts["stage"] == "teacher-centred")
    targets = sum(it.seconds for it in kept if it.kind == "targets")
    assert "teacher-centred" in stages
    # Every target was made while a stage was, so all stages together hold it once. Two seeds that share nothing
    # would have made the centred teacher and the targets twice.
    once = sum(seconds.values())
    apart = once + centred + targets
    (line,) = [note for note in finished[1] if note.startswith("stages and targets")]
    assert line == (
        f"stages and targets: {once:.0f} s, computed once; {apart:.0f} s in separate runs ({100 * once / apart:.0f} %)"
    )


def test_a_seed_that_diverges_is_shown_and_tried_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = declare(place, "unlucky", ROWS.replace("[[encoder]]", '[[encoder]] # "'))
    real = training.train_stage

    def train(model: object, stage: object, context: object, scratch: Path) -> list[dict[str, float]]:
        if stage.training.seed == 5:  # type: ignore[attr-defined]
            raise FailedTrainingError("Stage 'single' diverged: <b>badly</b>")
        return real(model, stage, context, scratch)  # type: ignore[arg-type]

    board.path.write_text(board.path.read_text("utf-8").replace("[0, 1]", "[0, 5]"), "utf-8")
    board = read_board(board.path)
    with monkeypatch.context() as patch:
        patch.setattr(training, "train_stage", train)
        run_toy_board(place, board)
    (failure,) = read_folder(board).failures
    assert (failure.row, failure.seed) == ("toy-half", 5)
    table = board.path.with_suffix(".md").read_text("utf-8")
    assert "diverged" in table
    assert "<b>" not in table
    assert differences(board) == []
    run_toy_board(place, board)
    assert read_folder(board).failures == ()
    assert [len(row.runs) for row in read_folder(board).rows if row.role == "student"] == [2]
    board.path.write_text(board.path.read_text("utf-8").replace("[0, 5]", "[5]"), "utf-8")
    run_toy_board(place, read_board(board.path))
    assert [path.name for path in records(board).glob("toy-half*")] == ["toy-half-seed5.json"]


def test_a_board_of_encoders_alone_needs_no_training(place: Path) -> None:
    rows = '[[encoder]]\nmodel = "{place}/other"\n[[encoder]]\nmodel = "{place}/assistant"\n'
    board = declare(place, "given", rows)
    assert not [note for note in run_toy_board(place, board) if note.startswith("stage")]
    assert {(row.name, row.role) for row in read_folder(board).rows} == {
        ("other", "encoder"),
        ("assistant", "encoder"),
    }
    assert run_toy_board(place, board) == ["computing intervals"]  # the second time nothing is scored


def test_exports_are_rows_of_the_size_and_with_the_scores_of_their_files(place: Path, tmp_path: Path) -> None:
    rows = ROWS.partition("[[encoder]]")[0] + '[[export]]\nrun = "toy-half"\nto = "{to}"\n'
    board = declare(place, "exports", rows.replace("{to}", "stock") + '[[export]]\nrun = "toy-half"\nto = "onnx"\n')
    notes = run_toy_board(place, board)
    assert [note for note in notes if note.startswith(("exporting toy-half, ", "scoring toy-half, "))] == [
        f"{doing} toy-half, {form}" for form in ("stock", "stock", "onnx", "onnx") for doing in ("exporting", "scoring")
    ]
    found = {row.name: row for row in read_folder(board).rows}
    student, stock, onnx = (found[name] for name in ("toy-half", "toy-half, stock", "toy-half, onnx"))
    for row in (stock, onnx):
        assert row.role == "student"
        assert [run.experiment for run in row.runs] == [run.experiment for run in student.runs]  # a row of both seeds
        for one, other in zip(row.runs, student.runs, strict=True):
            assert one.scores.families == pytest.approx(other.scores.families, abs=1e-4)
    # Written out, four layers are stored where two run twice, and the table is as wide as the encoder.
    assert (stock.record.footprint.stored_layers, student.record.footprint.stored_layers) == (4, 2)
    assert stock.record.footprint.weight_bytes > student.record.footprint.weight_bytes
    # Left out: the pooler that nothing reads, 16 x 16 + 16, and a row of 16 for the one token type.
    assert onnx.record.footprint.parameters == student.record.footprint.parameters - 288
    assert onnx.record.footprint.stored_layers == 2
    with pytest.raises(XlbenchError, match="'toy-half, onnx' is an export that a board scored; its files are not kept"):
        verified_directory(onnx.record, settings_at(place / "home"))
    again = run_toy_board(place, board)  # the second time nothing is exported or scored
    assert not [note for note in again if note.startswith(("exporting", "scoring"))]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", "no .*run.* and no .*encoder"),
        ('[[run]]\nmetod = "x"\n', r"\[\[run\]\] 1: unknown key 'metod'.\nDid you mean method"),
        ('[[run]]\n[[run]]\nbudget = "toy"\n', r"\[\[run\]\] 2: 'budget' holds for the whole board"),
        ('[[run]]\nstudent = {{ name = "s", layers = 0 }}\n', "'student.layers' cannot be 0"),
        ("[[run]]\nseeds = [1, 1]\n", r"'seeds' cannot be \[1, 1\]: a seed is there twice"),
        ('[[export]]\nrun = "x"\n', r"\[\[export\]\] 1: 'to': field required"),
        ("[[published]]\n", r"\[\[published\]\] 1: 'model': field required"),
        ("[[run]\n", "not valid TOML"),
    ],
)
def test_a_bad_board_names_file_table_and_key(tmp_path: Path, rows: str, words: str) -> None:
    with pytest.raises(XlbenchError, match=words) as caught:
        declare(tmp_path, "bad", rows)
    assert "bad.toml" in caught.value.problem
    assert str(caught.value).count("\n") <= 1


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ('[[run]]\nmethod = "multistagee"\n', "Did you mean multistage"),
        ('[[encoder]]\nmodel = "nowhere"\n', "Unknown encoder 'nowhere'"),
        (ROWS + ROWS.partition("[[encoder]]")[0], "two rows are called 'single-stage/toy-half'"),
        (
            ROWS + '[[export]]\nrun = "toy-haf"\nto = "stock"\n',
            r"\[\[export\]\] 1: 'run' names 'toy-haf'.*\n.*toy-half",
        ),
        (ROWS + '[[export]]\nrun = "toy-half"\nto = "stok"\n', "Unknown format 'stok'.\nDid you mean stock"),
        (ROWS + '[[published]]\nmodel = "sentence-transformers/LaBSE"\n', "no published scores of"),
        (
            ROWS + '[[finding]]\npart = "x"\nrow = "toy-half"\nbeside = "multistage/toy"\n',
            "the finding 'x' names 'multistage/toy', which is no row",
        ),
    ],
)
def test_an_impossible_board_is_refused_before_training(place: Path, tmp_path: Path, rows: str, words: str) -> None:
    board = declare(tmp_path, "bad", rows.replace("{place}", str(place)), HEAD.replace("{place}", str(place)))
    notes: list[str] = []
    with pytest.raises(XlbenchError, match=words):
        run_board(board, load_registry((PLUGIN,)), settings_at(tmp_path / "home"), notes.append)
    assert notes == []
    assert not (tmp_path / "home" / "stages").exists()


def test_boards_are_found_by_name_or_path_and_listed(board: BoardFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(board.path.parents[1])
    assert find_board("toys").board == find_board("leaderboards/toys.toml").board == board.board
    with pytest.raises(XlbenchError, match=r"no board 'tyos'.*\nDid you mean toys"):
        find_board("tyos")
    for path in board.path.parent.glob("*.toml"):
        if path != board.path:
            path.unlink()
    listed, *shipped = json.loads(CliRunner().invoke(app, ["leaderboard", "list", "--json"]).stdout)
    assert all(row["shipped"] for row in shipped)
    assert listed == {
        "name": "toys", "title": "Toys & <others>", "suite": "toy", "budget": "toy", "runs": 2, "encoders": 1,
        "published": 0, "run": True, "shipped": False,
    }  # fmt: skip


def test_records_of_a_board_or_of_the_store_make_a_table(board: BoardFile, place: Path) -> None:
    shown = CliRunner().invoke(app, ["leaderboard", "show", str(records(board))], catch_exceptions=False)
    assert "toy-half" in shown.stdout
    before = ["--home", str(place / "home"), "--plugin", str(PLUGIN), "leaderboard", "show"]
    table = CliRunner().invoke(app, [*before, "--suite", "toy"], catch_exceptions=False).stdout
    assert "toy-half" in table
    small = CliRunner().invoke(app, [*before, "--budget", "smoke"], catch_exceptions=False).stdout
    assert "toy-half" not in small  # only encoders that were given are left
    assert "assistant" in small


TWICE_ALIGNED = """
[[run]]
method = "full-size"
student = {{ name = "toy-whole", layers = 4 }}
options = {{ assistant_neighbour_weight = 0.0 }}
name = "matrix"
seeds = [0]

[[run]]
method = "full-size"
student = {{ name = "toy-whole", layers = 4 }}
name = "neighbours"
seeds = [0]
"""


def test_only_the_first_of_two_aligned_assistants_has_a_row_of_that_role(place: Path) -> None:
    board = declare(place, "twice-aligned", TWICE_ALIGNED)
    run_toy_board(place, board)
    rows = {row.name: row.record for row in read_folder(board).rows}
    assert [record.role for record in rows.values()].count("aligned") == 1
    (aligned,) = (record for record in rows.values() if record.role == "aligned")
    assert aligned.encoder_key == rows["matrix"].encoder_key
    assert aligned.encoder_key != rows["neighbours"].encoder_key
