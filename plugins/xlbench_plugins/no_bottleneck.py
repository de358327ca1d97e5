"""Ablation: the multistage method with the assistant's full word table, so without stage 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.api import Method, Options, Plan, hookimpl, presets
from xlbench_plugins import multistage

if TYPE_CHECKING:
    from xlbench.api import Experiment


def plan(experiment: Experiment, options: Options) -> Plan:
    """Keep the full table; the student is larger than its spec says, which boards show."""
    full = experiment.student.model_copy(update={"bottleneck": None})
    return multistage.plan(experiment.model_copy(update={"student": full}), options)


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the method."""
    summary = "multistage, but with the full word table (a larger student)"
    options = multistage.MultistageOptions
    return [Method("no-bottleneck", summary, plan, options, multistage.REFERENCE, presets=presets(options))]
