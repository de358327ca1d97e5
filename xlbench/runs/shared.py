"""Runs of several processes: the first one runs them, and the others train with it when it calls."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from pydantic import ValidationError

from xlbench.distill.engine import answer
from xlbench.distill.health import FailedTrainingError
from xlbench.distill.ranks import EndedError
from xlbench.fingerprint import Frozen
from xlbench.records.record import Failure
from xlbench.records.stored import saved_record
from xlbench.runs.run import Outcome
from xlbench.runs.session import Session, prepare_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.distill.ranks import Ranks
    from xlbench.fingerprint import Json
    from xlbench.plugins.registry import Registry
    from xlbench.runs.job import Job
    from xlbench.settings import Settings


class _Result(Frozen):
    """What the first process tells the others in the end.

    Attributes:
        records: Keys of the records.
        failures: Jobs whose training diverged or collapsed.
    """

    records: tuple[str, ...]
    failures: tuple[Failure, ...]


def result_of(outcome: Outcome) -> Json:
    """Return what the other processes are told of an outcome."""
    result = _Result(records=tuple(row.key for row in outcome.stored), failures=tuple(outcome.failures))
    told: Json = result.model_dump(mode="json")
    return told


def follow(ranks: Ranks, jobs: Sequence[Job], registry: Registry, settings: Settings) -> Outcome:
    """Train with the first process whenever it calls, and return what it got in the end.

    Args:
        ranks: The processes.
        jobs: The jobs that the first process runs.
        registry: What plugins provide.
        settings: Paths and switches.

    Raises:
        EndedError: The first process has ended without a result.
    """
    prepare_process(settings)

    @cache
    def session(number: int) -> Session:
        return Session(jobs[number].experiment, jobs[number].corpora, registry, settings)

    while (call := ranks.wait()).stage:
        number = next(it for it, job in enumerate(jobs) if job.keys.get(call.stage) == call.key)
        job, of_job = jobs[number], session(number)
        try:
            answer(call, job.plan, job.keys, job.experiment, of_job.corpus, of_job.load_input, settings)
        except FailedTrainingError:  # in the first process too, which knows what to do
            continue
    try:
        result = _Result.model_validate(call.result)
    except ValidationError as error:
        raise EndedError("The first process has ended.") from error
    rows = (saved_record(key, settings) for key in result.records)
    return Outcome([row for row in rows if row is not None], list(result.failures))
