"""A plugin as one file: an engine that runs tasks on a list of machines, one at a time on each, through ssh."""

from __future__ import annotations

import shlex
import subprocess
import time
from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import Engine, EngineOptions, drive, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xlbench.api import Task


class HostOptions(EngineOptions):
    """Those of a list of machines."""

    hosts: tuple[str, ...] = Field(default=("localhost",), min_length=1, description="Machines that share the store.")
    through: str = Field(default="ssh {host}", description="What runs a command on one of them.")


def run_on_hosts(tasks: Sequence[Task], options: HostOptions, tell: Callable[[Task, int], None]) -> None:
    """Start each task on a machine that is free."""
    running: dict[str, tuple[str, subprocess.Popen[bytes]]] = {}

    def start(task: Task) -> None:
        busy = {host for host, _ in running.values()}
        host = next(host for host in options.hosts if host not in busy)
        words = shlex.split(options.through.format(host=host))
        running[task.id] = host, subprocess.Popen([*words, *map(shlex.quote, task.command)])

    def ended() -> dict[str, int]:
        time.sleep(0.2)
        statuses = {name: child.poll() for name, (_, child) in running.items()}
        found = {name: status for name, status in statuses.items() if status is not None}
        for name in found:
            del running[name]
        return found

    def stop() -> None:
        for _, child in running.values():
            child.terminate()
            child.wait()

    drive(tasks, start, ended, stop, tell, most=len(options.hosts))


@hookimpl
def xlbench_engines() -> list[Engine[HostOptions]]:
    """Register ``--engine hosts``."""
    return [Engine(name="hosts", summary="a list of machines, through ssh", run=run_on_hosts, options=HostOptions)]
