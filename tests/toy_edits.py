"""A plugin as one file, with edits of its own: averaging two checkpoints, and a PCA of what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.api import BottleneckOptions, Frozen, Method, Options, Plan, Stage, bottleneck_edits, encode, hookimpl

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from xlbench.api import Experiment, Shape, StageContext


class Average(Frozen):
    """The mean of its start's weights and another stage's."""

    other: str

    def inputs(self) -> tuple[str, ...]:
        """Return the other one."""
        return (self.other,)

    def reshape(self, shape: Shape) -> Shape:
        """Return the same shape."""
        return shape

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Average."""
        other = context.load(self.other).state_dict()
        model.load_state_dict({name: (tensor + other[name]) / 2 for name, tensor in model.state_dict().items()})
        context.annotate("checkpoints", 2)
        return model


class Narrow(Frozen):
    """A dense map on the principal axes of the corpus's English vectors."""

    width: int
    declared: int  # what reshape says, so that a test can make it lie

    def inputs(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the shape with the map."""
        return shape.model_copy(update={"dimension": self.declared, "head": shape.head + shape.width * self.declared})

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Append the map."""
        import numpy as np
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Dense

        vectors = encode(model, context.english_sample(100))
        axes = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)[2][: self.width]
        dense = Dense(vectors.shape[1], self.width, bias=False, activation_function=torch.nn.Identity())
        dense.linear.weight.data = torch.tensor(axes.copy())
        return SentenceTransformer(modules=[*model, dense], device="cpu")


class NarrowOptions(Options):
    """How narrow."""

    width: int = 4
    declared: int = 4


def average(experiment: Experiment, options: Options) -> Plan:
    """Two students with random bottlenecks, averaged."""
    random = BottleneckOptions(bottleneck_start="random")
    stages = [
        Stage(f"student-{seed}", "assistant", bottleneck_edits(experiment.model_copy(update={"seed": seed}), random))
        for seed in (1, 2)
    ]
    return Plan((*stages, Stage("average", "student-1", (Average(other="student-2"),))), "average")


def narrow(experiment: Experiment, options: NarrowOptions) -> Plan:
    """The assistant with narrow vectors."""
    return Plan((Stage("narrow", "assistant", (Narrow(width=options.width, declared=options.declared),)),), "narrow")


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register both."""
    averaged = Method("average", "two students, averaged", average, Options)
    narrowed = Method("narrow", "a dense map after the assistant", narrow, NarrowOptions)
    return [averaged, narrowed]
