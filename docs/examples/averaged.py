"""A plugin as one file: a student averaged with its own start, after a stage of training (WiSE-FT)."""

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
    hookimpl,
    loop_edit,
    teacher_names,
    word_edits,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from xlbench.api import Experiment, Shape, Workshop


class Average(Frozen):
    """The weights of the stage's start, mixed with those of another source of the same shape."""

    other: str
    share: float = Field(ge=0, le=1, description="Of the other one.")

    def sources(self) -> tuple[str, ...]:
        """Return the other one: a stage's key covers everything that it reads."""
        return (self.other,)

    def reshape(self, shape: Shape) -> Shape:
        """Return the same shape."""
        return shape

    def apply(self, model: SentenceTransformer, workshop: Workshop) -> SentenceTransformer:
        """Mix the weights, tensor by tensor."""
        theirs = workshop.load(self.other).state_dict()
        mixed = {name: tensor.lerp(theirs[name], self.share) for name, tensor in model.state_dict().items()}
        model.load_state_dict(mixed)
        workshop.tell("averaged with", self.other)  # stands in the record
        return model


class AveragedOptions(StageOptions):
    """What `-o` takes."""

    start_share: float = Field(default=0.3, ge=0, le=1, description="What the untrained weights count for.")


def plan(experiment: Experiment, options: Options) -> Plan:
    """Cut, train, average: three stages, of which only the second one trains."""
    assert isinstance(options, AveragedOptions)
    cut = Stage("cut", "assistant", (*word_edits(experiment, options), loop_edit(experiment, options)))
    pairs = experiment.budget.student_pairs
    trained = contrastive(experiment, options, "cut", pairs, matrix_weight=10.0, teacher_share=0.5, name="trained")
    average = Stage("averaged", "trained", (Average(other="cut", share=options.start_share),))
    stages = (*centred(experiment, options), cut, trained, average)
    return Plan(stages, result="averaged", teacher=teacher_names(experiment, options)[0])


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the method."""
    reference = "Wortsman et al., CVPR 2022, arXiv:2109.01903"
    return [Method("averaged", "trained in one stage, then averaged with its start", plan, AveragedOptions, reference)]
