"""A plugin as one file: an engine for tests, which runs tasks in this process as a worker would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field
from toy_log import RAN, SAID

from xlbench.api import Engine, EngineOptions, XlbenchError, hookimpl
from xlbench.distill.health import FailedTrainingError
from xlbench.runs.worker import run_task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xlbench.api import Task


class ToyOptions(EngineOptions):
    """The toy's."""

    last: str = Field(default="", description="Stop as by Ctrl-C before a task whose name has this in it.")


def run_here(tasks: Sequence[Task], options: ToyOptions, tell: Callable[[Task, int], None]) -> None:
    """Run tasks one after another; a task after one that failed is left out."""
    lacking: set[str] = set()
    for task in tasks:
        if options.last and options.last in task.name:
            raise KeyboardInterrupt
        if lacking.intersection(task.after):
            lacking.add(task.id)
            continue
        RAN.append(task.name)
        status = 0
        try:
            run_task(Path(task.command[-2]), task.command[-1], 1, SAID.append)
        except FailedTrainingError:
            status = 3
        except XlbenchError:
            status = 2
        if status:
            lacking.add(task.id)
        tell(task, status)


@hookimpl
def xlbench_engines() -> list[Engine[ToyOptions]]:
    """Register the engine."""
    return [Engine(name="toy", summary="this process, as a worker", run=run_here, options=ToyOptions)]
