"""The engine ``ray``: each task is a task of Ray's core, which runs its command in a process of its own.

Ray's scheduler places tasks by their resources, and begins a task again, elsewhere, whose node was lost: the stage then
goes on from the last checkpoint that the store has.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

from pydantic import Field

from xlbench.engines.command import end_command, start_command
from xlbench.engines.engine import LOST, EngineOptions, Resources, Task, drive
from xlbench.errors import XlbenchError, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xlbench.engines.engine import Tell

GB = 2**30
ANSWER = 10.0  # seconds for a cluster to answer


class RayOptions(EngineOptions):
    """Options of Ray."""

    cpus: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Cores of a task, and its threads; None: all of the smallest node.",
    )

    address: str | None = Field(
        default=None,
        min_length=1,
        description="Of a cluster that runs: auto, HOST:PORT or ray://HOST:PORT. None: that of RAY_ADDRESS, else one is"
        " started on this machine, and ended with the run.",
    )
    retries: int = Field(default=3, ge=0, le=1000, description="Times that a task is begun again whose node was lost.")


def run_on_ray(tasks: Sequence[Task], options: RayOptions, tell: Tell) -> None:
    """Run tasks on a Ray cluster.

    Raises:
        XlbenchError: The cluster does not answer, or none of its nodes is large enough for a task.
    """
    import ray

    own = not ray.is_initialized()
    if own:
        _connect(options)
    try:
        _run(tasks, options, tell)
    finally:
        if own:
            ray.shutdown()


def _connect(options: RayOptions) -> None:
    import ray

    address = options.address or os.environ.get("RAY_ADDRESS", "")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster started here
    try:
        if found := re.fullmatch(r"([^/]+):(\d+)", address):  # Ray itself asks for minutes where nobody answers
            socket.create_connection((found[1], int(found[2])), ANSWER).close()
        kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR)
        if threading.current_thread() is threading.main_thread():
            for number, handler in kept.items():  # Ray's own would end this process with a dump of its stack
                signal.signal(number, handler)
    except Exception as error:
        raise XlbenchError(
            f"The Ray cluster '{address or 'local'}' cannot be used: {first_line(error)}",
            "Start one (`ray start --head`), give its address (-e address=HOST:PORT), or none for a local one.",
        ) from error


def _run(tasks: Sequence[Task], options: RayOptions, tell: Tell) -> None:
    import ray
    from ray.exceptions import RayError

    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    nodes = [node["Resources"] for node in known if node["Alive"]]
    cores = min((int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1), default=1)
    for task in tasks:
        _require_room(task, cores, nodes)
    remote = ray.remote(run_command)
    references: dict[ray.ObjectRef[int], Task] = {}

    def start(task: Task) -> None:
        cpus = task.resources.cpus or cores
        chosen = remote.options(
            name=task.name,
            num_cpus=cpus,
            num_gpus=task.resources.gpus,
            memory=round(task.resources.memory_gb * GB) if task.resources.memory_gb else None,
            max_retries=options.retries,
        )
        references[chosen.remote(task.command, cpus)] = task

    def ended() -> Mapping[str, int]:
        found = {}
        for reference in ray.wait(list(references), timeout=1.0)[0]:
            task = references.pop(reference)
            try:
                found[task.id] = ray.get(reference)
            except RayError as error:
                with task.log.open("a", encoding="utf-8") as log:
                    log.write(f"ray: {error}\n")
                found[task.id] = LOST
        return found

    def stop() -> None:
        for reference in references:
            ray.cancel(reference, force=True)

    drive(tasks, start, ended, stop, tell)


def _require_room(task: Task, cores: int, nodes: Sequence[Mapping[str, float]]) -> None:
    """Refuse a task that would wait for ever.

    Raises:
        XlbenchError: No node of the cluster has what it asks for.
    """
    asked = task.resources
    wanted = {"CPU": asked.cpus or cores, "GPU": asked.gpus, "memory": (asked.memory_gb or 0) * GB}
    if not any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
        raise XlbenchError(
            f"No node of the Ray cluster has {_described(asked, cores)}, as '{task.name}' asks for.",
            "Ask for less (-e cpus=..., -e gpus=..., -e memory_gb=...), or add a larger node.",
        )


def _described(asked: Resources, cores: int) -> str:
    memory = f" and {asked.memory_gb:g} GB" if asked.memory_gb else ""
    return f"{asked.cpus or cores} CPUs, {asked.gpus} GPUs{memory}"


def run_command(command: tuple[str, ...], threads: int) -> int:
    """Run a task's command in a worker of Ray's, and return its exit status."""
    process = start_command(command, threads)
    try:
        return process.wait()
    except BaseException:
        end_command(process)
        raise
