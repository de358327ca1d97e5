"""Seeds: an axis of a run; what each gave is shown, and one that diverges stops neither the others nor the mean."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import stdev
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from toy_board import collapsed, student
from toy_runs import PLUGIN, make_place, settings_at, toy_request, toy_run

from xlbench import XlbenchError
from xlbench.cli.app import app
from xlbench.distill import training
from xlbench.distill.health import FailedTrainingError
from xlbench.records.record import Failure
from xlbench.records.rows import family_deviation, repeated_seeds, rows_of, valid_runs
from xlbench.report.figures import figures
from xlbench.report.frame import board_frame
from xlbench.report.markdown import seed_table
from xlbench.report.notes import run_warnings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xlbench.runs.results import Results

LOWEST_RATE = "Lower the learning rate"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("seeds"))


def go(place: Path, home: Path, *seeds: int) -> tuple[Results, list[str]]:
    request = toy_request(place, method="single-stage", options={"batch_size": 16}, seeds=seeds)
    return toy_run(request, settings_at(home))


def unlucky(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training with one seed diverge."""
    real: Callable[..., list[dict[str, float]]] = training.train_stage

    def train(model: object, stage: object, context: object, scratch: Path) -> list[dict[str, float]]:
        if stage.training.seed == seed:  # type: ignore[attr-defined]
            raise FailedTrainingError(f"Stage '{stage.name}' diverged.", LOWEST_RATE)  # type: ignore[attr-defined]
        return real(model, stage, context, scratch)

    monkeypatch.setattr(training, "train_stage", train)


def test_seeds_give_a_student_each_and_every_other_row_once(place: Path, tmp_path: Path) -> None:
    results, notes = go(place, tmp_path, 2, 0)
    students = [row for row in results.records if row.experiment]
    assert [row.role for row in results.records] == ["teacher", "assistant", "student", "student"]
    assert [row.experiment.seed for row in students if row.experiment] == [0, 2]  # ascending, however typed
    assert students[0].scores.tasks != students[1].scores.tasks
    # The second finds the centred teacher: a stage that knows of no seed.
    second = notes[notes.index("single-stage/toy-half, seed 2") :]
    assert any(note.startswith("stage teacher-centred: from the store") for note in second)
    again, stored = go(place, tmp_path, 0, 2)
    assert again == results
    for said in (notes, stored):  # the seeds have their pairs in common
        assert len([note for note in said if note.startswith("pairs: ")]) == 1


def test_a_seed_that_diverges_stops_no_other_and_is_not_stored(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky(1, monkeypatch)
    results, _ = go(place, tmp_path, 0, 1, 2)
    assert [row.experiment.seed for row in results.records if row.experiment] == [0, 2]
    (failure,) = results.failures
    assert (failure.row, failure.seed) == ("single-stage/toy-half", 1)
    assert "diverged" in failure.message
    with pytest.raises(XlbenchError, match="diverged") as caught:  # alone, it is the run's own error
        go(place, tmp_path, 1)
    assert caught.value.remedy == LOWEST_RATE
    monkeypatch.undo()
    assert go(place, tmp_path, 0, 1, 2)[0].failures == ()


def test_the_table_has_a_line_per_seed_and_leaves_bad_ones_out_of_the_mean() -> None:
    runs = [student(0.0, seed=0), student(3.0, seed=1), collapsed(student(-20.0, seed=2))]
    lines = seed_table(runs, [Failure(row="x", seed=3, message="diverged")]).splitlines()
    sts = runs[0].scores.families["sts"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:7]]
    assert [row[:2] for row in cells[2:]] == [
        ["0", f"{sts:.1f}"],
        ["1", f"{sts + 3:.1f}"],
        ["2", f"{sts - 20:.1f}†"],
        ["3", "diverged"],
        # Of a and a + 3 the mean is a + 1.5, and the sample deviation sqrt(2 * 1.5**2 / (2 - 1)) = 2.12.
        ["mean of 2", f"{sts + 1.5:.1f} ± {stdev((0, 3)):.1f}"],
    ]
    assert f"{stdev((0, 3)):.1f}" == "2.1"
    assert "left out of the mean" in lines[-1]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("0,x", ["'0,x' is not a list of seeds", "Separate them by commas: --seeds 0,1,2"]),
        ("1,1", ["a seed is there twice"]),
        ("-1", ["'-1' is not a list of seeds: whole numbers, 0 or more"]),
        ("", ["'' is not a list of seeds"]),
    ],
)
def test_invalid_seeds_are_refused(typed: str, words: list[str], tmp_path: Path) -> None:
    done = typed_run("--seeds", typed, home=tmp_path)
    assert done.returncode == 2
    assert all(word in done.stderr for word in words), done.stderr
    assert done.stderr.strip().count("\n") <= 1


def test_one_directory_takes_one_student(tmp_path: Path) -> None:
    done = typed_run("--seeds", "0,1", "--save", str(tmp_path / "student"), home=tmp_path)
    assert done.returncode == 2
    assert "--save takes one student" in done.stderr


def test_the_command_prints_the_seeds_and_their_mean(place: Path, tmp_path: Path) -> None:
    words = [
        "--method", "single-stage", "--assistant", str(place / "assistant"), "--corpus", f"tsv:{place / 'corpus'}",
        "--student", "B=8,K=2,R=2", "--suite", "toy", "--budget", "toy", "--no-speed", "--seeds", "0,1",
    ]  # fmt: skip
    before = ["-q", "--home", str(tmp_path), "--device", "cpu", "--plugin", str(PLUGIN), "run"]
    done = CliRunner().invoke(app, [*before, *words], catch_exceptions=False)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| Seed"))
    seeds = [line.split("|")[1].strip() for line in lines[start + 2 : start + 4]]
    assert seeds == ["0", "1"]
    again = CliRunner().invoke(app, [*before, *words, "--json"], catch_exceptions=False)
    assert [row["role"] for row in json.loads(again.stdout)] == ["teacher", "assistant", "student", "student"]


def typed_run(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xlbench", "-q", "--plugin", str(PLUGIN), "run", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "XLBENCH_HOME": str(home)},
        check=False,
    )


def test_seeds_that_gave_one_encoder_are_one_run() -> None:
    # The example's student is one encoder, whatever the seed in its record's experiment.
    runs = [student(0.0), student(0.0, seed=1), student(0.0, seed=4)]
    (row,) = rows_of(runs)
    assert (len(valid_runs(row)), family_deviation(row, "sts"), repeated_seeds(row)) == (1, None, (1, 4))
    table = board_frame(rows_of(runs))
    assert table[["seeds", "seeds_asked"]].iloc[0].tolist() == [1, 3]
    (note,) = run_warnings(figures(rows_of(runs)))
    assert note.endswith("seeds 1, 4 gave the same encoder again, since nothing in it is drawn at random; one run.")
    text = seed_table(runs)
    assert "mean of 1 " in text
    assert "count once" in text


def test_a_method_that_draws_nothing_gives_one_run(place: Path, tmp_path: Path) -> None:
    request = toy_request(place, method="full-size", options={"batch_size": 16}, seeds=(0, 1))
    results, notes = toy_run(request, settings_at(tmp_path))
    assert "full-size, seed 1: the encoder of seed 0 again, nothing in it is random" in notes
    markdown = results.markdown()
    assert "full-size: seed 1 gave the same encoder again" in markdown
    assert "(sd " not in markdown
