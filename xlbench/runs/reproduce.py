"""The command that makes a student again, from its experiment, and records without paths of the machine."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from xlbench.corpora.corpus import parse_reference
from xlbench.distill.trim import TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xlbench.experiment import CorpusRef, EncoderRef, Experiment, StudentSpec
    from xlbench.fingerprint import Json
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Record

ON_HUB = "hub"  # scheme of corpora whose argument is no path


def command_of(record: Record, registry: Registry) -> str:
    """Return the call of ``xlbench run`` that makes the student of a record, one option a line.

    What is the default of the method, of the budget or of the student's name is left out.

    Args:
        record: Of a student, as :func:`without_paths` returns it.
        registry: Says which names and defaults there are.
    """
    experiment = record.experiment
    assert experiment is not None
    words = [("--method", experiment.method), *_student(experiment.student, registry)]
    teachers = ["assistant" if it == experiment.assistant else it.name for it in experiment.teachers]
    words += [("--teacher", name) for name in teachers]
    words.append(("--assistant", experiment.assistant.name))
    words += [("--corpus", corpus.reference) for corpus in experiment.data.corpora]
    words.append(("--languages", ",".join(experiment.data.languages)))
    words.append(("--suite", experiment.suite.name))
    words += [("--keep-out", suite.name) for suite in experiment.keep_out]
    words += _budget(experiment, registry)
    words += [("--seeds", str(experiment.seed)), ("--precision", experiment.precision)]
    words += [("-o", f"{name}={_value(value)}") for name, value in _changed_options(experiment, registry).items()]
    if any(TEXT in stage.metadata for stage in record.stages):
        words.append(("--vocabulary-text", "FILE"))
    return " \\\n  ".join(["xlbench run", *(shlex.join(pair) for pair in words)])


def without_paths(record: Record) -> Record:
    """Return a record in which local files and directories are named without the folders that they lie in."""
    experiment = record.experiment
    if experiment is None:
        return record
    long = {corpus.reference: _reference(corpus.reference) for corpus in experiment.data.corpora}

    def told(text: str) -> str:
        for reference, short in long.items():
            if reference != short:
                text = text.replace(parse_reference(reference).argument, parse_reference(short).argument)
        return text

    def corpus(ref: CorpusRef) -> CorpusRef:
        return ref.model_copy(update={"reference": long[ref.reference], "note": told(ref.note)})

    own = experiment.model_copy(
        update={
            "teachers": tuple(map(_encoder, experiment.teachers)),
            "assistant": _encoder(experiment.assistant),
            "data": experiment.data.model_copy(update={"corpora": tuple(map(corpus, experiment.data.corpora))}),
            "options": {name: _last(value) for name, value in experiment.options.items()},
        }
    )
    facts = record.corpus and record.corpus.model_copy(
        update={
            "corpora": tuple(
                it.model_copy(update={"reference": long.get(it.reference, it.reference)})
                for it in record.corpus.corpora
            ),
            "notes": tuple(map(told, record.corpus.notes)),
        }
    )
    return record.model_copy(update={"experiment": own, "corpus": facts})


def _encoder(ref: EncoderRef) -> EncoderRef:
    return ref.model_copy(update={"name": ref.title})


def _reference(reference: str) -> str:
    parsed = parse_reference(reference)
    if parsed.scheme == ON_HUB or not parsed.argument:
        return str(parsed)
    return str(replace(parsed, argument=PurePath(parsed.argument).name or parsed.argument))


def _last(value: Json) -> Json:
    """Return the last part of an option that is an absolute path, and any other option as it is."""
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value


def _student(spec: StudentSpec, registry: Registry) -> Iterator[tuple[str, str]]:
    """Yield the options that describe a student: its name where it is one that plugins register."""
    known = registry.students.get(spec.name)
    if known == spec:
        yield "--student", spec.name
        return
    plain = spec.name.removesuffix(f"-{spec.bits}bit")
    known = registry.students.get(plain)
    if known and spec == known.model_copy(update={"bits": spec.bits, "name": spec.name}):
        yield "--student", plain
    else:
        sizes = {"B": spec.bottleneck, "K": spec.layers, "R": spec.repeats, "H": spec.hidden}
        yield "--student", ",".join(f"{letter}={size}" for letter, size in sizes.items() if size is not None)
    yield "--bits", str(spec.bits)


def _budget(experiment: Experiment, registry: Registry) -> Iterator[tuple[str, str]]:
    """Yield the budget by name, and the numbers in which it differs from the one that is registered."""
    budget = experiment.budget
    name = budget.name.removesuffix("*")
    yield "--budget", name
    known = registry.budgets.get(name)
    for field in ("pairs_per_language", "assistant_pairs", "student_pairs"):
        value = getattr(budget, field)
        if value is not None and (known is None or value != getattr(known, field)):
            yield f"--{field.replace('_', '-')}", str(value)


def _changed_options(experiment: Experiment, registry: Registry) -> dict[str, Json]:
    """Return the options that are not the method's defaults; all of them where no plugin has the method."""
    method = registry.methods.get(experiment.method)
    defaults = method.read_options({}).model_dump(mode="json") if method else {}
    return {
        name: value
        for name, value in experiment.options.items()
        if value is not None and (name not in defaults or defaults[name] != value)
    }


def _value(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
