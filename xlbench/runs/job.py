"""A job: an experiment with its plan, the keys of the plan's encoders, and the rows that it records.

Computed once, from a request; everything downstream takes a job and computes none of this again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from xlbench.corpora.text import keep_text
from xlbench.distill.edits import Quantise
from xlbench.distill.engine import encoder_keys
from xlbench.distill.plan import Plan, Stage
from xlbench.distill.trim import with_text
from xlbench.fingerprint import Json, fingerprint
from xlbench.runs.resolve import resolve
from xlbench.scoring.data import mteb_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.distill.method import Method
    from xlbench.experiment import Experiment
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Role
    from xlbench.runs.request import Request
    from xlbench.settings import Settings

QUANTISED = "quantised"  # the stage in which a student's weights are rounded to fewer bits


class JobRow(NamedTuple):
    """A row that a job records: which encoder of the plan, in which role, under which name and key."""

    encoder: str
    role: Role
    name: str
    key: str


@dataclass(frozen=True)
class Job:
    """One experiment, ready to run.

    Attributes:
        request: What it was made from, with one seed and a precision: makes it again on any machine.
        experiment: The experiment, with one seed.
        plan: The method's plan, and the stage that quantises the student if that is asked for.
        keys: Fingerprint of every encoder of the plan, by its name there.
        student: What tables call the student; None where the method makes none.
        rows: The rows that it records: teacher, assistant, aligned assistant, student.
        corpora: The experiment's corpora, opened.
    """

    request: Request
    experiment: Experiment
    plan: Plan
    keys: Mapping[str, str]
    student: str | None
    rows: tuple[JobRow, ...]
    corpora: tuple[OpenCorpus, ...]

    @property
    def name(self) -> str:
        """What boards call the job's student, whatever its seed: 'multistage/minilm-half'."""
        method = self.experiment.method
        return method if self.student is None or self.student.startswith(method) else f"{method}/{self.student}"


def make_jobs(request: Request, registry: Registry, settings: Settings) -> tuple[Job, ...]:
    """Resolve a request and plan its experiments; loads no encoder and reads no pair.

    Returns:
        One job per seed, in the order of the request's seeds.

    Raises:
        XlbenchError: A name is unknown, a value does not fit, or the method cannot do this experiment.
    """
    experiments, corpora = resolve(request, registry, settings)
    method = registry.methods[request.method]
    text = keep_text(request.vocabulary_text, settings) if request.vocabulary_text is not None else None
    return tuple(make_job(request, experiment, method, tuple(corpora), text) for experiment in experiments)


def make_job(
    request: Request,
    experiment: Experiment,
    method: Method,
    corpora: tuple[OpenCorpus, ...] = (),
    vocabulary_text: str | None = None,
) -> Job:
    """Plan one experiment.

    Args:
        request: What asks for it, perhaps with other seeds too.
        experiment: The experiment.
        method: Its method.
        corpora: Its corpora.
        vocabulary_text: Digest of a text in the store whose tokens a trimmed vocabulary keeps.

    Raises:
        XlbenchError: The method's options are not valid, or it cannot do this experiment.
    """
    plan = make_plan(experiment, method, vocabulary_text)
    keys = encoder_keys(plan, experiment)
    student = student_name(experiment, method) if method.student else None
    # What 'auto' means is decided here, once, and not by every machine that has a part in the job.
    own = request.model_copy(update={"seeds": (experiment.seed,), "precision": experiment.precision})
    return Job(own, experiment, plan, keys, student, _rows(plan, experiment, keys, student), corpora)


def make_plan(experiment: Experiment, method: Method, vocabulary_text: str | None = None) -> Plan:
    """Return the plan of an experiment: its method's, and a last stage that quantises the student if that is asked for.

    Args:
        experiment: The experiment.
        method: Its method.
        vocabulary_text: Digest of a text in the store whose tokens a trimmed vocabulary keeps.

    Raises:
        XlbenchError: The method's options are not valid, or it cannot do this experiment.
    """
    plan = method.plan_for(experiment)
    if vocabulary_text is not None:
        plan = with_text(plan, vocabulary_text)
    bits = experiment.student.bits
    if bits == 32 or not method.student:
        return plan
    quantised = Stage(QUANTISED, plan.result, (Quantise(bits=bits),))
    return dataclasses.replace(plan, stages=(*plan.stages, quantised), result=QUANTISED)


def student_name(experiment: Experiment, method: Method) -> str:
    """Return what tables call a student: its spec's name, or its method's where the spec does not decide its size."""
    spec = experiment.student
    if method.sized:
        return spec.name
    return method.name if spec.bits == 32 else f"{method.name}-{spec.bits}bit"


def _rows(plan: Plan, experiment: Experiment, keys: Mapping[str, str], student: str | None) -> tuple[JobRow, ...]:
    """Return the rows of teacher, assistant and aligned assistant, each encoder once, and of the student, if any."""
    teacher, assistant = experiment.teacher.title, experiment.assistant.title
    inputs = {"assistant": assistant, "teacher": teacher}
    compared: list[tuple[str, Role, str]] = [
        (plan.teacher, "teacher", inputs.get(plan.teacher) or f"{teacher}, mean-centred"),
        ("assistant", "assistant", assistant),
        (plan.assistant, "aligned", inputs.get(plan.assistant) or f"{assistant}, aligned (stage 1)"),
    ]
    rows: list[JobRow] = []
    seen: set[str] = set()
    for encoder, role, name in compared:
        if keys[encoder] not in seen:
            seen.add(keys[encoder])
            rows.append(make_row(encoder, role, name, keys[encoder], experiment))
    if student is not None:  # a row of its own, even if the method returns an input encoder unchanged
        rows.append(make_row(plan.result, "student", student, keys[plan.result], experiment))
    return tuple(rows)


def make_row(encoder: str, role: Role, name: str, encoder_key: str, experiment: Experiment) -> JobRow:
    """Return a row; its key covers everything that its record depends on."""
    facts: dict[str, Json] = {
        "encoder": encoder_key,
        "suite": experiment.suite.model_dump(mode="json"),
        "evaluation": experiment.data.excluded,
        "mteb": mteb_version(),
        "precision": experiment.precision,
        "name": name,
        "role": role,
        "experiment": experiment.model_dump(mode="json") if role == "student" else None,
    }
    if role in {"teacher", "encoder"} and not experiment.self_taught():
        facts["baseline"] = experiment.assistant.fingerprint  # its speed is a multiple of the assistant's
    return JobRow(encoder, role, name, fingerprint(facts))
