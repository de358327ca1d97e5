"""Engines: the graph of what is missing, tasks as workers run them, and records that no engine changes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from toy_log import RAN, SAID
from toy_runs import PLUGIN, STUDENT, make_place, settings_at, toy_request

import xlbench
from xlbench import XlbenchError
from xlbench.boards.board import read_board
from xlbench.boards.run import look_up_board, missing_of
from xlbench.cli.app import app
from xlbench.distill import training
from xlbench.distill.health import FailedTrainingError
from xlbench.engines.engine import Engine, Resources, Task
from xlbench.plugins.registry import load_registry
from xlbench.runs import prefill
from xlbench.runs.graph import graph_of, stored_in, tasks_of
from xlbench.runs.job import make_jobs
from xlbench.runs.prefill import choose_engine
from xlbench.runs.results import run_request
from xlbench.runs.worker import run_task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xlbench.plugins.registry import Registry
    from xlbench.runs.graph import Graph
    from xlbench.runs.results import Results

ENGINE = Path(__file__).with_name("toy_engine.py")
HOSTS = Path(__file__).parents[1] / "docs" / "examples" / "own_engine.py"
# What differs between equal runs.
TIMES = {"provenance", "seconds", "peak_memory", "speed", "reused", "encode_seconds"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("engines"))


@pytest.fixture
def registry() -> Registry:
    return load_registry((PLUGIN, ENGINE, HOSTS))


@pytest.fixture(autouse=True)
def _forget() -> None:
    RAN.clear()
    SAID.clear()


def drawn(graph: Graph) -> dict[str, list[str]]:
    """What each task comes after, by names."""
    names = {task: unit.name for task, unit in graph.units.items()}
    assert len(set(names.values())) == len(names)
    return {names[task]: [names[it] for it in after] for task, after in graph.after.items()}


def board_at(place: Path, path: Path) -> Path:
    text = f"""
title = "Toy"
suite = "toy"
budget = "toy"
precision = "float32"
assistant = "{place / "assistant"}"
corpus = ["tsv:{place / "corpus"}"]
seeds = [0, 1]

[[run]]
method = "single-stage"
student = {{ name = "toy-half", bottleneck = 8, layers = 2, repeats = 2 }}
options = {{ batch_size = 16 }}

[[run]]
method = "single-stage"
student = {{ name = "toy-half", bottleneck = 8, layers = 2, repeats = 2 }}
bits = 8
options = {{ batch_size = 16 }}
seeds = [0]

[[export]]
run = "toy-half-8bit"
to = "stock"

