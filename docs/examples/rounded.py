"""A plugin as one file: a student whose matrices are rounded to a few bits, after a stage of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import (
    Frozen,
    Method,
    Options,
    Plan,
    Stage,
    StageOptions,
    centred,
    contrastive,
    embedding_edits,
    hookimpl,
    loop_edit,
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
        context.annotate("bits", self.bits)  # stands in the record
        return model


class RoundedOptions(StageOptions):
    """What `-o` takes."""

    bits: int = Field(default=8, ge=2, le=16, description="Of a weight in a matrix.")


def plan(experiment: Experiment, options: Options) -> Plan:
    """Cut and train, then round: two stages, of which only the first one trains."""
    assert isinstance(options, RoundedOptions)
    edits = (*embedding_edits(experiment, options), loop_edit(experiment, options))
    pairs = experiment.budget.student_pairs
    trained = contrastive(
        experiment, options, "assistant", pairs, matrix_weight=10.0, teacher_share=0.5, edits=edits, name="trained"
    )
    rounded = Stage("rounded", "trained", (Rounded(bits=options.bits),))
    stages = (*centred(experiment, options), trained, rounded)
    return Plan(stages, result="rounded", teacher=teacher_names(experiment, options)[0])


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the method."""
    reference = "Jacob et al., CVPR 2018, arXiv:1712.05877"
    return [Method("rounded", "trained in one stage, then rounded to 8 bits", plan, RoundedOptions, reference)]
