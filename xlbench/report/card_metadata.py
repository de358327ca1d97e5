"""The front matter of a model card, as the hub and MTEB read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.corpora.corpus import parse_reference
from xlbench.errors import XlbenchError
from xlbench.scoring.data import read_declaration

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

    from xlbench.experiment import Experiment, Measure, TaskRef
    from xlbench.records.record import Record
    from xlbench.report.card_facts import CardFacts
    from xlbench.scoring.scores import TaskScores

PIPELINE = "sentence-similarity"
TAGS = ("sentence-transformers", PIPELINE, "feature-extraction", "cross-lingual", "knowledge-distillation", "xlbench")
TYPES: dict[Measure, str] = {"sts": "STS", "bitext": "BitextMining"}  # MTEB's names
DIGITS = 4


def card_metadata(facts: CardFacts) -> ModelCardData:
    """Return the front matter: languages, licence, base model, and the scores as ``model-index``."""
    from huggingface_hub import ModelCardData

    record = facts.record
    tags = [tag for tag in TAGS if tag != "sentence-transformers" or facts.library == tag]
    if record is None or record.experiment is None:
        return ModelCardData(library_name=facts.library, pipeline_tag=PIPELINE, tags=tags)
    results = _results(record, record.experiment)
    if results and not record.scores.example:
        tags.append("mteb")
    assistant = record.experiment.assistant
    notes = facts.encoders.get(assistant.name)
    return ModelCardData(
        language=languages_of_student(record),
        license=(notes.license or None) if notes else None,
        library_name=facts.library,
        pipeline_tag=PIPELINE,
        tags=tags,
        base_model=(notes.published or None) if notes else None,
        datasets=_datasets(record.experiment) or None,
        model_name=facts.name if results else None,
        eval_results=results or None,
    )


def languages_of_student(record: Record) -> list[str]:
    """Return the languages that a student was trained on, English first, in ISO 639 without regions."""
    trained = record.experiment.data.languages if record.experiment else ()
    return list(dict.fromkeys(code.partition("-")[0] for code in ("en", *sorted(trained))))


def _datasets(experiment: Experiment) -> list[str]:
    """Return the corpora that are on the hub."""
    parsed = [parse_reference(corpus.reference) for corpus in experiment.data.corpora]
    return [it.argument.partition("@")[0] for it in parsed if it.scheme == "hub"]


def _results(record: Record, experiment: Experiment) -> list[EvalResult]:
    """Return the score of each subset where it is defined."""
    asked = {ref.name: ref for ref in experiment.suite.tasks}
    return [
        result
        for task, scores in record.scores.tasks.items()
        for result in _task_results(asked.get(task), task, scores)
    ]


def _task_results(ref: TaskRef | None, task: str, scores: TaskScores) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    path, revision = _dataset(ref, scores)
    return [
        EvalResult(
            task_type=TYPES[scores.measure],
            dataset_type=path or task,
            dataset_name=f"{task} ({subset})",
            dataset_config=subset,
            dataset_split=scores.split,
            dataset_revision=revision,
            metric_type=scores.metric,
            metric_value=round(cell.main, DIGITS),
        )
        for subset, cell in scores.subsets.items()
        if cell.main is not None
    ]


def _dataset(ref: TaskRef | None, scores: TaskScores) -> tuple[str | None, str | None]:
    """Return where the data of a task is on the hub, and the commit that was scored.

    A local copy is known by its digest only, so that it has no commit.
    """
    try:
        declared = read_declaration(ref).path if ref else None
    except XlbenchError:  # the package that brings the task is not installed here
        declared = None
    path, at, revision = scores.data.partition("@")
    return (path, revision.partition("+")[0]) if at else (declared, None)
