"""The plan of a board, before anything of it runs: tasks, what is shared, how long on this machine, on how many."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from xlbench.boards.folder import record_paths
from xlbench.boards.gather import gather
from xlbench.boards.planned import BoardPlan, PlannedSchedule, PlannedTask
from xlbench.boards.run import board_graph, look_up_board
from xlbench.engines.schedule import critical_path, makespan, path_lengths
from xlbench.fingerprint import Frozen
from xlbench.plugins.guard import plugin_errors
from xlbench.records.predictions import read_key
from xlbench.records.record import KIND as RECORDS
from xlbench.records.stored import saved_record
from xlbench.runs.estimate import estimate, target_needs
from xlbench.runs.graph import WORDS, Exporting, Scoring, graph_of, stored_in
from xlbench.store import read_entry
from xlbench.validation import validated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from xlbench.boards.board import BoardFile
    from xlbench.boards.planned import State
    from xlbench.boards.run import Found
    from xlbench.plugins.registry import Registry
    from xlbench.runs.estimate import Estimate, Known, TargetNeed
    from xlbench.runs.graph import Graph, Has
    from xlbench.runs.job import Job
    from xlbench.runs.rates import Rates
    from xlbench.settings import Settings

WORKERS = (1, 2, 4, 8)


class _Workers(Frozen):
    """Numbers of workers, checked."""

    workers: Annotated[tuple[Annotated[int, Field(ge=1, le=100_000)], ...], Field(min_length=1)]


def read_workers(given: Sequence[int | str]) -> tuple[int, ...]:
    """Return numbers of workers, ascending, each once.

    Raises:
        XlbenchError: One of them is none, or there are none.
    """
    return tuple(sorted(set(validated(_Workers, {"workers": given}, "argument").workers)))


def plan_board(
    board: BoardFile,
    registry: Registry,
    settings: Settings,
    say: Callable[[str], None] = lambda _: None,
    *,
    workers: Sequence[int] = WORKERS,
    reproduce: bool = False,
    rates: Rates | None = None,
) -> BoardPlan:
    """Plan a board: nothing of it is trained or scored.

    The training data is prepared, and its sentences are split into tokens, where the store has not got them: a run
    begins with both. Then this machine is measured, for some seconds.

    Args:
        board: The board.
        registry: What plugins provide.
        settings: Paths and switches.
        say: Told what became of the pairs of the corpora.
        workers: Numbers of workers to schedule for.
        reproduce: Plan for a run that also makes what came with the board.
        rates: Of the machine; None measures this one.

    Raises:
        XlbenchError: Anything that would keep the board from running, as far as it can be told.
    """
    with plugin_errors(registry.files):
        found = look_up_board(board, registry, settings)
        carried = set() if reproduce else {key for path in record_paths(board) if (key := read_key(path))}
        stored = cache(stored_in(settings))

        def has(kind: str, key: str) -> bool:
            return stored(kind, key) or (kind == RECORDS and key in carried)

        whole, missing = board_graph(found, _nothing), board_graph(found, has)
        trains = any(unit.does == "stage" for unit in whole.units.values())
        gathered = gather(found, registry, settings, say, trains=trains)
        rates = rates or gathered.measure()
        return _plan(board, found, whole, missing, has, stored, gathered.known, rates, settings, workers)


def _nothing(kind: str, key: str) -> bool:
    return False


def _plan(
    board: BoardFile,
    found: Found,
    whole: Graph,
    missing: Graph,
    has: Has,
    stored: Has,
    known: Known,
    rates: Rates,
    settings: Settings,
    workers: Sequence[int],
) -> BoardPlan:
    jobs, encoders = _jobs(found), [it.encoder for it in found.encoders]
    once = estimate(whole, jobs, known, encoders=encoders)
    left = estimate(missing, jobs, known, encoders=encoders, made=_made(jobs, has))
    seconds = {task: rates.seconds(it.amounts) for task, it in once.items()}
    to_do = {task: rates.seconds(it.amounts) for task, it in left.items()}
    apart, rows = 0.0, {task: list[str]() for task in whole.units}
    for name, graph in _rows(found):
        apart += sum(rates.seconds(it.amounts) for it in estimate(graph, jobs, known, encoders=encoders).values())
        for task in graph.units:
            rows[task].append(name)

    def planned(task: str) -> PlannedTask:
        unit, (kind, _, key) = whole.units[task], task.partition("/")
        state: State = "not needed"
        if task in left:
            state = "missing"
        elif has(kind, key):
            state = "stored" if stored(kind, key) else "with the board"
        taken: Estimate = left.get(task, once[task])
        return PlannedTask(
            kind=WORDS[unit.does],
            name=unit.name,
            id=task,
            after=whole.after[task],
            rows=tuple(dict.fromkeys(rows[task])),
            state=state,
            seconds=to_do.get(task, seconds[task]),
            bytes=taken.disk,
            took=_took(kind, key, settings) if state == "stored" else None,
        )

    tasks = tuple(planned(task) for task in whole.units)
    scheduled, after = (to_do, missing.after) if to_do else (seconds, whole.after)
    alone = sum(scheduled.values())
    spans = {count: makespan(scheduled, after, count) for count in read_workers(workers)}
    path = critical_path(scheduled, after)
    made = [task for task in tasks if task.took is not None]
    return BoardPlan(
        board=board.name,
        tasks=tasks,
        apart_seconds=apart,
        shared_seconds=sum(seconds.values()),
        missing_seconds=sum(to_do.values()),
        missing_bytes=sum(it.disk for it in left.values()),
        checkpoint_bytes=max((it.scratch for it in left.values()), default=0.0),
        critical_path=tuple(whole.units[task].name for task in path),
        critical_seconds=max(path_lengths(scheduled, after).values(), default=0.0),
        schedules=tuple(
            PlannedSchedule(workers=count, seconds=span, speed_up=alone / span if span else 1.0)
            for count, span in spans.items()
        ),
        made_seconds=sum(task.seconds for task in made),
        took_seconds=sum(task.took or 0.0 for task in made),
        rates=rates,
    )


def _jobs(found: Found) -> list[Job]:
    jobs = [job for run in found.runs for job in run.jobs]
    return jobs or [found.beside]


def _rows(found: Found) -> Iterator[tuple[str, Graph]]:
    """Yield the name of each row, and all tasks that it needs if nothing is stored."""
    for run in found.runs:
        for job in run.jobs:
            yield _row_name(run.name, job, run.jobs), graph_of([job], _nothing)
    for export in found.exports:
        for job in export.run.jobs:
            one = Exporting(job, export.to, export.name, export.force)
            yield _row_name(export.name, job, export.run.jobs), graph_of([], _nothing, exports=[one])
    for it in found.encoders:
        yield it.name, graph_of([], _nothing, encoders=[Scoring(it.encoder, found.beside)])


def _row_name(name: str, job: Job, seeds: Sequence[Job]) -> str:
    return name if len(seeds) == 1 else f"{name}, seed {job.experiment.seed}"


def _made(jobs: Sequence[Job], has: Has) -> set[TargetNeed]:
    """Return the targets that stages read which are there: the store has got them too."""
    stages = [(stage, job) for job in jobs for stage in job.plan.stages if has("stages", job.keys[stage.name])]
    return {need for stage, job in stages for need in target_needs(stage, job)}


def _took(kind: str, key: str, settings: Settings) -> float | None:
    """Return the seconds that an entry took; None if it was not made in this store.

    A row that came with a board was put into the store in less time than its sentences took to encode.
    """
    entry = read_entry(settings.home, kind, key, only=())
    if entry is None:
        return None
    if kind == RECORDS:
        stored = saved_record(key, settings)
        if stored is None or entry.manifest.seconds < stored.record.scores.encode_seconds:
            return None
    return entry.manifest.seconds
