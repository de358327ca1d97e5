"""Boards that ship with xlbench: found anywhere, never written to, copied whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hatchling.builders.wheel import WheelBuilder
from toy_board import example_records, statistics_of

import xlbench
from xlbench import XlbenchError
from xlbench.boards import shipped
from xlbench.boards.board import find_board, read_board
from xlbench.boards.folder import write_folder
from xlbench.boards.reference import run_reference
from xlbench.cli.app import app
from xlbench.records.rows import rows_of

if TYPE_CHECKING:
    from click.testing import Result

CLONE = Path(__file__).parents[1]
BOARD = """
title = "Toys"
suite = "starter"
budget = "starter"

[[run]]
method = "multistage"
"""
PAGES = ["published.md", "published.html", "published-bytes.svg", "published-latency.svg"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed xlbench, which ships one board; the working directory is empty."""
    folder = tmp_path / "site-packages" / "published"
    folder.mkdir(parents=True)
    (folder / "published.toml").write_text(BOARD, "utf-8")
    records = example_records()
    write_folder(read_board(folder / "published.toml"), records, statistics_of(rows_of(records)), ())
    monkeypatch.setattr(shipped, "PACKAGED", folder)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o444)
    return folder


def go(*words: str) -> Result:
    return CliRunner().invoke(app, ["leaderboard", *words])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_list_distinguishes_shipped_and_local_boards(folder: Path) -> None:
    heading = "Shipped with xlbench, and copied into 'leaderboards' when run or rendered:"
    line = "  published            Toys"
    assert go("list").stdout.splitlines() == ["In 'leaderboards':", "  none", heading, line]
    Path("leaderboards").mkdir()
    Path("leaderboards/own.toml").write_text(BOARD.replace("Toys", "Mine"), "utf-8")
    own = "  own                  Mine  (not run yet)"
    assert go("list").stdout.splitlines() == ["In 'leaderboards':", own, heading, line]
    assert {row["name"]: row["shipped"] for row in json.loads(go("list", "--json").stdout)} == {
        "own": False,
        "published": True,
    }


def test_a_shipped_board_is_shown_and_read_as_frames_and_nothing_is_written(folder: Path) -> None:
    names = [row.name for row in rows_of(example_records())]
    shown = go("show", "published", "--format", "csv")
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) == 1 + len(names)
    board = xlbench.leaderboard("published")
    assert sorted(board.table()["name"]) == sorted(names)
    assert len(board.records) == len(example_records())
    assert go("render", "published", "--format", "csv", "--output", "table.csv").exit_code == 0
    assert [path.name for path in Path().iterdir()] == ["table.csv"]


def test_a_local_board_takes_precedence_over_a_shipped_one_of_its_name(folder: Path) -> None:
    Path("leaderboards").mkdir()
    Path("leaderboards/published.toml").write_text(BOARD.replace("Toys", "Mine"), "utf-8")
    assert (find_board("published").board.title, find_board("published").shipped) == ("Mine", False)
    assert [row["title"] for row in json.loads(go("list", "--json").stdout)] == ["Mine"]


def test_an_unknown_board_is_refused_with_the_nearest_that_ships(folder: Path) -> None:
    with pytest.raises(XlbenchError, match=r"no board 'publisched'.*\nDid you mean published"):
        find_board("publisched")


def test_rendering_a_shipped_board_copies_it_here_and_says_so(folder: Path) -> None:
    before = contents(folder)
    rendered = go("render", "published")
    assert rendered.exit_code == 0, rendered.output
    copied = Path("leaderboards/published.toml")
    assert f"board 'published' ships with xlbench; copied to '{copied}'" in rendered.stderr
    there = contents(Path("leaderboards"))
    assert {name: there.pop(name) for name in before} == before
    assert sorted(there) == sorted(PAGES)
    assert contents(folder) == before
    assert not find_board("published").shipped
    assert "copied" not in go("render", "published").output  # from now on it is one's own
    copied.write_text(BOARD.replace("Toys", "Mine"), "utf-8")  # the installed file was read-only, the copy is not