[[encoder]]
model = "{place / "assistant"}"
name = "as it is"
"""
    path.write_text(text, "utf-8")
    return path


def timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: timeless(it) for key, it in value.items() if key not in TIMES}
    return [timeless(it) for it in value] if isinstance(value, list) else value


def records_of(results: Results) -> list[object]:
    return [(it.key, timeless(json.loads(it.record.model_dump_json()))) for it in results.stored]


def go(place: Path, home: Path, registry: Registry, engine: str | None, **changes: object) -> Results:
    given = {"method": "single-stage", "options": {"batch_size": 16}, **changes}
    chosen = choose_engine(engine, None, {}, registry)
    return run_request(toy_request(place, **given), registry, settings_at(home), engine=chosen)


def test_the_graph_of_a_board_has_shared_stages_once_and_what_each_task_needs(
    place: Path, tmp_path: Path, registry: Registry
) -> None:
    settings = settings_at(tmp_path / "home")
    found = look_up_board(read_board(board_at(place, tmp_path / "toy.toml")), registry, settings)
    centred, half = "stage teacher-centred of single-stage/toy-half, seed 0", "single-stage/toy-half"
    # The 8-bit student of seed 0 is quantised from the one of 32 bits: the same stage.
    trained = f"stage student of {half}, seed 0"
    quantised = f"stage quantised of {half}-8bit, seed 0"
    assert drawn(missing_of(found, settings)) == {
        centred: [],
        "scoring assistant, mean-centred": [centred],
        "scoring assistant": [],
        trained: [centred],
        f"scoring {half}, seed 0": [trained],
        f"stage student of {half}, seed 1": [centred],
        f"scoring {half}, seed 1": [f"stage student of {half}, seed 1"],
        quantised: [trained],
        f"scoring {half}-8bit, seed 0": [quantised],
        # An export needs the records of its run: all rows, and the student's files.
        "scoring toy-half-8bit, stock, seed 0": [
            "scoring assistant, mean-centred",
            "scoring assistant",
            f"scoring {half}-8bit, seed 0",
            quantised,
        ],
        "scoring assistant as it is": [],
    }


def test_records_are_those_of_a_run_here_and_nothing_is_made_twice(
    place: Path, tmp_path: Path, registry: Registry
) -> None:
    here = go(place, tmp_path / "here", registry, None, seeds=(0, 1))
    there = go(place, tmp_path / "there", registry, "toy", seeds=(0, 1))
    assert records_of(there) == records_of(here)
    assert len(RAN) == len(set(RAN)) == 7  # three stages; teacher, assistant and two students scored
    for name in ("teacher-centred", "student"):
        assert sum(line.startswith(f"stage {name}: made") for line in SAID) == (1 if "teacher" in name else 2)
    assert not list((tmp_path / "there" / "tasks").iterdir())
    # Of a student whose record is gone only that is made again, and of a run that is whole nothing.
    shutil.rmtree(tmp_path / "there" / "records" / there.stored[-1].key)
    RAN.clear()
    assert records_of(go(place, tmp_path / "there", registry, "toy", seeds=(0, 1))) == records_of(here)
    assert RAN == ["scoring single-stage/toy-half, seed 1"]
    go(place, tmp_path / "there", registry, "toy", seeds=(0, 1))
    assert len(RAN) == 1


def test_a_stage_whose_inputs_are_gone_waits_for_them(place: Path, tmp_path: Path, registry: Registry) -> None:
    settings = settings_at(tmp_path / "home")
    go(place, tmp_path / "home", registry, None)
    request = toy_request(place, method="single-stage", options={"batch_size": 16})
    (job,) = make_jobs(request, registry, settings)
    student = job.rows[-1]
    shutil.rmtree(tmp_path / "home" / "records" / student.key)
    shutil.rmtree(tmp_path / "home" / "stages" / job.keys["teacher-centred"])
    centred = "stage teacher-centred of single-stage/toy-half, seed 0"
    # The trained student is there; its record says what its teacher cost, as in a run here.
    assert drawn(graph_of([job], stored_in(settings))) == {
        centred: [],
        "scoring single-stage/toy-half, seed 0": [centred],
    }


def test_a_board_with_an_export_and_an_encoder_runs_on_an_engine(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--quiet", "--device", "cpu", "--plugin", str(PLUGIN), "--plugin", str(ENGINE), "leaderboard", "run"]
    rows = {}
    for name in ("here", "there"):
        board = board_at(place, tmp_path / f"{name}.toml")
        more = ["--engine", "toy", "-e", "cpus=1"] if name == "there" else []
        done = CliRunner().invoke(app, ["--home", str(tmp_path / name), *words, str(board), "--no-speed", *more])
        assert done.exit_code == 0, done.output
        found = xlbench.leaderboard(board, home=tmp_path / name).records
        rows[name] = [timeless(json.loads(record.model_dump_json())) for record in found]
    assert rows["here"] == rows["there"]
    assert "scoring toy-half-8bit, stock, seed 0" in RAN
    assert len(RAN) == 11


def unlucky(seed: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let training with one seed diverge; returns the seeds that were tried."""
    real: Callable[..., list[dict[str, float]]] = training.train_stage
    tried = []

    def train(model: object, stage: object, context: object, scratch: Path) -> list[dict[str, float]]:
        tried.append(stage.training.seed)  # type: ignore[attr-defined]
        if tried[-1] == seed:
            raise FailedTrainingError("Stage 'student' diverged.", "Lower the learning rate.")
        return real(model, stage, context, scratch)

    monkeypatch.setattr(training, "train_stage", train)
    return tried


