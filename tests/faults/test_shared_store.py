"""Several processes on one store: each stage is trained once, and nobody waits for the dead."""

from __future__ import annotations

import os
import re
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from trials import results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trials import Child, Place

pytestmark = pytest.mark.faults
# All centre the teacher first; in the long form all align the assistant as well.
SHORT = (("single-stage", "0"), ("single-stage", "1"), ("single-stage", "0"), ("single-stage", "1"))
LONG = (("multistage", "0"), ("no-contrastive", "0"), ("multistage", "0"), ("no-recurrent", "0"))


def stopped_in_training(place: Place, directory: Path) -> Child:
    """Start a run and stop it while it trains its first stage."""
    run = place.start(directory, place.words(directory / "home", quiet=False))
    run.until(": running")
    os.kill(run.pid, signal.SIGSTOP)
    return run


def test_four_processes_train_each_stage_once(
    place: Place, long: bool, report: Callable[[str, object, str], None]
) -> None:
    directory = place.directory()
    runs = [
        place.start(
            directory, place.words(directory / "home", "--seeds", seed, method=method, quiet=False), f"run{number}"
        )
        for number, (method, seed) in enumerate(LONG if long else SHORT)
    ]
    for run in runs:
        assert run.wait().code == 0, run.said
    trained = [stage for run in runs for stage in re.findall(r"^stage (.*): running$", run.said, re.MULTILINE)]
    assert len(trained) == len(list((directory / "home" / "stages").iterdir())), trained
    found = results(directory / "home")
    assert {name: found.get(name) for name in place.whole} == place.whole
    report("Four runs on one store, overlapping plans", 1, f"{len(trained)} stages, each trained once; equal weights")


def test_who_waits_for_a_run_that_is_killed_goes_on(place: Place, report: Callable[[str, object, str], None]) -> None:
    directory = place.directory()
    holder = stopped_in_training(place, directory)
    waiter = place.start(directory, place.words(directory / "home", quiet=False), "waiter")
    waiter.until("xlbench: waiting for ")
    assert f"process {holder.pid}" in waiter.said
    holder.kill()
    assert waiter.wait().code == 0, waiter.said
    assert results(directory / "home") == place.whole
    report("The process that holds a lock is killed", 1, "who waited says for whom, then finishes its work")


def test_pruning_takes_nothing_from_a_run(place: Place, report: Callable[[str, object, str], None]) -> None:
    directory = place.directory()
    shutil.copytree(place.home, directory / "home")
    shutil.rmtree(directory / "home" / "records")
    for stage in list((directory / "home" / "stages").iterdir())[1:]:
        shutil.rmtree(stage)
    run = stopped_in_training(place, directory)
    prune = ["--home", str(directory / "home"), "store", "prune", "--yes"]
    pruned = place.start(directory, prune, "prune").wait()
    assert pruned.code == 0, pruned.said
    os.kill(run.pid, signal.SIGCONT)
    assert run.wait().code == 0, run.said
    left = results(directory / "home")
    assert {name: left[name] for name in left if name.startswith("records")} == {
        name: place.whole[name] for name in place.whole if name.startswith("records")
    }
    report("`store prune --yes` during a run", 1, "the run ends with equal records")