@pytest.mark.parametrize("by_name", [True, False])
def test_the_api_copies_too_and_so_does_the_path_of_an_installed_board(folder: Path, by_name: bool) -> None:
    before = contents(folder)
    notes: list[str] = []
    pages = xlbench.leaderboard("published" if by_name else folder / "published.toml").render(say=notes.append)
    assert sorted(path.name for path in pages) == sorted(PAGES)
    assert {path.parent for path in pages} == {Path("leaderboards")}
    assert len(notes) == 1
    assert contents(folder) == before


def test_running_a_shipped_board_runs_the_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr("xlbench.boards.run.run_board", lambda board, *_, **__: ran.append(board.path) or [])
    result = go("run", "published")
    assert result.exit_code == 0, result.output
    assert "copied to" in result.stderr
    assert ran == [Path("leaderboards/published.toml")]
    shutil.rmtree("leaderboards")
    assert xlbench.leaderboard("published").run().file.path == Path("leaderboards/published.toml")


def test_a_copy_overwrites_nothing_and_is_whole_or_absent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("leaderboards/published").mkdir(parents=True)
    refused = go("render", "published")
    assert isinstance(refused.exception, XlbenchError)
    assert "not copied over 'leaderboards/published', which is there already" in str(refused.exception)
    shutil.rmtree("leaderboards")

    copy, copied = shutil.copyfile, []

    def fill_the_disk(source: Path, target: Path) -> None:
        if len(copied) == 3:
            raise OSError(28, "No space left on device")
        copied.append(copy(source, target))

    monkeypatch.setattr(shutil, "copyfile", fill_the_disk)
    with pytest.raises(XlbenchError, match=r"'published' cannot be copied into 'leaderboards'.*No space left"):
        xlbench.leaderboard("published").render()
    assert len(copied) == 3
    assert list(Path("leaderboards").iterdir()) == []


def test_pages_of_a_shipped_board_cannot_be_checked_as_it_has_none(folder: Path) -> None:
    checked = go("check", "published")
    assert isinstance(checked.exception, XlbenchError)
    assert checked.exception.remedy == "`xlbench leaderboard render published` writes them here."
    assert go("check").output == ""  # those here, of which there are none


def test_a_row_of_a_board_is_named_for_comparing(folder: Path) -> None:
    record = example_records()[0]
    path = Path(run_reference(f"published:{record.name}"))
    assert path.parent == folder / "published" / "records"
    assert json.loads(path.read_text("utf-8"))["name"] == record.name
    assert run_reference(f"published:{path.stem}") == str(path)
    assert run_reference("elsewhere:row") == "elsewhere:row"  # no board: what it means, the store knows
    with pytest.raises(XlbenchError, match="Board 'published' has no row 'nothing'"):
        run_reference("published:nothing")


def test_in_a_clone_the_shipped_boards_are_those_of_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "PACKAGED", tmp_path / "nowhere")
    monkeypatch.setattr(shipped, "CLONE", CLONE)
    monkeypatch.chdir(tmp_path)
    assert shipped.shipped_folder() == CLONE / "leaderboards"
    assert find_board("headline").shipped
    assert xlbench.leaderboard("headline").was_run
    monkeypatch.chdir(CLONE)
    assert not find_board("headline").shipped  # found under ./leaderboards, and written there


def test_the_wheel_has_the_data_of_boards_and_no_pages() -> None:
    files = {file.distribution_path for file in WheelBuilder(str(CLONE)).recurse_included_files()}
    inside = "xlbench/boards/published/"
    boards = {name.removeprefix(inside) for name in files if name.startswith(inside)}
    wanted = {
        str(path.relative_to(CLONE / "leaderboards"))
        for path in (CLONE / "leaderboards").rglob("*")
        if path.suffix in {".toml", ".json", ".parquet"}
    }
    assert boards == wanted
    assert {"headline.toml", "headline/statistics.json"} <= boards
    assert sum((CLONE / "leaderboards" / name).stat().st_size for name in boards) < 8_500_000
    assert {name.split("/")[0] for name in files} == {"xlbench", "xlbench_plugins"}
