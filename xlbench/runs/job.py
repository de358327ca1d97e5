"""From a request to an experiment: every name looked up, every default filled in."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from xlbench.corpora.corpus import open_corpus
from xlbench.encoders.find import find_encoder
from xlbench.errors import XlbenchError, complaint, look_up, validated
from xlbench.experiment import Budget, Data, Experiment, StudentSpec
from xlbench.fingerprint import Json, fingerprint
from xlbench.scoring.data import mteb_version
from xlbench.scoring.tasks import evaluation_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.distill.plan import Plan
    from xlbench.experiment import EncoderRef, Precision
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Role
    from xlbench.runs.request import Request
    from xlbench.settings import Settings


SELF = "assistant"  # as a teacher: the assistant's own English side


def resolve(
    request: Request, registry: Registry, settings: Settings
) -> tuple[tuple[Experiment, ...], list[OpenCorpus]]:
    """Evaluation everything up.

    Returns:
        One experiment per seed, and their corpora, opened.

    Raises:
        XlbenchError: A name is unknown, or a value does not fit.
    """
    method = look_up("method", request.method, registry.methods)
    options = method.read_options(request.options, request.preset)
    student = _student(request, registry)
    suite, *keep_out = (look_up("suite", name, registry.suites) for name in (request.suite, *request.keep_out))
    assistant = find_encoder(request.assistant, registry.encoders, settings)
    teachers = [_teacher(name, assistant, registry, settings) for name in request.teacher]
    corpora = [open_corpus(reference, registry.corpora, settings) for reference in request.corpus]
    budget = _budget(request, registry)
    data = Data(
        corpora=tuple(corpus.ref for corpus in corpora),
        languages=_languages(request.languages, corpora),
        pairs_per_language=budget.pairs_per_language,
        dev_pairs=budget.dev_pairs,
        excluded=evaluation_digest((suite, *keep_out), settings),
    )
    try:
        experiment = Experiment(
            method=method.name,
            options=options.model_dump(mode="json"),
            student=student,
            teachers=tuple(teachers),
            assistant=assistant,
            data=data,
            suite=suite,
            keep_out=tuple(keep_out),
            budget=budget,
            seed=request.seeds[0],
            precision=_precision(request, settings),
        )
    except ValidationError as error:
        raise complaint(error, "setting", None) from error
    return tuple(experiment.model_copy(update={"seed": seed}) for seed in request.seeds), corpora


def _student(request: Request, registry: Registry) -> StudentSpec:
    spec = student_spec(request.student, registry)
    if request.bits is None or request.bits == spec.bits:
        return spec
    return spec.model_copy(update={"bits": request.bits, "name": f"{spec.name}-{request.bits}bit"})


def student_spec(given: str | StudentSpec, registry: Registry) -> StudentSpec:
    """Return a spec by name, from a TOML file, or as it is.

    Raises:
        XlbenchError: The name is unknown or the file holds no spec.
    """
    if isinstance(given, StudentSpec):
        return given
    if not given.endswith(".toml"):
        return look_up("student", given, registry.students)
    try:
        settings = tomllib.loads(Path(given).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise XlbenchError(f"Student spec '{given}' cannot be read: {error}", "Give a TOML file or a name.") from error
    return validated(StudentSpec, {"name": Path(given).stem, **settings}, f"entry of {given}:")


def _teacher(name: str, assistant: EncoderRef, registry: Registry, settings: Settings) -> EncoderRef:
    return assistant if name == SELF else find_encoder(name, registry.encoders, settings)


def _budget(request: Request, registry: Registry) -> Budget:
    budget = look_up("budget", request.budget, registry.budgets)
    changed = {
        field: value
        for field in ("pairs_per_language", "assistant_pairs", "student_pairs")
        if (value := getattr(request, field)) is not None and value != getattr(budget, field)
    }
    return budget.model_copy(update={**changed, "name": f"{budget.name}*"}) if changed else budget


def _languages(wanted: tuple[str, ...], corpora: Sequence[OpenCorpus]) -> tuple[str, ...]:
    there = sorted({language for corpus in corpora for language in corpus.languages()})
    if not there:
        raise XlbenchError(
            f"There are no pairs in {', '.join(corpus.ref.reference for corpus in corpora)}.",
            "Name another --corpus.",
        )
    missing = [language for language in wanted if language not in there]
    if missing:
        raise XlbenchError(
            f"No corpus has pairs for {', '.join(missing)}.", f"There are pairs for: {', '.join(there)}."
        )
    return tuple(sorted(set(wanted))) or tuple(there)


def _precision(request: Request, settings: Settings) -> Precision:
    from xlbench.encoders.runtime import choose_device, choose_precision

    return choose_precision(choose_device(settings), request.precision)


class Row(NamedTuple):
    """A row that a run gives: which encoder of the plan, in which role, under which name and key."""

    encoder: str
    role: Role
    name: str
    key: str


def wanted_rows(plan: Plan, experiment: Experiment, keys: Mapping[str, str], *, student: bool) -> list[Row]:
    """Return the rows of a plan: what taught, what is compared with, each encoder once, and what was made.

    Args:
        plan: The plan.
        experiment: The experiment that it belongs to.
        keys: Fingerprint of every encoder.
        student: Whether the method makes a student.
    """
    teacher, assistant = title(experiment.teacher), title(experiment.assistant)
    given = {"assistant": assistant, "teacher": teacher}

    def name(encoder: str, word: str) -> str:
        return given.get(encoder) or f"{teacher if word == 'mean-centred' else assistant}, {word}"

    beside: list[tuple[str, Role, str]] = [
        (plan.teacher, "teacher", name(plan.teacher, "mean-centred")),
        ("assistant", "assistant", assistant),
        (plan.assistant, "aligned", name(plan.assistant, "aligned (stage 1)")),
    ]
    rows: list[Row] = []
    seen: set[str] = set()
    for encoder, role, words in beside:
        if keys[encoder] not in seen:
            seen.add(keys[encoder])
            rows.append(make_row(encoder, role, words, keys[encoder], experiment))
    if student:  # a row of its own, even of an encoder that was given
        rows.append(make_row(plan.result, "student", experiment.student.name, keys[plan.result], experiment))
    return rows


def make_row(encoder: str, role: Role, name: str, key: str, experiment: Experiment) -> Row:
    """Return a row; ``key`` is the fingerprint of its encoder."""
    facts: dict[str, Json] = {
        "encoder": key,
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
    return Row(encoder, role, name, fingerprint(facts))


def title(encoder: EncoderRef) -> str:
    """Return what boards call an encoder: its name, without the place for one in a directory."""
    return Path(encoder.name).name if encoder.origin == "local" else encoder.name


def run_name(experiment: Experiment) -> str:
    """Return what boards call the runs of an experiment, whatever their seeds."""
    return f"{experiment.method}/{experiment.student.name}"
