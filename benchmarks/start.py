"""Start: the seconds of ``xlbench --help`` and of a run that is in the store already."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, cast

from benchmarks.measure import clock, in_turns, spread
from benchmarks.results import Part, Table, at_most

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from xlbench.fingerprint import Json

RUN = ("run", "--method", "single-stage", "--budget", "smoke", "--no-speed")


def measure_start(store: Path, *, repetitions: int) -> Part:
    """Time both commands in processes of their own.

    Args:
        store: A store; the run is made in it first if need be.
        repetitions: How often each is timed.
    """
    _run(store, RUN)
    contenders = {
        "xlbench --help": lambda: _run(store, ("--help",)),
        "xlbench run, all from the store": lambda: _run(store, RUN),
    }
    found = {name: spread(each) for name, each in in_turns(contenders, repetitions).items()}
    limits = dict(zip(contenders, (0.4, 5.0), strict=True))
    return Part(
        title="Start",
        how=f"`python -m xlbench` in a new process, {repetitions} times each; files are in the system's cache.",
        tables=(
            Table(
                title="Seconds",
                header=("Command", "Seconds"),
                rows=tuple((name, each.show(2)) for name, each in found.items()),
            ),
        ),
        lines=tuple(
            at_most(f"{name}: under {limits[name]:g} s", each.median, limits[name], f"{each.show(2)} s")
            for name, each in found.items()
        ),
        data={"seconds": cast("Json", {name: list(each.values) for name, each in found.items()})},
    )


def _run(store: Path, arguments: Sequence[str]) -> float:
    """Run xlbench and return the seconds that it took."""
    command = [sys.executable, "-m", "xlbench", "--home", str(store), *arguments]
    with clock() as taken:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return taken.seconds
