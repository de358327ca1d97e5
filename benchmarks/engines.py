"""Engines: the shipped ablation at budget ``smoke`` here, on Ray with a node killed, on submitit with a job requeued.

The three must give the same records, but for times, and train every stage once:

    python -m benchmarks.engines --home DIRECTORY [--runs 3]

A node of Ray is killed, and a job is told that its time is over, as soon as a stage of theirs has a checkpoint. All the
time the store is watched: every stage must be published once, and the interrupted one finished.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import tomllib
from collections import defaultdict
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import psutil
import tomli_w

import xlbench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHIPPED = Path(__file__).parents[1] / "leaderboards" / "ablation.toml"
KEPT = ("method", "student", "bits", "options", "name")
TIMES = {"provenance", "seconds", "peak_memory", "speed", "reused", "encode_seconds"}  # what differs between equal runs


def main() -> None:
    """Run the board three times and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="An empty directory.")
    parser.add_argument("--runs", type=int, help="Only the first runs of the board.")
    asked = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    found = {}
    for engine, run in (("local", _local), ("ray", _on_ray), ("slurm", _on_submitit)):
        place = asked.home.absolute() / engine
        began = time.monotonic()
        board = _write_board(place, asked.runs)
        with _watched(place / "home") as published:
            run(board, place / "home")
        found[engine] = _records(board, place / "home")
        times = {len(it) for it in published.values()}
        assert times == {1}, f"published more than once: {published}"
        print(
            f"{engine}: {len(found[engine])} records, {len(published)} stages, each published once, "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )
    same = all(it == found["local"] for it in found.values())
    print("records are the same" if same else "RECORDS DIFFER")
    sys.exit(0 if same else 1)


def _write_board(place: Path, runs: int | None) -> Path:
    declared = tomllib.loads(SHIPPED.read_text("utf-8"))
    rows = [{key: run[key] for key in KEPT if key in run} for run in declared["run"]]
    place.mkdir(parents=True, exist_ok=True)
    path = place / "ablation.toml"
    board = {"title": declared["title"], "suite": "starter", "budget": "smoke", "run": rows[:runs]}
    path.write_text(tomli_w.dumps(board), "utf-8")
    return path


def _run(board: Path, home: Path, engine: str, options: dict[str, Any]) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        print(f"  {line}", flush=True)

    opened = xlbench.leaderboard(board, home=home, offline=True, device="cpu", threads=1)
    opened.run(engine=engine, engine_options=options, say=say)
    if engine != "local":  # in the end everything came from the store
        assert not [line for line in said if line.endswith(": running")], said


def _local(board: Path, home: Path) -> None:
    _run(board, home, "local", {})


def _on_ray(board: Path, home: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    nodes = cluster.list_all_nodes()  # type: ignore[no-untyped-call]
    raylets = {node.all_processes["raylet"][0].process.pid for node in nodes}

    def lose(task: psutil.Process) -> None:
        raylet = next(it for it in task.parents() if it.pid in raylets)
        for process in [raylet, *raylet.children(recursive=True)]:
            process.kill()

    watcher = _at_checkpoint(home, lose)
    try:
        _run(board, home, "ray", {"address": cluster.address})
    finally:
        watcher.join()
        cluster.shutdown()  # type: ignore[no-untyped-call]
    _check_interrupted(home)


def _on_submitit(board: Path, home: Path) -> None:
    def time_out(task: psutil.Process) -> None:
        job = next(it for it in task.parents() if "submitit.core._submit" in it.cmdline())
        job.send_signal(signal.SIGUSR2)  # what its controller sends at the time limit

    watcher = _at_checkpoint(home, time_out)
    _run(board, home, "slurm", {"executor": "local", "cpus": 1})
    watcher.join()
    _check_interrupted(home)


def _at_checkpoint(home: Path, act: Callable[[psutil.Process], None]) -> Thread:
    """Do something to the process of the first stage that has a checkpoint."""

    def watch() -> None:
        while True:
            for mark in home.glob("partial/stages-*/scratch/training/checkpoint-*/complete.json"):
                key = mark.relative_to(home).parts[1].removeprefix("stages-")
                for process in psutil.process_iter(["cmdline"]):
                    words = process.info["cmdline"] or []
                    if f"stages/{key}" in words and "task" in words:
                        print(f"  interrupting stage {key}, which has {mark.parent.name}", flush=True)
                        (home / "interrupted").write_text(key, "utf-8")
                        act(process)
                        return
            time.sleep(0.02)

    thread = Thread(target=watch, daemon=True)
    thread.start()
    return thread


@contextmanager
def _watched(home: Path) -> Iterator[dict[str, set[float]]]:
    """Yield the moments at which each stage was published, by its key; filled until the context ends."""
    moments: dict[str, set[float]] = defaultdict(set)
    over = Event()

    def look() -> None:
        for manifest in home.glob("stages/*/entry.json"):
            with suppress(FileNotFoundError):
                moments[manifest.parent.name].add(json.loads(manifest.read_text("utf-8"))["made"])

    def watch() -> None:
        while not over.wait(0.5):  # no stage of the board takes less
            look()

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield moments
    finally:
        over.set()
        thread.join()
        look()


def _check_interrupted(home: Path) -> None:
    """Check that a stage was interrupted, was finished all the same, and left nothing behind."""
    key = (home / "interrupted").read_text("utf-8")
    assert (home / "stages" / key / "entry.json").is_file()
    assert not list(home.glob("partial/stages-*"))


def _records(board: Path, home: Path) -> list[object]:
    records = xlbench.leaderboard(board, home=home, offline=True).records
    return [_timeless(json.loads(record.model_dump_json())) for record in records]


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: _timeless(it) for key, it in value.items() if key not in TIMES}
    return [_timeless(it) for it in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
