"""No stage 2: the token embeddings' truncated factorisation alone, with no training after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.api import Bottleneck, LoopOptions, Method, Plan, Stage, XlbenchError, hookimpl, layer_edit

if TYPE_CHECKING:
    from xlbench.api import Edit, Experiment

REFERENCE = "Lan et al., ICLR 2020, arXiv:1909.11942 (the factors); Ding et al., 2022, arXiv:2209.05869 (stage 2)"


class SvdOptions(LoopOptions):
    """How the token embeddings are factorised, and what becomes of the layers."""

    weighting: Literal["frequency", "uniform"] = Field(
        default="frequency", description="What a token's error counts for; uniform is the plain truncated SVD."
    )
    full_depth: bool = Field(
        default=True,
        description="Keep all the assistant's layers (a larger student than its spec says) and not K, looped R times.",
    )


def plan(experiment: Experiment, options: SvdOptions) -> Plan:
    """Factorise; `multistage -o bottleneck_share=0` does the same and goes on to stages 3 and 4."""
    spec = experiment.student
    if spec.bottleneck is None:
        raise XlbenchError(f"Student '{spec.name}' has no bottleneck to factorise to.", "Choose one that has.")
    edits: tuple[Edit, ...] = (Bottleneck(width=spec.bottleneck, weighting=options.weighting),)
    if not options.full_depth:
        edits += (layer_edit(experiment, options),)
    return Plan((Stage("factorised", "assistant", edits),), "factorised")


@hookimpl
def xlbench_methods() -> list[Method[SvdOptions]]:
    """Register the method."""
    summary = "truncated factorisation of the token embeddings, nothing trained"
    return [Method("svd-bottleneck", summary, plan, SvdOptions, REFERENCE)]
