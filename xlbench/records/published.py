"""Scores that others measured and MTEB publishes, for the tasks of the paper's suite; they ship with xlbench."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.errors import XlbenchError, look_up
from xlbench.experiment import task_of
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xlbench.experiment import Family
    from xlbench.scoring.scores import SuiteScores, TaskScores


class PublishedRow(Frozen):
    """Scores that somebody else measured and published: shown for comparison, never ranked."""

    name: str
    citation: str = Field(description="Where they were published.")
    commit: str = Field(description="Which version of it.")
    scores: dict[str, dict[str, float]] = Field(description="Published main scores x 100 by task and subset.")
    parameters: int | None = Field(default=None, description="All of the encoder's; None where they are not published.")


class PublishedTask(Frozen):
    """A published result of one model on one task."""

    model_revision: str = Field(description="Hub commit of the model.")
    data_revision: str = Field(description="Hub commit of the data.")
    mteb: str = Field(description="Version of the harness, or the first and the last of several.")
    scores: dict[str, float] = Field(description="Main score x 100 by subset; not all have been measured.")


class PublishedModel(Frozen):
    """A model and its published results."""

    parameters: int | None
    tasks: dict[str, PublishedTask]


class PublishedData(Frozen):
    """The file of published scores: where they are from, and what they measure."""

    citation: str
    commit: str
    metric: str
    parameters: str = Field(description="Where the models' sizes are from.")
    models: dict[str, PublishedModel]


@cache
def published_data() -> PublishedData:
    """Return the published scores that ship with xlbench."""
    text = files("xlbench.records").joinpath("data", "published_mteb.json").read_text("utf-8")
    return PublishedData.model_validate(json.loads(text))


def published_row(model: str, tasks: Mapping[str, TaskScores]) -> PublishedRow:
    """Return a model's published scores on the subsets that a board's records are scored on.

    A task is left out if its scores were published for another revision of the data.

    Args:
        model: Its name on the hub.
        tasks: The tasks of the board's records.

    Raises:
        XlbenchError: The model has no published scores, or none on these subsets.
    """
    found = check_published(model, tasks)
    scores = {
        task: {subset: published.scores[subset] for subset in own.subsets if subset in published.scores}
        for task, own in tasks.items()
        if (published := found.tasks.get(task_of(task))) and same_data(own.data, published.data_revision)
    }
    scores = {task: subsets for task, subsets in scores.items() if subsets}
    if not scores:
        raise XlbenchError(
            f"The published scores of '{model}' are on other subsets or other data than this board's.",
            "Leave the [[published]] row out.",
        )
    data = published_data()
    return PublishedRow(
        name=model, citation=data.citation, commit=data.commit, scores=scores, parameters=found.parameters
    )


def check_published(model: str, tasks: Iterable[str]) -> PublishedModel:
    """Return a model's published scores.

    Raises:
        XlbenchError: The model has no published scores, or none on any of these tasks.
    """
    found = look_up("published model", model, published_data().models)
    if not found.tasks.keys() & set(map(task_of, tasks)):
        raise XlbenchError(
            f"There are no published scores of '{model}' on {', '.join(tasks)}.",
            f"There are scores on {', '.join(found.tasks)}: leave the [[published]] row out or score another suite.",
        )
    return found


def published_family_mean(row: PublishedRow, family: Family, scores: SuiteScores) -> float | None:
    """Return a published row's mean in a family; None unless it has every subset of the records' mean."""
    means = [published_task_mean(row, task, scores) for task, own in scores.tasks.items() if own.family == family]
    if any(mean is None or published < scored for mean, published, scored in means):
        return None
    return fmean(mean for mean, _, _ in means if mean is not None)


def published_task_mean(row: PublishedRow, task: str, scores: SuiteScores) -> tuple[float | None, int, int]:
    """Return a published row's mean over the records' subsets, how many it has of them, and how many there are."""
    scored = scores.tasks[task].subsets
    published = [value for subset, value in row.scores.get(task, {}).items() if subset in scored]
    return (fmean(published) if published else None), len(published), len(scored)


def same_data(own: str, revision: str) -> bool:
    """Return whether data may be the same; a local copy, whose revision is unknown, always may."""
    name, at, commit = own.rpartition("@")
    return not (at and name) or commit.partition("+")[0] == revision
