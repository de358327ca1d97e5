"""The multistage method with narrow maps in all layers, where it has a few layers that are looped.

A student of K layers that run R times each stores 1 / R of the layers that a sentence passes through. The same bytes
hold all K R layers with maps of low rank, 1 / R of the parameters each, and these are also 1 / R of the products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import LowRank, Method, Plan, XlbenchError, hookimpl, paper_values
from xlbench_plugins import multistage
from xlbench_plugins.multistage import UnloopedOptions, as_multistage

if TYPE_CHECKING:
    from xlbench.api import Experiment

REFERENCE = "maps: Wang et al., ICLR 2025, arXiv:2403.07378; stages: Ding et al., 2022, arXiv:2209.05869"


class LowRankOptions(UnloopedOptions):
    """How narrow the maps are."""

    rank_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of the maps' parameters that is kept; None: 1 / R, the size that the student spec says.",
    )


def plan(experiment: Experiment, options: LowRankOptions) -> Plan:
    """Keep K R layers, run each once, and factorise their maps."""
    spec = experiment.student
    if spec.repeats == 1 and options.rank_share is None:
        raise XlbenchError(
            f"Student '{spec.name}' runs its layers once: its size leaves no narrower maps to choose.",
            "Choose one with loops, e.g. minilm-half, or say how narrow: -o rank_share=0.5.",
        )
    once = spec.model_copy(update={"layers": spec.layers * spec.repeats, "repeats": 1})
    narrow = LowRank(share=options.rank_share or 1 / spec.repeats)
    return multistage.plan(experiment.model_copy(update={"student": once}), as_multistage(options), (narrow,))


@hookimpl
def xlbench_methods() -> list[Method[LowRankOptions]]:
    """Register the method."""
    summary = "multistage, but all K x R layers with maps of low rank in place of loops (equal size, less work)"
    presets = {"paper": paper_values(LowRankOptions)}
    return [Method("low-rank", summary, plan, LowRankOptions, REFERENCE, presets=presets)]