def test_training_that_diverges_is_a_failure_of_its_seed_and_is_tried_once(
    place: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = unlucky(1, monkeypatch)
    results = go(place, tmp_path, registry, "toy", seeds=(0, 1, 2))
    assert sorted(tried) == [0, 1, 2]
    assert [(it.seed, it.message) for it in results.failures] == [(1, "Stage 'student' diverged.")]
    assert [it.record.experiment.seed for it in results.students] == [0, 2]  # type: ignore[union-attr]
    assert "scoring single-stage/toy-half, seed 1" not in RAN
    with pytest.raises(FailedTrainingError, match="diverged"):
        go(place, tmp_path, registry, "toy", seeds=(1,))


def test_another_failure_names_the_task_and_its_log_after_the_others_were_run(
    place: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise XlbenchError("The disk is full.", "Free some space.")

    monkeypatch.setattr(training, "train_stage", fail)
    with pytest.raises(XlbenchError) as raised:
        go(place, tmp_path, registry, "toy", seeds=(0, 1))
    assert raised.value.problem == (
        "Task 'stage student of single-stage/toy-half, seed 0' on toy: The disk is full. 1 more failed."
    )
    assert raised.value.remedy.startswith("Free some space. It wrote no log; those of the engine: '")
    assert {"scoring assistant", "scoring assistant, mean-centred"} <= set(RAN)


def test_an_engine_that_leaves_no_result_is_not_believed(
    place: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(tasks: Sequence[Task], _: object, tell: Callable[[Task, int], None]) -> None:
        for task in tasks:
            tell(task, 0)

    monkeypatch.setitem(registry.engines, "toy", replace(registry.engines["toy"], run=pretend))
    said = r"The engine 'toy' says that 'stage teacher-centred .*' is done, and its result is not in the store"
    with pytest.raises(XlbenchError, match=said):
        go(place, tmp_path / "home", registry, "toy")
    assert not list((tmp_path / "home").glob("stages/*"))  # nor made here without a word


def test_an_interrupt_leaves_what_is_done(place: Path, tmp_path: Path, registry: Registry) -> None:
    request = toy_request(place, method="single-stage", options={"batch_size": 16})
    chosen = choose_engine("toy", None, {"last": "stage student"}, registry)
    with pytest.raises(KeyboardInterrupt):
        run_request(request, registry, settings_at(tmp_path), engine=chosen)
    first = list(RAN)
    go(place, tmp_path, registry, "toy")
    assert not set(first) & set(RAN[len(first) :])


def sent(place: Path, home: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, str]]:
    """The work file of a run, and the ids of its tasks by name."""
    found: dict[str, str] = {}
    files = []

    def keep(tasks: list[object], *_: object) -> None:
        for task in tasks:
            found[task.name] = task.id  # type: ignore[attr-defined]
            files.append(Path(task.command[-2]))  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    chosen = choose_engine("toy", None, {}, registry)
    assert chosen is not None
    chosen = chosen._replace(engine=Engine("toy", "s", keep, chosen.engine.options))
    request = toy_request(place, method="single-stage", options={"batch_size": 16})
    with pytest.raises(KeyboardInterrupt):
        run_request(request, registry, settings_at(home), engine=chosen)
    return files[0], found


def test_a_worker_with_other_data_refuses_and_says_so(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place(tmp_path)
    file, ids = sent(place, tmp_path / "home", registry, monkeypatch)
    corpus = next((place / "corpus").glob("*.tsv"))
    corpus.write_text(corpus.read_text("utf-8") + "One more.\tNoch einer.\n", "utf-8")
    stage = ids["stage student of single-stage/toy-half, seed 0"]
    with pytest.raises(XlbenchError, match=rf"is stages/[0-9a-f]+ on this machine, and was sent as {stage}\.") as error:
        run_task(file, stage, None, print)
    assert error.value.remedy.startswith("Give all machines the same packages, plugins and data")
    assert not (tmp_path / "home" / "stages").exists()
    left = json.loads(file.with_name(f"{stage.replace('/', '-')}.json").read_text("utf-8"))
    assert left == {"problem": error.value.problem, "remedy": error.value.remedy}


def test_what_is_sent_is_names_and_keys_as_plain_data(
    place: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, ids = sent(place, tmp_path, registry, monkeypatch)
    work = json.loads(file.read_text("utf-8"))
    assert set(work["units"]) == set(ids.values())
    assert work["plugins"] == [str(it) for it in (PLUGIN, ENGINE, HOSTS)]
    assert work["requests"][0]["student"]["name"] == STUDENT["name"]
    assert work["requests"][0]["precision"] == "float32"
    assert work["directory"] == str(Path.cwd())
    assert file.parent.parent == tmp_path / "tasks"
    file.write_text(file.read_text("utf-8")[:100], "utf-8")
    with pytest.raises(XlbenchError, match=r"^The tasks in '.*work\.json' cannot be read"):
        run_task(file, "stages/0", None, print)


def test_scorings_may_get_more_than_stages(place: Path, tmp_path: Path, registry: Registry) -> None:
    config = tmp_path / "slurm.toml"
    config.write_text('cpus = 4\nhours = 2\ngpus = 1\npartition = "gpu"\n[scoring]\ncpus = 32\ngpus = 0\n', "utf-8")
    chosen = choose_engine("slurm", config, {"hours": "3"}, registry)
    assert chosen is not None
    jobs = make_jobs(toy_request(place), registry, settings_at(tmp_path))
    tasks = tasks_of(graph_of(jobs, stored_in(settings_at(tmp_path))), tmp_path / "work.json", chosen.options)
    assert {task.resources for task in tasks if task.kind == "stages"} == {Resources(cpus=4, gpus=1, hours=3)}
    assert {task.resources for task in tasks if task.kind == "records"} == {Resources(cpus=32, gpus=0, hours=3)}


@pytest.mark.parametrize(
    ("name", "config", "given", "said"),
    [
        ("slrum", "", {}, "Unknown engine 'slrum'.\nDid you mean slurm?"),
        ("local", "", {"cpus": "4"}, "The engine 'local' has no options: the run itself does all.\nLeave them out."),
        (None, "", {"cpus": "4"}, "The engine 'local' has no options: the run itself does all.\nLeave them out."),
        ("", "", {}, "Unknown engine ''."),  # and not here, for a variable of a script that is not set
        ("slurm", "partion = 'x'", {}, "Unknown option of engine slurm: 'partion'.\nDid you mean partition?"),
        ("slurm", "hours = 0", {}, "Option of engine slurm: 'hours' cannot be 0"),
        (
            "slurm",
            "[scoring]\ncpu = 3",
            {},
            "Unknown option of engine slurm: 'scoring.cpu'.\nDid you mean cpus or gpus?",
        ),
        ("ray", "address =", {}, "is not valid TOML"),
        ("ray", "", {"retries": "few"}, "Option of engine ray: 'retries' cannot be 'few'"),
    ],
)
def test_a_bad_engine_or_option_is_refused(
    name: str | None, config: str, given: dict[str, str], said: str, tmp_path: Path, registry: Registry
) -> None:
    file = tmp_path / "engine.toml"
    file.write_text(config, "utf-8")
    with pytest.raises(XlbenchError) as raised:
        choose_engine(name, file if config else None, given, registry)
    assert said in str(raised.value)


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_named_before_anything_is_done(
    name: str, package: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefill, "find_spec", lambda asked: None if asked == package else object())
    with pytest.raises(XlbenchError) as raised:
        choose_engine(name, None, {}, registry)
    assert str(raised.value) == (
        f"The engine '{name}' needs {package}, which is not installed.\nRun `pip install 'xlbench[{name}]'`."
    )


def test_engines_are_listed_with_their_options() -> None:
    done = CliRunner().invoke(app, ["list", "engines", "--json"])
    assert list(json.loads(done.output)["engines"]) == ["local", "ray", "slurm"]
    shown = CliRunner().invoke(app, ["show", "engine", "ray", "--json"])
    assert {"cpus", "gpus", "memory_gb", "address", "retries"} <= {
        it["name"] for it in json.loads(shown.output)["options"]
    }
    assert json.loads(CliRunner().invoke(app, ["show", "engine", "local", "--json"]).output)["options"] == []


def test_the_engine_of_the_page_runs_tasks_in_processes_of_their_own(
    place: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    here = go(place, tmp_path, registry, None)
    shutil.rmtree(tmp_path / "records" / here.stored[-1].key)
    config = tmp_path / "hosts.toml"
    config.write_text('hosts = ["one", "two"]\nthrough = "env HOST={host}"\n', "utf-8")
    said: list[str] = []
    request = toy_request(place, method="single-stage", options={"batch_size": 16})
    chosen = choose_engine("hosts", config, {}, registry)
    results = run_request(request, registry, settings_at(tmp_path), said.append, engine=chosen)
    assert records_of(results) == records_of(here)
    assert said[:2] == ["engine hosts: 1 scoring", "scoring single-stage/toy-half, seed 0: done (1 of 1)"]
    assert "all 3 records come from the store" in said
