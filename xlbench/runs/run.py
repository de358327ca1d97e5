"""Running jobs: distil, score and record a student beside its teacher and assistant, reusing all that is stored."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from xlbench.distill.engine import Distilled, input_encoders, run_plan
from xlbench.distill.health import FailedTrainingError
from xlbench.distill.plan import Plan
from xlbench.distill.stage_entry import stored_stage
from xlbench.distill.trim import describe_losses
from xlbench.records.record import KIND, Failure, Record
from xlbench.records.stored import make_record, saved_record, write_entry
from xlbench.runs.job import Job, JobRow, make_row
from xlbench.runs.session import Session, check_ready, prepare_process, say_pairs
from xlbench.runs.status import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.facts import CorpusFacts
    from xlbench.distill.outcome import StageOutcome
    from xlbench.experiment import EncoderRef, Experiment
    from xlbench.plugins.registry import Registry
    from xlbench.records.stored import StoredRecord
    from xlbench.scoring.speed import Speed
    from xlbench.settings import Settings

    Say = Callable[[str], None]
    Diverged = Mapping[str, FailedTrainingError]  # by the stage's key


class Outcome(NamedTuple):
    """What jobs gave.

    Attributes:
        stored: Teacher, assistant and aligned assistant, each once, then a student per seed.
        failures: Jobs whose training diverged or collapsed; nothing of them is kept.
    """

    stored: list[StoredRecord]
    failures: list[Failure]


def run_jobs(
    jobs: Sequence[Job], registry: Registry, settings: Settings, say: Say, diverged: Diverged = MappingProxyType({})
) -> Outcome:
    """Run jobs that differ in nothing but the seed; one that diverges does not keep the next from running.

    Args:
        jobs: In the order in which they run.
        registry: What plugins provide.
        settings: Paths and switches.
        say: Called with what is trained and what comes from the store.
        diverged: Stages that an engine has tried already.

    Raises:
        XlbenchError: Anything that the user can fix, but for training that diverges or collapses.
    """
    given: dict[str, StoredRecord] = {}
    seed_of: dict[str, int] = {}  # the first seed of each encoder that jobs leave
    students: list[StoredRecord] = []
    failures: list[Failure] = []
    of_corpora = _once(say)  # the seeds share them
    for job in jobs:
        seed = seed_of.setdefault(job.keys[job.plan.result], job.experiment.seed)
        same = "" if seed == job.experiment.seed else f": the encoder of seed {seed} again, nothing in it is random"
        say(f"{job.name}, seed {job.experiment.seed}{same}")
        try:
            rows = run_job(job, registry, settings, say, of_corpora=of_corpora, diverged=diverged)
        except FailedTrainingError as error:
            say(error.problem)
            failures.append(Failure(row=job.name, seed=job.experiment.seed, message=error.problem))
            continue
        given.update((row.key, row) for row in rows if row.record.role != "student")
        students += [row for row in rows if row.record.role == "student"]
    return Outcome([*given.values(), *students], failures)


def _once(say: Say) -> Say:
    """Return a function that passes each line on the first time."""
    said: set[str] = set()

    def tell(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return tell


def run_job(
    job: Job,
    registry: Registry,
    settings: Settings,
    say: Say,
    *,
    with_student: bool = False,
    of_corpora: Say | None = None,
    diverged: Diverged = MappingProxyType({}),
) -> list[StoredRecord]:
    """Run one job and return its rows, in their order.

    Args:
        job: The job.
        registry: What plugins brought.
        settings: Paths and switches.
        say: Called with what is trained and what comes from the store.
        with_student: Also train a student again that is damaged or gone from the store, though its record is there.
        of_corpora: Called with what is said of the corpora and their pairs, instead of ``say``.
        diverged: Stages that an engine has tried already; they are not trained again.

    Raises:
        XlbenchError: Anything that the user can fix.
    """
    of_corpora = of_corpora or say
    for notice in dict.fromkeys(notice for corpus in job.corpora for notice in corpus.notices):
        of_corpora(notice)
    stored = [found for row in job.rows if (found := saved_record(row.key, settings))]
    result = job.plan.stage(job.plan.result)
    needs_student = with_student and result and not stored_stage(settings.home, job.keys[result.name])
    untimed = not all(_is_timed(it, settings) for it in stored) and _has_stages(job, settings)
    if len(stored) == len(job.rows) and not needs_student and not untimed:
        say(f"all {len(job.rows)} records come from the store")
        if (facts := stored[-1].record.corpus) is not None:
            say_pairs(facts, of_corpora)
        _say_losses(stored, say)
        return stored
    for stage in job.plan.stages:
        if (error := diverged.get(job.keys[stage.name])) is not None:
            raise error
    needed = [("stages", job.keys[stage.name]) for stage in job.plan.stages] + [(KIND, row.key) for row in job.rows]
    what = f"{job.name}, seed {job.experiment.seed}"
    recorded = _run_part(job, what, needed, None, job.rows, registry, settings, say, of_corpora)
    _say_losses(recorded, say)
    return recorded


def _is_timed(stored: StoredRecord, settings: Settings) -> bool:
    """Return whether a record has its speed, as far as that is to be measured."""
    return stored.record.speed is not None or not settings.speed_rounds


def _has_stages(job: Job, settings: Settings) -> bool:
    """Return whether all that a job trains is in the store: for a speed alone nothing is trained."""
    return all(stored_stage(settings.home, job.keys[stage.name], only=()) for stage in job.plan.stages)


def run_stage(job: Job, stage: str, what: str, registry: Registry, settings: Settings, say: Say) -> None:
    """Run one stage of a job, as a task of an engine; its inputs are taken from the store.

    Args:
        job: The job.
        stage: The stage's name in its plan.
        what: What runs, for other terminals.
        registry: What plugins brought.
        settings: Paths and switches.
        say: Called with what is trained and what comes from the store.

    Raises:
        XlbenchError: Anything that the user can fix.
    """
    _run_part(job, what, [("stages", job.keys[stage])], (stage,), (), registry, settings, say)


def record_row(job: Job, row: JobRow, what: str, registry: Registry, settings: Settings, say: Say) -> None:
    """Score and record one row of a job, as a task of an engine; its stages are taken from the store.

    Args:
        job: The job.
        row: One of its rows.
        what: What runs, for other terminals.
        registry: What plugins brought.
        settings: Paths and switches.
        say: Called with what is scored.

    Raises:
        XlbenchError: Anything that the user can fix.
    """
    below = job.plan.below(row.encoder)
    needed = [("stages", job.keys[name]) for name in below] + [(KIND, row.key)]
    _run_part(job, what, needed, below, (row,), registry, settings, say)


def _run_part(
    job: Job,
    what: str,
    needed: Iterable[tuple[str, str]],
    stages: Collection[str] | None,
    rows: Iterable[JobRow],
    registry: Registry,
    settings: Settings,
    say: Say,
    of_corpora: Say | None = None,
) -> list[StoredRecord]:
    """Run stages of a job (None: all) and record rows of it."""
    check_ready(job.experiment.kept_out, settings)
    with runs(what, settings, needed):
        prepare_process(settings)
        session = Session(job.experiment, job.corpora, registry, settings, of_corpora or say)
        distilled = run_plan(
            job.plan, job.keys, job.experiment, session.corpus, session.load_input, settings, say, only=stages
        )
        return [_record(row, job.plan, distilled, session, say) for row in rows]


def _say_losses(rows: Sequence[StoredRecord], say: Say) -> None:
    """Report what a student with a trimmed vocabulary loses."""
    for row in rows:
        stages = row.record.stages if row.record.role == "student" else ()
        if stages and (line := describe_losses(stages[-1].metadata)):
            say(line)


def run_encoder(
    encoder: EncoderRef, beside: Experiment, registry: Registry, settings: Settings, say: Say
) -> StoredRecord:
    """Score an encoder as it is.

    Args:
        encoder: The encoder.
        beside: Says on which suite, in which precision, and beside which assistant its speed is measured.
        registry: What plugins provide.
        settings: Paths and switches.
        say: Called with what is trained.

    Raises:
        XlbenchError: It cannot be loaded, or the suite's data is missing.
    """
    experiment = beside.model_copy(update={"teachers": (encoder,)})
    row = encoder_row(encoder, beside)
    if (stored := saved_record(row.key, settings)) and _is_timed(stored, settings):
        return stored
    check_ready((experiment.suite,), settings)
    with runs(f"scoring {row.name} as it is", settings):
        prepare_process(settings)
        session = Session(experiment, (), registry, settings)
        return _record(row, Plan((), "teacher"), Distilled({}, input_encoders(experiment), ()), session, say)


def encoder_row(encoder: EncoderRef, beside: Experiment) -> JobRow:
    """Return the row of an encoder that is scored as it is; the arguments are those of :func:`run_encoder`."""
    experiment = beside.model_copy(update={"teachers": (encoder,)})
    return make_row("teacher", "encoder", encoder.title, encoder.fingerprint, experiment)


def _record(row: JobRow, plan: Plan, distilled: Distilled, session: Session, say: Say) -> StoredRecord:
    path = distilled.paths.get(row.encoder)
    needed = plan.below(row.encoder)

    def make(directory: Path) -> Record:
        say(f"scoring {row.name}")
        return score_row(
            row,
            _load(row, path, session),
            session,
            directory,
            encoder_key=distilled.keys[row.encoder],
            saved=path,
            stages=tuple(stage for stage in distilled.stages if stage.name in needed),
            corpus=session.facts() if path else None,
        )

    def measure() -> Speed:
        say(f"measuring the speed of {row.name}")
        return _measure(_load(row, path, session), session)

    return write_entry(row.key, session.settings, make, measure if session.settings.speed_rounds else None)


def _load(row: JobRow, path: Path | None, session: Session) -> SentenceTransformer:
    from xlbench.encoders.runtime import choose_device
    from xlbench.students.load import load_student

    return load_student(path).to(choose_device(session.settings)) if path else session.load_input(row.encoder)


def _measure(model: SentenceTransformer, session: Session) -> Speed:
    from xlbench.scoring.speed import measure_speed

    return measure_speed(
        model,
        session.baseline(),
        session.sample(),
        session.settings,
        precision=session.experiment.precision,
        repetitions=session.settings.speed_rounds,
    )


def score_row(
    row: JobRow,
    model: SentenceTransformer,
    session: Session,
    directory: Path,
    *,
    encoder_key: str,
    saved: Path | None,
    stages: tuple[StageOutcome, ...],
    corpus: CorpusFacts | None,
) -> Record:
    """Score the encoder of a row, measure its size and speed, and return its record.

    Args:
        row: The row.
        model: Its encoder, on the device that it runs on.
        session: Of the experiment; its assistant is what the speed is a multiple of.
        directory: Where the item-level scores are written.
        encoder_key: What identifies the encoder.
        saved: The directory of its files; None: the one that it was loaded from.
        stages: The stages that it rests on.
        corpus: What it was trained on.

    Raises:
        XlbenchError: The suite's data is missing, or the vectors are not finite.
    """
    experiment, settings = session.experiment, session.settings
    return make_record(
        model,
        directory,
        settings,
        name=row.name,
        role=row.role,
        encoder_key=encoder_key,
        suite=experiment.suite,
        precision=experiment.precision,
        saved=saved,
        experiment=experiment if row.role == "student" else None,
        stages=stages,
        corpus=corpus,
        speed=partial(_measure, model, session) if settings.speed_rounds else None,
    )
