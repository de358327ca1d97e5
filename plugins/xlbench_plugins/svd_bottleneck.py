"""No stage 2: the word table's truncated factorisation alone, with no training after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.api import Bottleneck, Loop, Method, Options, Plan, Stage, XlbenchError, hookimpl

if TYPE_CHECKING:
    from xlbench.api import Edit, Experiment

REFERENCE = "Lan et al., ICLR 2020, arXiv:1909.11942 (the factors); Ding et al., 2022, arXiv:2209.05869 (stage 2)"


class SvdOptions(Options):
    """How the table is factorised, and what becomes of the layers."""

    weighting: Literal["frequency", "uniform"] = Field(
        default="frequency", description="What a token's error counts for; uniform is the plain truncated SVD."
    )
    full_depth: bool = Field(
        default=True,
        description="Keep all the assistant's layers (a larger student than its spec says) and not K x R of them.",
    )
    layer_choice: Literal["spaced", "first", "last"] = Field(
        default="spaced", description="Which layers are kept without full_depth."
    )
    loop_order: Literal["cycle", "adjacent"] = Field(
        default="adjacent", description="Without full_depth: looped layers run 1, 1, 2, 2, ... or 1..K, 1..K, ..."
    )


def plan(experiment: Experiment, options: Options) -> Plan:
    """Factorise; `multistage -o bottleneck_share=0` does the same and goes on to stages 3 and 4."""
    assert isinstance(options, SvdOptions)
    spec = experiment.student
    if spec.bottleneck is None:
        raise XlbenchError(f"Student '{spec.name}' has no bottleneck to factorise to.", "Choose one that has.")
    edits: tuple[Edit, ...] = (Bottleneck(width=spec.bottleneck, weighting=options.weighting),)
    if not options.full_depth:
        choice, order = options.layer_choice, options.loop_order
        edits += (Loop(layers=spec.layers, repeats=spec.repeats, choice=choice, order=order),)
    return Plan((Stage("factorised", "assistant", edits),), "factorised")


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the method."""
    summary = "truncated factorisation of the word table, nothing trained"
    return [Method("svd-bottleneck", summary, plan, SvdOptions, REFERENCE)]
