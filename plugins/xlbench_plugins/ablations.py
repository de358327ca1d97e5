"""The paper's ablations: the multistage method without one of its parts, everything else the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import Method, Options, Plan, hookimpl, presets
from xlbench_plugins import multistage

if TYPE_CHECKING:
    from xlbench.api import Experiment


class NoRecurrentOptions(multistage.MultistageOptions):
    """Which of the two readings of 'no recurrence' is meant."""

    full_depth: bool = Field(
        default=False,
        description="Keep K x R distinct layers (equal depth, a larger student) instead of K (equal size).",
    )


def without_contrastive(experiment: Experiment, options: Options) -> Plan:
    """Stage 4 compares no sentences: no matrix, no neighbours; stages 1 to 3 are shared with multistage."""
    return multistage.plan(experiment, options.model_copy(update={"matrix_weight": 0.0, "neighbour_weight": 0.0}))


def without_bottleneck(experiment: Experiment, options: Options) -> Plan:
    """Keep the full table, so without stage 2; the student is larger than its spec says, which boards show."""
    full = experiment.student.model_copy(update={"bottleneck": None})
    return multistage.plan(experiment.model_copy(update={"student": full}), options)


def without_recurrence(experiment: Experiment, options: Options) -> Plan:
    """Run each stored layer once."""
    assert isinstance(options, NoRecurrentOptions)
    spec = experiment.student
    layers = spec.layers * spec.repeats if options.full_depth else spec.layers
    once = spec.model_copy(update={"layers": layers, "repeats": 1})
    return multistage.plan(experiment.model_copy(update={"student": once}), options)


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the three ablations."""
    options, reference = multistage.MultistageOptions, multistage.REFERENCE
    return [
        Method(
            "no-contrastive",
            "multistage, but stage 4 only pulls to the teacher",
            without_contrastive,
            options,
            reference,
            presets=presets(options),
        ),
        Method(
            "no-bottleneck",
            "multistage, but with the full word table (a larger student)",
            without_bottleneck,
            options,
            reference,
            presets=presets(options),
        ),
        Method(
            "no-recurrent",
            "multistage, but every stored layer runs once (equal size, less depth)",
            without_recurrence,
            NoRecurrentOptions,
            reference,
            presets=presets(NoRecurrentOptions),
        ),
    ]
