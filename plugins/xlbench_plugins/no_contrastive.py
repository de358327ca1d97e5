"""Ablation: the multistage method without what stage 4 compares sentences with: the matrix and the neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.api import Method, Options, Plan, hookimpl, presets
from xlbench_plugins import multistage

if TYPE_CHECKING:
    from xlbench.api import Experiment


def plan(experiment: Experiment, options: Options) -> Plan:
    """Give these terms no weight; everything else stays, so stages 1 to 3 are shared with multistage."""
    return multistage.plan(experiment, options.model_copy(update={"matrix_weight": 0.0, "neighbour_weight": 0.0}))


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the method."""
    summary = "multistage, but stage 4 only pulls to the teacher"
    options = multistage.MultistageOptions
    return [Method("no-contrastive", summary, plan, options, multistage.REFERENCE, presets=presets(options))]
