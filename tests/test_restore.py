"""A board on another machine: what came with it is not made again, and new rows are paired with it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from toy_runs import PLUGIN, make_place, settings_at

from xlbench import XlbenchError
from xlbench.boards.board import BoardFile, read_board
from xlbench.boards.folder import read_folder, record_paths
from xlbench.boards.run import run_board
from xlbench.plugins.registry import load_registry
from xlbench.records.predictions import Predicted, read_predictions, write_predictions
from xlbench.runs.compare import compare
from xlbench.runs.restore import restore
from xlbench.settings import Settings

BOARD = """
title = "Toys"
suite = "toy"
budget = "toy"
precision = "float32"
assistant = "{place}/assistant"
corpus = ["tsv:{place}/corpus"]

[[run]]
method = "single-stage"
student = {{ name = "toy-half", bottleneck = 8, layers = 2, repeats = 2 }}
"""
ANOTHER = """
[[run]]
method = "full-size"
student = {name = "toy-whole", layers = 4}
"""
OURS = Path(__file__).parents[1] / "leaderboards"
ROWS = ["assistant", "assistant-mean-centred", "toy-half-seed0"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = make_place(tmp_path_factory.mktemp("restore"))
    (directory / "leaderboards").mkdir()
    (directory / "leaderboards" / "toys.toml").write_text(BOARD.format(place=directory), "utf-8")
    go(read_board(directory / "leaderboards" / "toys.toml"), directory / "home")
    return directory


@pytest.fixture
def board(place: Path, tmp_path: Path) -> BoardFile:
    """The board as another machine gets it: its files, and nothing of the store."""
    shutil.copytree(place / "leaderboards", tmp_path / "leaderboards")
    return read_board(tmp_path / "leaderboards" / "toys.toml")


def go(board: BoardFile, home: Path, *, reproduce: bool = False) -> list[str]:
    notes: list[str] = []
    run_board(board, load_registry((PLUGIN,)), settings_at(home), notes.append, reproduce=reproduce)
    return notes


def files(board: BoardFile) -> dict[str, bytes]:
    folder = board.path.parent
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def record(board: BoardFile, row: str) -> Path:
    return board.path.with_suffix("") / "records" / f"{row}.json"


def extended(board: BoardFile) -> BoardFile:
    board.path.write_text(board.path.read_text("utf-8") + ANOTHER, "utf-8")
    return read_board(board.path)


def test_records_of_a_board_are_restored_and_not_run_again(board: BoardFile, tmp_path: Path) -> None:
    before = files(board)
    assert [name for name in before if "predictions" in name] == [f"toys/predictions/{row}.parquet" for row in ROWS]
    notes = go(board, tmp_path / "home")
    assert notes[0] == "rows that came with the board: 3"
    assert "all 3 records come from the store" in notes
    assert not (tmp_path / "home" / "stages").exists()
    assert files(board) == before


def test_a_row_from_another_machine_is_paired_like_the_others(board: BoardFile, place: Path, tmp_path: Path) -> None:
    one_store, elsewhere = tmp_path / "one-store", tmp_path / "elsewhere"
    shutil.copytree(place / "home", one_store)
    shutil.copytree(board.path.parent, tmp_path / "beside")
    beside = extended(read_board(tmp_path / "beside" / "toys.toml"))
    assert not [note for note in go(beside, one_store) if note.startswith("rows that came")]
    notes = go(extended(board), elsewhere)
    assert notes[0] == "rows that came with the board: 3"
    assert "all 3 records come from the store" in notes
    assert "scoring full-size" in notes
    assert read_folder(board).statistics == read_folder(beside).statistics
    assert {f"{row.name}" for row in read_folder(board).rows} >= {"toy-half", "full-size"}


def test_a_board_can_be_reproduced(board: BoardFile, tmp_path: Path) -> None:
    before = read_folder(board)
    notes = go(board, tmp_path / "home", reproduce=True)
    assert "scoring toy-half" in notes
    assert (tmp_path / "home" / "stages").is_dir()
    assert read_folder(board).statistics == before.statistics


def test_the_predictions_of_our_example_give_its_records(tmp_path: Path) -> None:
    assert_whole("example", settings_at(tmp_path))


def test_the_predictions_of_our_headline_give_its_records_on_the_real_data(data_root: Path, tmp_path: Path) -> None:
    assert_whole("headline", Settings(home=tmp_path, data_root=data_root, offline=True, quiet=True))


def assert_whole(name: str, settings: Settings) -> None:
    paths = record_paths(read_board(OURS / f"{name}.toml"))
    notes: list[str] = []
    restore(paths, load_registry(), settings, notes.append)
    assert notes == [f"rows that came with the board: {len(paths)}"]


def test_predictions_of_another_encoder_are_not_used(board: BoardFile, tmp_path: Path) -> None:
    folder = board.path.with_suffix("")
    kept = {row: read_predictions(record(board, row)) for row in ROWS}
    wrong = kept["toy-half-seed0"]
    assert wrong is not None
    negated = {name: -values for name, values in wrong.predictions.items()}
    write_predictions(folder, {**kept, "toy-half-seed0": Predicted(wrong.key, negated)})  # type: ignore[arg-type]
    notes = go(board, tmp_path / "home")
    assert notes[:2] == [
        "what 'toy-half' predicted does not give the scores of its record on this data: not used",
        "rows that came with the board: 2",
    ]
    assert "scoring toy-half" in notes
    mended = read_predictions(record(board, "toy-half-seed0"))
    assert mended is not None
    for name, values in mended.predictions.items():
        np.testing.assert_array_equal(values, wrong.predictions[name])


@pytest.mark.parametrize("field", ['"sts": ', '"parameters": '])
def test_a_row_whose_record_has_changed_is_not_used(board: BoardFile, tmp_path: Path, field: str) -> None:
    path = record(board, "toy-half-seed0")
    text = path.read_text("utf-8")
    changed = re.sub(rf"({field}-?)(\d)", r"\g<1>8\2", text)
    assert changed != text
    path.write_text(changed, "utf-8")
    notes: list[str] = []
    restore(record_paths(board), load_registry((PLUGIN,)), settings_at(tmp_path / "home"), notes.append)
    assert notes == [
        "the record of 'toy-half' is not the one that was written with its predictions: not used",
        "rows that came with the board: 2",
    ]


def test_a_damaged_file_is_named(board: BoardFile, tmp_path: Path) -> None:
    path = board.path.with_suffix("") / "predictions" / "assistant.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(XlbenchError, match=r"assistant\.parquet' cannot be read") as caught:
        go(board, tmp_path / "home")
    assert caught.value.remedy == "Delete it: the row is then computed again."


def test_the_predictions_of_a_removed_row_are_deleted(board: BoardFile, tmp_path: Path) -> None:
    go(extended(board), tmp_path / "home")
    folder = board.path.with_suffix("") / "predictions"
    assert (folder / "full-size-seed0.parquet").is_file()
    board.path.write_text(board.path.read_text("utf-8").removesuffix(ANOTHER), "utf-8")
    go(read_board(board.path), tmp_path / "home")
    assert sorted(path.stem for path in folder.iterdir()) == ROWS


def test_records_of_a_board_are_compared_on_another_machine(board: BoardFile, tmp_path: Path) -> None:
    one, two = (str(record(board, row)) for row in ("toy-half-seed0", "assistant"))
    settings = settings_at(tmp_path / "home")
    found = compare(one, two, load_registry((PLUGIN,)), settings)
    (difference,) = (
        it for it in read_folder(board).statistics.differences if {it.first, it.second} == {"toy-half", "assistant"}
    )
    sign = 1 if difference.first == "toy-half" else -1
    for family, gap in found.gaps.families.items():
        assert gap.difference.value == pytest.approx(sign * difference.families[family].value)
    (board.path.with_suffix("") / "predictions" / "assistant.parquet").unlink()
    with pytest.raises(XlbenchError, match="is not in the store") as caught:
        compare(one, two, load_registry((PLUGIN,)), settings_at(tmp_path / "empty"))
    assert caught.value.remedy == "Run it here first, or give --home; its board has no predictions of it."
