"""From a request to an experiment: every name looked up, every default filled in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from xlbench.corpora.corpus import open_corpus
from xlbench.corpora.languages import check_codes
from xlbench.encoders.find import find_encoder
from xlbench.errors import XlbenchError, look_up
from xlbench.experiment import Budget, Data, Experiment, StudentSpec
from xlbench.runs.request import inline_spec, load_toml
from xlbench.scoring.suites import find_suite
from xlbench.scoring.tasks import evaluation_digest
from xlbench.settings import path_of
from xlbench.validation import complaint, validated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.experiment import EncoderRef, Precision
    from xlbench.plugins.registry import Registry
    from xlbench.runs.request import Request
    from xlbench.settings import Settings


SELF = "assistant"  # as a teacher: the assistant's own English side


def resolve(
    request: Request, registry: Registry, settings: Settings
) -> tuple[tuple[Experiment, ...], list[OpenCorpus]]:
    """Return the experiments of a request.

    Returns:
        One experiment per seed, and their corpora, opened.

    Raises:
        XlbenchError: A name is unknown, or a value does not fit.
    """
    method = look_up("method", request.method, registry.methods)
    options = method.read_options(request.options, request.preset)
    student = _student(request, registry)
    suite, *keep_out = (find_suite(name, registry.suites, settings) for name in (request.suite, *request.keep_out))
    assistant = find_encoder(request.assistant, registry.encoders, settings)
    teachers = [_teacher(name, assistant, registry, settings) for name in request.teacher]
    fingerprints = [teacher.fingerprint for teacher in teachers]
    for place, name in enumerate(request.teacher):
        if fingerprints[place] in fingerprints[:place]:
            raise XlbenchError(f"Teacher '{name}' is given twice.", "Give each teacher once.")
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
    """Return a spec by name, from a TOML file, from one line like B=128,K=6,R=2, or as it is.

    Raises:
        XlbenchError: The name is unknown or the file holds no spec.
    """
    if isinstance(given, StudentSpec):
        return given
    if "=" in given:
        return inline_spec(given)
    if not given.endswith(".toml"):
        return look_up("student", given, registry.students)
    settings = load_toml(path_of(given, "student"), "Student spec", "Give a TOML file or a name.")
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


def _languages(asked: tuple[str, ...], corpora: Sequence[OpenCorpus]) -> tuple[str, ...]:
    available = sorted({language for corpus in corpora for language in corpus.languages()})
    if not available:
        raise XlbenchError(
            f"There are no pairs in {', '.join(corpus.ref.reference for corpus in corpora)}.",
            "Name another --corpus.",
        )
    check_codes(asked or available, ", ".join(corpus.ref.reference for corpus in corpora))
    missing = [language for language in asked if language not in available]
    if missing:
        raise XlbenchError(
            f"No corpus has pairs for {', '.join(missing)}.", f"There are pairs for: {', '.join(available)}."
        )
    return tuple(sorted(set(asked))) or tuple(available)


def _precision(request: Request, settings: Settings) -> Precision:
    from xlbench.encoders.runtime import choose_device, choose_precision

    return choose_precision(choose_device(settings), request.precision)
