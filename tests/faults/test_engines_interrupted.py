"""A stage that is interrupted on an engine goes on from its checkpoint: records as here, nothing trained twice."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import psutil
import pytest
from trials import timeless

from xlbench.plugins.registry import load_registry
from xlbench.runs.prefill import choose_engine
from xlbench.runs.request import make_request
from xlbench.runs.results import run_request
from xlbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from xlbench.runs.results import Results

pytestmark = pytest.mark.faults
PLUGIN = Path(__file__).parents[1] / "toy_plugin.py"
remove = shutil.rmtree
STUDENT = {"name": "toy-half", "bottleneck": 8, "layers": 2, "repeats": 2}


def go(toys: Path, home: Path, engine: str | None = None, **options: object) -> tuple[Results, list[str]]:
    request = make_request(
        {
            "method": "single-stage",
            "student": STUDENT,
            "assistant": str(toys / "assistant"),
            "corpus": (f"tsv:{toys / 'corpus'}",),
            "suite": "toy",
            "budget": "toy",
            "student_pairs": 12_800,
            "precision": "float32",
            "options": {"batch_size": 16},
        }
    )
    registry = load_registry((PLUGIN,))
    settings = Settings(home=home, quiet=True, device="cpu", speed_rounds=0, threads=1)
    said: list[str] = []
    chosen = choose_engine(engine, None, options, registry)
    return run_request(request, registry, settings, said.append, engine=chosen), said


def records_of(results: Results) -> list[object]:
    return [(it.key, timeless(it.record.model_dump(mode="json"))) for it in results.stored]


def at_checkpoint(home: Path, act: Callable[[psutil.Process], None], did: list[str]) -> Thread:
    """Do something to the process of the first stage that has a checkpoint."""

    def watch() -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            for mark in home.glob("partial/stages-*/scratch/training/checkpoint-*/complete.json"):
                stage = mark.relative_to(home).parts[1].replace("-", "/", 1)
                for process in psutil.process_iter(["cmdline"]):
                    if {"task", stage} <= set(process.info["cmdline"] or ()):
                        did.append(stage)
                        act(process)
                        return
            time.sleep(0.01)

    thread = Thread(target=watch)
    thread.start()
    return thread


def trained(said: str, name: str) -> tuple[int, int]:
    """How often a stage was begun, and finished, by the logs of tasks."""
    return said.count(f"stage {name}: running"), said.count(f"stage {name}: made")


@pytest.mark.parametrize("engine", ["ray", "slurm"])
def test_an_interrupted_stage_goes_on_and_leaves_the_same_records(
    engine: str, toys: Path, tmp_path: Path, long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not long:
        pytest.skip("three minutes: XLBENCH_FAULTS=long")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setattr("shutil.rmtree", _keeping_logs)
    here, _ = go(toys, tmp_path / "here")
    home = tmp_path / "there"
    did: list[str] = []
    if engine == "slurm":

        def time_out(task: psutil.Process) -> None:
            job = next(it for it in task.parents() if "submitit.core._submit" in it.cmdline())
            job.send_signal(signal.SIGUSR2)  # what its controller sends at the time limit

        watcher = at_checkpoint(home, time_out, did)
        there, said = go(toys, home, "slurm", executor="local", cpus=1)
    else:
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        raylets = {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}

        def lose(task: psutil.Process) -> None:
            raylet = next(it for it in task.parents() if it.pid in raylets)
            for process in [raylet, *raylet.children(recursive=True)]:
                process.kill()

        watcher = at_checkpoint(home, lose, did)
        try:
            there, said = go(toys, home, "ray", address=cluster.address)
        finally:
            cluster.shutdown()
    watcher.join()
    assert len(did) == 1
    assert records_of(there) == records_of(here)
    assert "all 3 records come from the store" in said
    logs = "".join(path.read_text("utf-8") for path in home.glob("tasks/*/stages-*.log"))
    assert trained(logs, "teacher-centred") == (1, 1)
    assert trained(logs, "student") == (2, 1)
    assert "going on from" not in logs  # its checkpoint was whole
    assert {path.name for path in (home / "stages").iterdir()} == {
        path.name for path in (tmp_path / "here" / "stages").iterdir()
    }


def _keeping_logs(path: str | Path, *more: object, **named: object) -> None:
    """Delete what is not a run's folder of tasks, whose logs are counted."""
    if Path(path).parent.name != "tasks":
        remove(path, *more, **named)  # type: ignore[arg-type]
