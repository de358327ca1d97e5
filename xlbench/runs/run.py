"""A run: distil, score and record an experiment beside its teacher and assistant; all that is there is reused."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from xlbench._version import __version__
from xlbench.distill.edits import Quantise
from xlbench.distill.engine import Distilled, encoder_keys, given_encoders, run_plan
from xlbench.distill.health import FailedTrainingError
from xlbench.distill.plan import Plan, Stage
from xlbench.records.record import ITEMS, Failure, Provenance, Record, git_revision
from xlbench.records.stored import saved_record, write_entry
from xlbench.runs.job import Row, make_row, resolve, run_name, title, wanted_rows
from xlbench.runs.session import Session, prepare_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.experiment import EncoderRef, Experiment
    from xlbench.plugins.registry import Registry
    from xlbench.records.stored import StoredRecord
    from xlbench.runs.request import Request
    from xlbench.settings import Settings

QUANTISED = "quantised"  # the stage in which a student gets its bits


class Results(NamedTuple):
    """What the experiments of a request gave.

    Attributes:
        made: Teacher, assistant, aligned assistant, and a student per seed.
        failures: Seeds with which training could not end well; nothing of them is kept.
    """

    made: list[StoredRecord]
    failures: list[Failure]

    @property
    def records(self) -> list[Record]:
        """The records alone."""
        return [made.record for made in self.made]


def run(
    request: Request, registry: Registry, settings: Settings, say: Callable[[str], None] = lambda _: None
) -> Results:
    """Run an experiment, once per seed.

    Args:
        request: What to run, by names.
        registry: What plugins brought.
        settings: Paths and switches.
        say: Told what is made and what comes from the store.

    Raises:
        XlbenchError: Anything that the user can mend; with a single seed also training that cannot end well.
    """
    experiments, corpora = resolve(request, registry, settings)
    if len(experiments) == 1:
        return Results(run_experiment(experiments[0], corpora, registry, settings, say), [])
    return run_seeds(experiments, corpora, registry, settings, say)


def run_seeds(
    experiments: Sequence[Experiment],
    corpora: Sequence[OpenCorpus],
    registry: Registry,
    settings: Settings,
    say: Callable[[str], None],
) -> Results:
    """Run experiments that differ in nothing but the seed; one that diverges does not keep the next from running.

    Raises:
        XlbenchError: Anything that the user can mend, but for training that cannot end well.
    """
    given: dict[str, StoredRecord] = {}
    students: list[StoredRecord] = []
    failures: list[Failure] = []
    for experiment in experiments:
        say(f"{run_name(experiment)}, seed {experiment.seed}")
        try:
            rows = run_experiment(experiment, corpora, registry, settings, say)
        except FailedTrainingError as error:
            say(error.problem)
            failures.append(Failure(row=run_name(experiment), seed=experiment.seed, message=error.problem))
            continue
        given.update((row.key, row) for row in rows if row.record.role != "student")
        students += [row for row in rows if row.record.role == "student"]
    return Results([*given.values(), *students], failures)


def run_experiment(
    experiment: Experiment,
    corpora: Sequence[OpenCorpus],
    registry: Registry,
    settings: Settings,
    say: Callable[[str], None],
) -> list[StoredRecord]:
    """Run one experiment with one seed and return its rows: teacher, assistant, aligned assistant and student.

    Raises:
        XlbenchError: Anything that the user can mend.
    """
    plan = plan_of(experiment, registry)
    keys = encoder_keys(plan, experiment)
    rows = wanted_rows(plan, experiment, keys, student=registry.methods[experiment.method].student)
    stored = [made for row in rows if (made := saved_record(row.key, settings))]
    if len(stored) == len(rows):
        say(f"all {len(rows)} records come from the store")
        return stored
    prepare_process(settings)
    session = Session(experiment, corpora, registry, settings)
    distilled = run_plan(plan, experiment, session.corpus, session.load_given, settings, say)
    return [_record(row, plan, distilled, session, say) for row in rows]


def run_encoder(
    encoder: EncoderRef, beside: Experiment, registry: Registry, settings: Settings, say: Callable[[str], None]
) -> StoredRecord:
    """Score an encoder as it is.

    Args:
        encoder: The encoder.
        beside: Says on which suite, in which precision, and beside which assistant its speed is measured.
        registry: What plugins brought.
        settings: Paths and switches.
        say: Told what is made.

    Raises:
        XlbenchError: It cannot be loaded, or the suite's data is missing.
    """
    experiment = beside.model_copy(update={"teachers": (encoder,)})
    row = make_row("teacher", "encoder", title(encoder), encoder.fingerprint, experiment)
    if stored := saved_record(row.key, settings):
        return stored
    prepare_process(settings)
    session = Session(experiment, (), registry, settings)
    return _record(row, Plan((), "teacher"), Distilled({}, given_encoders(experiment), ()), session, say)


def plan_of(experiment: Experiment, registry: Registry) -> Plan:
    """Return the plan of an experiment: its method's, and a stage that stores the student in fewer bits if asked.

    Raises:
        XlbenchError: The method's options are not valid, or it cannot do this experiment.
    """
    method = registry.methods[experiment.method]
    plan = method.plan_for(experiment)
    bits = experiment.student.bits
    if bits == 32 or not method.student:
        return plan
    stored = Stage(QUANTISED, plan.result, (Quantise(bits=bits),))
    return dataclasses.replace(plan, stages=(*plan.stages, stored), result=QUANTISED)


def _record(row: Row, plan: Plan, distilled: Distilled, session: Session, say: Callable[[str], None]) -> StoredRecord:
    def make(directory: Path) -> Record:
        say(f"scoring {row.name}")
        return _score(row, plan, distilled, session, directory)

    return write_entry(row.key, session.settings, make)


def _score(row: Row, plan: Plan, distilled: Distilled, session: Session, directory: Path) -> Record:
    from xlbench.encoders.modules import saved_directory
    from xlbench.encoders.runtime import choose_device
    from xlbench.scoring.footprint import measure_footprint
    from xlbench.scoring.harness import score
    from xlbench.scoring.items import write_items
    from xlbench.scoring.machine import describe_machine
    from xlbench.scoring.speed import measure_speed
    from xlbench.students.load import load_student

    experiment, settings = session.experiment, session.settings
    made = distilled.paths.get(row.encoder)
    model = load_student(made).to(choose_device(settings)) if made else session.load_given(row.encoder)
    scored = score(model, experiment.suite, settings, precision=experiment.precision, title=f"scoring {row.name}")
    write_items(directory / ITEMS, scored.items)
    needed = _needed(plan, row.encoder)
    student = row.role == "student"
    return Record(
        name=row.name,
        role=row.role,
        encoder_key=distilled.keys[row.encoder],
        experiment=experiment if student else None,
        stages=tuple(stage for stage in distilled.stages if stage.name in needed),
        corpus=session.facts() if made else None,
        scores=scored.scores,
        footprint=measure_footprint(model, made or saved_directory(model)),
        speed=measure_speed(
            model,
            session.baseline(),
            session.sample(),
            settings,
            precision=experiment.precision,
            repetitions=settings.speed_rounds,
        )
        if settings.speed_rounds
        else None,
        provenance=Provenance(
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            xlbench=__version__,
            git=git_revision(),
            machine=describe_machine(settings),
        ),
    )


def _needed(plan: Plan, encoder: str) -> set[str]:
    """Return the stages that an encoder rests on, itself included."""
    needed: set[str] = set()
    open_names = [encoder]
    while open_names:
        if (stage := plan.stage(open_names.pop())) and stage.name not in needed:
            needed.add(stage.name)
            open_names += stage.inputs()
    return needed
