"""The graph of a run: what of its jobs is not in the store, as tasks, each after those whose results it needs.

A stage that jobs share is one task, since its key is one; so is a row. What the store has is no task.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from xlbench.distill.stage_entry import KIND as STAGES
from xlbench.distill.stage_entry import stored_stage
from xlbench.engines.engine import Task
from xlbench.records.record import KIND as RECORDS
from xlbench.records.stored import saved_record
from xlbench.runs.export import export_row
from xlbench.runs.run import encoder_row
from xlbench.runs.work import Unit, beside

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from xlbench.engines.engine import EngineOptions
    from xlbench.experiment import EncoderRef
    from xlbench.runs.job import Job
    from xlbench.runs.request import Request
    from xlbench.settings import Settings

Has: TypeAlias = Callable[[str, str], bool]
"""Tells whether an entry of the store, by kind and key, is there and need not be made."""

WORDS = {"stage": "stage", "row": "scoring", "export": "export", "encoder": "scoring"}


class Exporting(NamedTuple):
    """A job whose student is exported and scored as a row of its own."""

    job: Job
    to: str
    name: str
    force: bool


class Scoring(NamedTuple):
    """An encoder that is scored as it is, beside the experiment of a job."""

    encoder: EncoderRef
    beside: Job


@dataclass
class Graph:
    """What is not there.

    Attributes:
        requests: What jobs are made from.
        units: What each task does, by its id: each after all that it needs.
        after: The ids of the tasks that each needs.
    """

    requests: list[Request] = field(default_factory=list)
    units: dict[str, Unit] = field(default_factory=dict)
    after: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add(self, task: str, unit: Unit, after: Sequence[str]) -> None:
        """Add a task, unless there is one that leaves the same."""
        if task not in self.units:
            self.units[task] = unit
            self.after[task] = tuple(dict.fromkeys(after))


def stored_in(settings: Settings) -> Has:
    """Return what tells whether the store has a stage or a record that can be used."""

    def has(kind: str, key: str) -> bool:
        if kind == STAGES:
            return stored_stage(settings.home, key, only=()) is not None
        return saved_record(key, settings) is not None

    return has


def graph_of(
    jobs: Sequence[Job],
    has: Has,
    *,
    exports: Sequence[Exporting] = (),
    encoders: Sequence[Scoring] = (),
    with_students: bool = False,
) -> Graph:
    """Return what of a run is not there.

    Args:
        jobs: In the order in which they would run.
        has: Tells what is there, e.g. :func:`stored_in`.
        exports: Of these jobs.
        encoders: What else is scored.
        with_students: Also train students again that are not there, though their records are.
    """
    graph = Graph()
    for job in jobs:
        _add_job(graph, job, has, with_student=with_students)
    for export in exports:
        _add_export(graph, export, has)
    for encoder, other in encoders:
        row = encoder_row(encoder, other.experiment)
        if not has(RECORDS, row.key):
            unit = Unit(
                name=f"scoring {row.name} as it is", does="encoder", request=_request(graph, other), part=encoder.name
            )
            graph.add(f"{RECORDS}/{row.key}", unit, ())
    return graph


def _add_job(graph: Graph, job: Job, has: Has, *, with_student: bool) -> list[str]:
    """Add the tasks of a job, and return those of its rows and of its student's last stage."""
    rows = [row for row in job.rows if not has(RECORDS, row.key)]
    ends = []
    for row in rows:
        after = _add_stages(graph, job, row.encoder, has)
        which = f"{job.name}, seed {job.experiment.seed}" if row.role == "student" else row.name
        unit = Unit(name=f"scoring {which}", does="row", request=_request(graph, job), part=row.name)
        ends.append(f"{RECORDS}/{row.key}")
        graph.add(ends[-1], unit, after)
    if with_student:
        ends += _add_stages(graph, job, job.plan.result, has)
    return ends


def _add_stages(graph: Graph, job: Job, encoder: str, has: Has) -> list[str]:
    """Add the stages below an encoder of a job that are not there, and return those that no other of them needs."""
    below = job.plan.below(encoder)
    lacking = [stage for stage in job.plan.stages if stage.name in below and not has(STAGES, job.keys[stage.name])]
    names = {stage.name for stage in lacking}
    for stage in lacking:
        # Of a stage that is there, those below it are not asked for by this one, but by the row.
        inputs = [f"{STAGES}/{job.keys[name]}" for name in stage.inputs() if name in names]
        name = f"stage {stage.name} of {job.name}, seed {job.experiment.seed}"
        unit = Unit(name=name, does="stage", request=_request(graph, job), part=stage.name)
        graph.add(f"{STAGES}/{job.keys[stage.name]}", unit, inputs)
    needed = {name for stage in lacking for name in job.plan.below(stage.name) - {stage.name}}
    return [f"{STAGES}/{job.keys[name]}" for name in (stage.name for stage in lacking) if name not in needed]


def _add_export(graph: Graph, export: Exporting, has: Has) -> None:
    job = export.job
    row = export_row(job, export.to, export.name)
    if has(RECORDS, row.key):
        return
    after = _add_job(graph, job, has, with_student=True)
    unit = Unit(
        name=f"scoring {export.name}, seed {job.experiment.seed}",
        does="export",
        request=_request(graph, job),
        part=export.name,
        to=export.to,
        force=export.force,
    )
    graph.add(f"{RECORDS}/{row.key}", unit, after)


def _request(graph: Graph, job: Job) -> int:
    """Return the number of a job's request in the graph."""
    if job.request not in graph.requests:
        graph.requests.append(job.request)
    return graph.requests.index(job.request)


def tasks_of(graph: Graph, file: Path, options: EngineOptions) -> list[Task]:
    """Return a graph as tasks for an engine.

    Args:
        graph: What is missing.
        file: Where what they do is written.
        options: Say which resources they get.
    """
    return [
        Task(
            name=unit.name,
            kind=task.partition("/")[0],
            key=task.partition("/")[2],
            after=graph.after[task],
            resources=options.resources_of(scores=unit.does != "stage"),
            command=(sys.executable, "-m", "xlbench", "task", str(file), task),
            log=beside(file, task, "log"),
        )
        for task, unit in graph.units.items()
    ]


def counts(graph: Graph) -> list[str]:
    """Return how many tasks train a stage, score and export, in words: '1 stage', '2 scorings'."""
    does = Counter(WORDS[unit.does] for unit in graph.units.values())
    return [f"{count} {word}{'s' if count > 1 else ''}" for word, count in does.items()]
