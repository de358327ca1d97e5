"""The scores of an encoder by subset and task, and their means. Imports neither torch nor mteb."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.experiment import Family, Measure, Precision, measure_of
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

MAIN_METRIC: dict[Measure, str] = {"sts": "cosine_spearman", "bitext": "f1"}


class SubsetScores(Frozen):
    """The scores of one subset."""

    items: int = Field(ge=1, description="Sentence pairs.")
    main: float | None = Field(description="The family's main metric, times 100; None where it is undefined.")
    metrics: dict[str, float] = Field(
        description="All metrics of MTEB's task by their names, times 100; undefined ones are left out."
    )
    undefined: str | None = Field(default=None, description="Why the main metric is undefined.")


class TaskScores(Frozen):
    """The scores of one task."""

    family: Family
    split: str
    metric: str = Field(description="MTEB's name of the main metric.")
    data: str = Field(description="What identifies its data: 'sha256:...' of a local copy, or hub name and revision.")
    subsets: dict[str, SubsetScores] = Field(description="In the order of the suite.")

    @property
    def measure(self) -> Measure:
        """How its items are scored and compared."""
        return measure_of(self.family)

    def mean(self) -> float | None:
        """Return the mean main score over the subsets where it is defined, all of the same weight; None without any."""
        defined = [subset.main for subset in self.subsets.values() if subset.main is not None]
        return fmean(defined) if defined else None

    def undefined(self) -> dict[str, str]:
        """Return the subsets whose main score is undefined, each with the reason."""
        return {name: subset.undefined or "" for name, subset in self.subsets.items() if subset.main is None}


class SuiteScores(Frozen):
    """The scores of an encoder on a suite."""

    suite: str
    example: bool = Field(description="The suite is a working example and not a benchmark.")
    tasks: dict[str, TaskScores] = Field(description="By their names in tables, in the order of the suite.")
    families: dict[Family, float | None] = Field(
        description="Mean main score over the subsets of a task, then over the family's tasks; where a score is"
        " undefined it is not part of the mean, and a mean of nothing is None."
    )
    sentences: int = Field(ge=1, description="Number of distinct sentences; each is encoded once.")
    mean_cosine: float = Field(description="Mean cosine over all pairs of different sentences.")
    collapsed: bool = Field(
        description="The mean cosine is near 1, or most embeddings are zero: the scores mean nothing."
    )
    unknown: dict[str, float] = Field(
        default_factory=dict,
        description="Share of unknown tokens, 0 to 1, in each language in which it is high.",
    )
    encode_seconds: float = Field(ge=0, description="Seconds that encoding the sentences took.")
    precision: Precision
    mteb_version: str


def family_means(tasks: Iterable[TaskScores]) -> dict[Family, float | None]:
    """Return the mean of the defined task means for each family, in order of first appearance; None without any."""
    means: dict[Family, list[float]] = {}
    for task in tasks:
        found = means.setdefault(task.family, [])
        if (mean := task.mean()) is not None:
            found.append(mean)
    return {family: fmean(values) if values else None for family, values in means.items()}
