"""A plugin as one file: a student whose matrices are rounded to a few bits, after a stage of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import (
    CentreOptions,
    Frozen,
    Method,
    Plan,
    Stage,
    StudentOptions,
    centre_stages,
    contrastive_stage,
    cut_edits,
    hookimpl,
    teacher_names,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from xlbench.api import Experiment, Shape, StageContext


class Rounded(Frozen):
    """Every matrix on a grid: each row in steps of its largest value / (2^(bits - 1) - 1)."""

    bits: int = Field(ge=2, le=16)

    def inputs(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the same shape."""
        return shape

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Round what a file of so many bits would hold; the weights stay float32."""
        state = model.state_dict()
        for name, tensor in state.items():
            if tensor.is_floating_point() and tensor.ndim == 2:
                step = tensor.abs().amax(dim=1, keepdim=True).clamp(min=1e-30) / (2 ** (self.bits - 1) - 1)
                state[name] = (tensor / step).round() * step
        model.load_state_dict(state)
        context.annotate("bits", self.bits)  # kept in the record
        return model


class RoundedOptions(CentreOptions, StudentOptions):
    """What `-o` takes."""

    bits: int = Field(default=8, ge=2, le=16, description="Of a weight in a matrix.")


def plan(experiment: Experiment, options: RoundedOptions) -> Plan:
    """Cut and train, then round: two stages, of which only the first one trains."""
    teacher = teacher_names(experiment, options)[0]
    pairs, edits = experiment.budget.student_pairs, cut_edits(experiment, options)
    trained = contrastive_stage(experiment, options, "assistant", pairs, teacher=teacher, edits=edits, name="trained")
    rounded = Stage("rounded", "trained", (Rounded(bits=options.bits),))
    return Plan((*centre_stages(experiment, options), trained, rounded), result="rounded", teacher=teacher)


@hookimpl
def xlbench_methods() -> list[Method[RoundedOptions]]:
    """Register the method."""
    reference = "Jacob et al., CVPR 2018, arXiv:1712.05877"
    return [Method("rounded", "trained in one stage, then rounded to 8 bits", plan, RoundedOptions, reference)]
