"""Ablation: the multistage method with layers that run once."""

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


def plan(experiment: Experiment, options: Options) -> Plan:
    """Run each stored layer once."""
    assert isinstance(options, NoRecurrentOptions)
    spec = experiment.student
    layers = spec.layers * spec.repeats if options.full_depth else spec.layers
    once = spec.model_copy(update={"layers": layers, "repeats": 1})
    return multistage.plan(experiment.model_copy(update={"student": once}), options)


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the method."""
    summary = "multistage, but every stored layer runs once (equal size, less depth)"
    return [
        Method(
            "no-recurrent", summary, plan, NoRecurrentOptions, multistage.REFERENCE, presets=presets(NoRecurrentOptions)
        )
    ]
