"""The paper's ablations: the multistage method without one of its parts, everything else the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import (
    AlignOptions,
    LoopOptions,
    Method,
    Plan,
    StudentOptions,
    StudentTrainingOptions,
    TrimOptions,
    hookimpl,
    paper_values,
)
from xlbench_plugins import multistage
from xlbench_plugins.multistage import (
    BottleneckStageOptions,
    ContrastiveOptions,
    StageShareOptions,
    UnloopedOptions,
    as_multistage,
)

if TYPE_CHECKING:
    from xlbench.api import Experiment


class NoContrastiveOptions(AlignOptions, StudentOptions, BottleneckStageOptions, StageShareOptions):
    """Those of the multistage method, but for what stage 4 matches."""


class NoBottleneckOptions(
    AlignOptions, StudentTrainingOptions, TrimOptions, LoopOptions, StageShareOptions, ContrastiveOptions
):
    """Those of the multistage method, but for the bottleneck's."""


class NoRecurrentOptions(UnloopedOptions):
    """Which of the two readings of 'no recurrence' is meant."""

    full_depth: bool = Field(
        default=False,
        description="Keep K x R distinct layers (equal depth, a larger student) instead of K (equal size).",
    )


def without_contrastive(experiment: Experiment, options: NoContrastiveOptions) -> Plan:
    """Stage 4 compares no sentences: no matrix, no neighbours; stages 1 to 3 are shared with multistage."""
    return multistage.plan(experiment, as_multistage(options, matrix_weight=0.0, neighbour_weight=0.0))


def without_bottleneck(experiment: Experiment, options: NoBottleneckOptions) -> Plan:
    """Keep the full token embeddings, so without stage 2; the student is larger than its spec, as boards show."""
    full = experiment.student.model_copy(update={"bottleneck": None})
    return multistage.plan(experiment.model_copy(update={"student": full}), as_multistage(options))


def without_recurrence(experiment: Experiment, options: NoRecurrentOptions) -> Plan:
    """Run each stored layer once."""
    spec = experiment.student
    layers = spec.layers * spec.repeats if options.full_depth else spec.layers
    once = spec.model_copy(update={"layers": layers, "repeats": 1})
    return multistage.plan(experiment.model_copy(update={"student": once}), as_multistage(options))


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the three ablations."""
    no_contrastive = Method(
        "no-contrastive",
        "multistage, but stage 4 only pulls to the teacher",
        without_contrastive,
        NoContrastiveOptions,
        multistage.REFERENCE,
        presets={"paper": paper_values(NoContrastiveOptions)},
    )
    no_bottleneck = Method(
        "no-bottleneck",
        "multistage, but with the full token embeddings (a larger student)",
        without_bottleneck,
        NoBottleneckOptions,
        multistage.REFERENCE,
        presets={"paper": paper_values(NoBottleneckOptions)},
    )
    no_recurrent = Method(
        "no-recurrent",
        "multistage, but every stored layer runs once (equal size, less depth)",
        without_recurrence,
        NoRecurrentOptions,
        multistage.REFERENCE,
        presets={"paper": paper_values(NoRecurrentOptions)},
    )
    return [no_contrastive, no_bottleneck, no_recurrent]
