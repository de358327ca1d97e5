"""A worker's side: one task of a work file, computed again from names, refused where its key has become another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from xlbench._version import __version__
from xlbench.encoders.find import find_encoder
from xlbench.errors import XlbenchError, look_up
from xlbench.plugins.guard import plugin_errors
from xlbench.plugins.registry import load_registry
from xlbench.runs.export import export_row, run_export
from xlbench.runs.job import make_jobs
from xlbench.runs.run import encoder_row, record_row, run_encoder, run_stage
from xlbench.runs.work import Ended, beside, read_work
from xlbench.settings import path_of
from xlbench.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xlbench.plugins.registry import Registry
    from xlbench.runs.job import Job
    from xlbench.runs.work import Unit, Work
    from xlbench.settings import Settings

    Say = Callable[[str], None]


def run_task(file: Path, task: str, threads: int | None, say: Say) -> None:
    """Run one task; an error is also left beside its file, for the process that sent it.

    Args:
        file: The work.
        task: Id of the task.
        threads: Of torch, where the work does not say.
        say: Told what is done.

    Raises:
        XlbenchError: The work cannot be read, the task has another key on this machine, or it failed.
    """
    beside(file, task, "json").unlink(missing_ok=True)
    try:
        _run(read_work(file), task, threads, say)
    except XlbenchError as error:
        if file.is_file():  # else nobody looks for it there
            ended = Ended(problem=error.problem, remedy=error.remedy)
            write_atomically(beside(file, task, "json"), ended.model_dump_json())
        raise


def _run(work: Work, task: str, threads: int | None, say: Say) -> None:
    unit = look_up("task", task, work.units)
    try:
        os.chdir(work.directory)
    except OSError as error:
        raise XlbenchError(
            f"'{work.directory}', where the run was started, cannot be used here: {error.strerror}.",
            "Start it in a directory that its workers share.",
        ) from error
    settings = work.settings.model_copy(update={"quiet": False, "threads": work.settings.threads or threads})
    registry = load_registry(tuple(path_of(plugin, "plugin") for plugin in work.plugins))
    with plugin_errors(registry.files):
        (job,) = make_jobs(work.requests[unit.request], registry, settings)
        _require_key(work, task, unit, _key(task, unit, job, registry, settings))
        _do(task, unit, job, registry, settings, say)


def _key(task: str, unit: Unit, job: Job, registry: Registry, settings: Settings) -> str | None:
    """Return the task that a unit is on this machine."""
    if unit.does == "stage":
        return f"stages/{job.keys[unit.part]}" if job.plan.stage(unit.part) else None
    if unit.does == "row":
        found = [f"records/{row.key}" for row in job.rows if row.name == unit.part]
        return task if task in found else next(iter(found), None)
    if unit.does == "export":
        return f"records/{export_row(job, unit.to, unit.part).key}"
    encoder = find_encoder(unit.part, registry.encoders, settings)
    return f"records/{encoder_row(encoder, job.experiment).key}"


def _require_key(work: Work, task: str, unit: Unit, here: str | None) -> None:
    """Refuse to make something else than was asked for.

    Raises:
        XlbenchError: The keys differ.
    """
    if here == task:
        return
    other = f" (xlbench {__version__} here, {work.version} there)" if __version__ != work.version else ""
    raise XlbenchError(
        f"Task '{unit.name}' is {here or 'no task'} on this machine, and was sent as {task}{other}.",
        "Give all machines the same packages, plugins and data: a key covers all of them.",
    )


def _do(task: str, unit: Unit, job: Job, registry: Registry, settings: Settings, say: Say) -> None:
    if unit.does == "stage":
        run_stage(job, unit.part, unit.name, registry, settings, say)
    elif unit.does == "row":
        row = next(row for row in job.rows if f"records/{row.key}" == task)
        record_row(job, row, unit.name, registry, settings, say)
    elif unit.does == "export":
        run_export(job, unit.to, unit.part, registry, settings, say, force=unit.force)
    else:
        encoder = find_encoder(unit.part, registry.encoders, settings)
        run_encoder(encoder, job.experiment, registry, settings, say)
