"""``xlbench leaderboard plan``: what a run would do, counted and not done."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest
from click.testing import CliRunner
from test_engines import board_at
from toy_runs import PLUGIN, make_place, settings_at

import xlbench
from xlbench import XlbenchError
from xlbench.boards.board import read_board
from xlbench.boards.plan import plan_board
from xlbench.boards.run import look_up_board, missing_of, run_board
from xlbench.cli.app import app
from xlbench.plugins.registry import load_registry
from xlbench.runs.rates import Rates
from xlbench.store import entries

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.boards.board import BoardFile
    from xlbench.boards.planned import BoardPlan

# Seconds are encoders loaded: one by each stage, scoring and set of targets, two by an export.
RATES = Rates(loaded=1)
HALF = "single-stage/toy-half"
SECONDS = {
    f"stage teacher-centred of {HALF}, seed 0": 1,
    "scoring assistant, mean-centred": 1,
    "scoring assistant": 1,
    f"stage student of {HALF}, seed 0": 2,  # and the teacher's targets, which seed 1 finds
    f"scoring {HALF}, seed 0": 1,
    f"stage student of {HALF}, seed 1": 1,
    f"scoring {HALF}, seed 1": 1,
    f"stage quantised of {HALF}-8bit, seed 0": 1,
    f"scoring {HALF}-8bit, seed 0": 1,
    "scoring toy-half-8bit, stock, seed 0": 2,
    "scoring assistant as it is": 1,
}
FIRST, SECOND, SMALL, EXPORT, GIVEN = (
    "toy-half, seed 0",
    "toy-half, seed 1",
    "toy-half-8bit",
    "toy-half-8bit, stock",
    "as it is",
)


class Place(NamedTuple):
    directory: Path
    board: BoardFile


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    directory = make_place(tmp_path_factory.mktemp("plans"))
    return Place(directory, read_board(board_at(directory, directory / "toys.toml")))


def plan(place: Place, home: Path, *, reproduce: bool = False) -> BoardPlan:
    registry = load_registry((PLUGIN,))
    return plan_board(place.board, registry, settings_at(home), workers=(1, 2, 3), reproduce=reproduce, rates=RATES)


def states(planned: BoardPlan) -> dict[str, str]:
    return {task.name: task.state for task in planned.tasks}


def test_a_plan_counts_what_would_run_and_runs_nothing(place: Place, tmp_path: Path) -> None:
    home = tmp_path / "home"
    planned = plan(place, home)
    assert {task.name: task.seconds for task in planned.tasks} == SECONDS
    assert set(states(planned).values()) == {"missing"}
    assert {task.name: task.rows for task in planned.tasks} == {
        f"stage teacher-centred of {HALF}, seed 0": (FIRST, SECOND, SMALL, EXPORT),
        "scoring assistant, mean-centred": (FIRST, SECOND, SMALL, EXPORT),
        "scoring assistant": (FIRST, SECOND, SMALL, EXPORT),
        f"stage student of {HALF}, seed 0": (FIRST, SMALL, EXPORT),
        f"scoring {HALF}, seed 0": (FIRST,),
        f"stage student of {HALF}, seed 1": (SECOND,),
        f"scoring {HALF}, seed 1": (SECOND,),
        f"stage quantised of {HALF}-8bit, seed 0": (SMALL, EXPORT),
        f"scoring {HALF}-8bit, seed 0": (SMALL, EXPORT),
        "scoring toy-half-8bit, stock, seed 0": (EXPORT,),
        "scoring assistant as it is": (GIVEN,),
    }
    assert planned.shared_seconds == planned.missing_seconds == sum(SECONDS.values()) == 13
    # Each seed 6; the 8-bit student one stage more; its export that, and its own scoring; the encoder alone.
    assert planned.apart_seconds == 6 + 6 + 7 + 9 + 1
    # Centred, trained, quantised, scored, exported.
    assert planned.critical_seconds == 1 + 2 + 1 + 1 + 2
    assert planned.critical_path == (
        f"stage teacher-centred of {HALF}, seed 0",
        f"stage student of {HALF}, seed 0",
        f"stage quantised of {HALF}-8bit, seed 0",
        f"scoring {HALF}-8bit, seed 0",
        "scoring toy-half-8bit, stock, seed 0",
    )
    assert [(it.workers, it.seconds) for it in planned.schedules] == [(1, 13), (2, 7), (3, 7)]
    assert [it.speed_up for it in planned.schedules] == [1, 13 / 7, 13 / 7]
    assert planned.took_seconds == 0
    assert {manifest.kind for manifest in entries(home)} == {"corpora", "tokens"}
    # It is the graph that an engine gets.
    registry, settings = load_registry((PLUGIN,)), settings_at(home)
    graph = missing_of(look_up_board(place.board, registry, settings), settings)
    assert {task.id: task.after for task in planned.tasks} == graph.after
    assert planned.checkpoint_bytes > 0


def test_disk_is_that_of_weights_tokenizer_targets_and_items(place: Place, tmp_path: Path) -> None:
    planned = {task.name: task.bytes for task in plan(place, tmp_path / "home").tasks}
    student, again = (planned[f"stage student of {HALF}, seed {seed}"] for seed in (0, 1))
    # 176 English sentences of 16 numbers in float16: computed once.
    assert student - again == 176 * 16 * 2
    centred = planned[f"stage teacher-centred of {HALF}, seed 0"]
    # 40 tokens: the full table has 40 x 16 numbers, the narrow one (40 + 16) x 8; of four layers two are stored.
    layer = 4 * (16 * 16 + 16) + 2 * 16 * 32 + 16 + 32 + 4 * 16
    assert centred - again == 4 * (40 * 16 - (40 + 16) * 8 + 2 * layer)


def test_after_a_run_estimates_stand_beside_what_it_took(place: Place, tmp_path: Path) -> None:
    home = tmp_path / "home"
    board = tmp_path / "toys.toml"
    shutil.copy(place.board.path, board)
    there = Place(place.directory, read_board(board))
    run_board(there.board, load_registry((PLUGIN,)), settings_at(home))
    planned = plan(there, home)
    assert set(states(planned).values()) == {"stored"}
    assert planned.missing_seconds == planned.missing_bytes == 0
    assert planned.made_seconds == planned.shared_seconds == 13
    took = {f"{it.kind}/{it.key}": it.seconds for it in entries(home)}
    assert {task.id: task.took for task in planned.tasks} == {task.id: took[task.id] for task in planned.tasks}
    assert planned.took_seconds == pytest.approx(sum(task.took or 0 for task in planned.tasks))
    assert [it.seconds for it in planned.schedules] == [13, 7, 7]  # of all tasks, as none is missing
    assert "Nothing is missing" in str(planned)

    # What is gone is missing again; targets that stages in the store have read are there.
    gone = [task for task in planned.tasks if task.name.endswith(f"{HALF}, seed 1")]
    for task in gone:
        shutil.rmtree(home / task.id)
    again = plan(there, home, reproduce=True)
    assert {name for name, state in states(again).items() if state == "missing"} == {task.name for task in gone}
    assert again.missing_seconds == 2
    assert again.critical_path == tuple(task.name for task in gone)

    # Another store: the rows came with the board, and no stage is needed for them. Of an encoder in two roles a board
    # keeps one record.
    other = plan(there, tmp_path / "other")
    assert [name for name, state in states(other).items() if state == "missing"] == ["scoring assistant as it is"]
    assert {(task.kind, task.state) for task in other.tasks if task.state != "missing"} == {
        ("stage", "not needed"),
        ("scoring", "with the board"),
        ("export", "with the board"),
    }
    assert (other.missing_seconds, other.took_seconds) == (1, 0)
    assert plan(there, tmp_path / "other", reproduce=True).missing_seconds == 13


def test_the_command_measures_this_machine_and_leaves_nothing(place: Place, tmp_path: Path) -> None:
    home = tmp_path / "home"
    words = ["--quiet", "--device", "cpu", "--plugin", str(PLUGIN), "--home", str(home), "leaderboard", "plan"]
    done = CliRunner().invoke(app, [*words, str(place.board.path), "--workers", "4,1", "--no-speed", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [task["name"] for task in found["tasks"]] == list(SECONDS)
    assert [it["workers"] for it in found["schedules"]] == [1, 4]
    assert all(rate > 0 for rate in found["rates"].values())
    assert all(task["seconds"] > 0 for task in found["tasks"])
    assert {manifest.kind for manifest in entries(home)} == {"corpora", "tokens"}
    assert not list(home.glob("probe-*"))


def test_the_text_numbers_rows_and_says_what_is_shared(place: Place, tmp_path: Path) -> None:
    lines = str(plan(place, tmp_path / "home")).splitlines()
    assert lines[:3] == ["toys: 4 stages, 6 scorings, 1 export", "Rows:", "  1 toy-half, seed 0"]
    (line,) = (line for line in lines if line.startswith(f"stage teacher-centred of {HALF}"))
    assert line.split("  ")[1:3] == ["1 2 3 4", "missing"]
    assert "each row on its own: 29 s" in lines
    assert "what rows share computed once: 13 s" in lines


@pytest.mark.parametrize(("given", "words"), [("0", "workers"), ("two", "workers"), ("1,,2", "workers")])
def test_numbers_of_workers_are_checked(place: Place, tmp_path: Path, given: str, words: str) -> None:
    line = ["--plugin", str(PLUGIN), "--home", str(tmp_path), "leaderboard", "plan", str(place.board.path)]
    done = CliRunner().invoke(app, [*line, "--workers", given])
    assert isinstance(done.exception, XlbenchError)
    assert words in done.exception.problem
    assert not any(tmp_path.iterdir())


def test_python_refuses_the_same(place: Place, tmp_path: Path) -> None:
    board = xlbench.leaderboard(place.board.path, home=tmp_path, plugin=PLUGIN, quiet=True)
    with pytest.raises(XlbenchError, match="workers"):
        board.plan(workers=(0,))
    with pytest.raises(XlbenchError, match="reproduce"):
        board.plan(reproduce="perhaps")  # type: ignore[arg-type]


def test_a_board_of_encoders_alone_needs_no_student_that_fits_its_assistant(tmp_path: Path) -> None:
    directory = make_place(tmp_path)  # 16 wide: no student of the registered names can be cut from it
    board = directory / "given.toml"
    assistant = directory / "assistant"
    lines = [
        'title = "Given"',
        'suite = "toy"',
        'budget = "toy"',
        f'assistant = "{assistant}"',
        f'corpus = ["tsv:{directory / "corpus"}"]',
        "[[encoder]]",
        f'model = "{assistant}"',
        'name = "as it is"',
    ]
    board.write_text("\n".join(lines), "utf-8")
    planned = plan_board(read_board(board), load_registry((PLUGIN,)), settings_at(tmp_path / "home"), rates=RATES)
    assert [task.name for task in planned.tasks if task.kind == "stage"] == []
    assert any(task.name.endswith("as it is") for task in planned.tasks)
