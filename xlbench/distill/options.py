"""Options that several methods share, in small groups: a method has the groups that it uses, and options of its own.

An option of a group changes what every method that has it does; the conformance kit looks for those that do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from xlbench.distill.blend import parse_weights
from xlbench.distill.method import Options
from xlbench.experiment import LARGEST_SEED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlbench.distill.method import Scalar


class CentreOptions(Options):
    """Centring of the teachers' vectors."""

    centre: bool = Field(
        default=True, description="Subtract the corpus's mean English vector from the teachers' vectors."
    )


class BlendOptions(CentreOptions):
    """Blending of several teachers into one target space."""

    blend: str | None = Field(
        default=None,
        examples=["1", "1,1"],
        # Left out where there is none, so that experiments from before there were blends are the same.
        exclude_if=lambda blend: blend is None,
        description="Weights of the teachers, in their order, in a target space that is blended of them all: 0.3,0.7."
        " None: the first teacher alone gives the target space, and the others join the similarity matrix; where no"
        " stage has one, they are refused.",
    )

    @field_validator("blend", mode="before")
    @classmethod
    def _as_text(cls, blend: object) -> object:
        """Take a single weight as a number too."""
        return f"{blend:g}" if isinstance(blend, int | float) and not isinstance(blend, bool) else blend

    @field_validator("blend")
    @classmethod
    def _weights(cls, blend: str | None) -> str | None:
        return None if blend is None else ",".join(f"{weight:g}" for weight in parse_weights(blend))


class StepOptions(Options):
    """Training of every stage."""

    batch_size: int = Field(default=64, ge=4, le=4096, description="Sentence pairs in a step.")
    english_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="Share of a batch's pairs whose English side the student encodes too. Every pair has one, so a part"
        " of them is enough.",
    )
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="AdamW's weight decay, on matrices only.")
    max_tokens: int = Field(default=128, ge=8, le=512, description="Longer sentences are cut to this many tokens.")
    evaluations: int = Field(
        default=4,
        ge=1,
        le=100,
        description="Evaluations on the dev pairs in a stage; fewer where it sees few pairs.",
    )


class TrainingOptions(StepOptions):
    """Dropout while training."""

    dropout: bool = Field(default=False, description="Keep the encoder's own dropout while training.")


class StudentTrainingOptions(TrainingOptions):
    """Training of the student's stages."""

    learning_rate: float = Field(default=6e-4, gt=0, le=1, description="Peak learning rate of the student's stages.")


class TrimOptions(Options):
    """Trimming of the vocabulary."""

    trim: bool = Field(
        default=False, description="Drop the tokens that the corpus never uses; other languages are given up."
    )


class BottleneckOptions(Options):
    """Narrowing of the token embeddings."""

    bottleneck_start: Literal["pca", "random"] = Field(
        default="pca", description="The bottleneck's first values: PCA of the token embeddings, or random (the paper)."
    )
    bottleneck_weighting: Literal["frequency", "uniform"] = Field(
        default="frequency", description="What a token counts for in the PCA: as often as it occurs, or all the same."
    )
    frequent_share: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="Share of the bottleneck's parameters that goes into whole rows of the corpus's most frequent"
        " tokens. The size stays the same: the bottleneck gets narrower for all other tokens.",
    )


class LayerOptions(Options):
    """Choice of the assistant's layers."""

    layer_choice: Literal["spaced", "first", "last"] = Field(
        default="spaced", description="Layers that are kept: evenly spaced, the first ones or the last ones."
    )


class LoopOptions(LayerOptions):
    """Looping of layers."""

    loop_order: Literal["cycle", "adjacent"] = Field(
        default="adjacent", description="Looped layers run 1, 1, 2, 2, ... (adjacent) or 1..K, 1..K, ... (the paper)."
    )


class EmbeddingOptions(TrimOptions, BottleneckOptions):
    """Trimming and narrowing of the token embeddings."""


# Two bases at most where groups are put together: pydantic's plugin for mypy calls three of them a conflict.
class CutOptions(EmbeddingOptions, LoopOptions):
    """Cutting a student from the assistant: vocabulary, token embeddings and layers."""


class StudentOptions(StudentTrainingOptions, CutOptions):
    """Cutting a student from the assistant, and training it."""


class MatrixOptions(Options):
    """Matching of similarity matrices."""

    matrix_sides: Literal["across", "all"] = Field(
        default="all",
        description="What is compared: English with the other language (the paper), or each with itself as well.",
    )
    teacher_share: float = Field(
        default=0.35, gt=0, lt=1, description="Share of the second and further teachers in the similarity matrix."
    )


class NeighbourOptions(Options):
    """Matching of nearest English neighbours."""

    neighbour_temperature: float = Field(
        default=0.05, gt=0, description="Temperature of the softmax over neighbours: the lower, the fewer count."
    )
    neighbour_bank: int = Field(
        default=16384,
        ge=0,
        le=1_000_000,
        description="English sentences drawn for each batch that may be neighbours too, beside the batch's own.",
    )


class AlignOptions(BlendOptions, TrainingOptions, MatrixOptions, NeighbourOptions):
    """Stage 1: aligning the assistant to the teacher."""

    blend_matrix: Literal["reduced", "joint"] = Field(
        default="reduced",
        exclude_if=lambda space: space == "reduced",
        description="Where teachers are blended, whose cosines the similarity matrix has: of the blend at the"
        " assistant's width, or of all the teachers' dimensions together.",
    )
    assistant_learning_rate: float = Field(default=1e-4, gt=0, le=1, description="Peak learning rate of stage 1.")
    assistant_seed: int = Field(
        default=0, ge=0, le=LARGEST_SEED, description="Seed of stage 1: all seeds of a comparison share one assistant."
    )
    assistant_embeddings: bool = Field(default=False, description="Train the assistant's token embeddings too.")
    assistant_matrix_weight: float = Field(
        default=10.0,
        ge=0,
        description="Weight of matching the teacher's similarity matrix; the paper matches it in stage 4 only.",
    )
    assistant_neighbour_weight: float = Field(
        default=30.0, ge=0, description="Weight of matching each sentence's nearest English neighbours."
    )
    assistant_own_weight: float = Field(
        default=0.0,
        ge=0,
        description="Weight of keeping each sentence near the assistant's own vector of it before stage 1.",
    )
    assistant_start_share: float = Field(
        default=0.25,
        ge=0,
        lt=1,
        description="Share of the weights before stage 1 in their average with those after it; 0: no averaging.",
    )


PAPER: Mapping[str, Scalar] = {
    "centre": False,
    "batch_size": 64,
    "english_share": 1.0,
    "bottleneck_batch_size": 256,
    "learning_rate": 1.6e-4,
    "weight_decay": 0.01,
    "dropout": True,
    "max_tokens": 128,
    "bottleneck_start": "random",
    "frequent_share": 0.0,
    "layer_choice": "first",
    "loop_order": "cycle",
    "assistant_learning_rate": 2e-5,
    "assistant_embeddings": True,
    "assistant_matrix_weight": 0.0,
    "assistant_neighbour_weight": 0.0,
    "assistant_start_share": 0.0,
    "matrix_sides": "across",
    "bottleneck_share": 0.125,
    "recurrent_share": 0.125,
    "contrastive_pairs": 0,
    "matrix_weight": 1.0,
    "neighbour_weight": 0.0,
}
"""The published settings: those of Ding et al. (2022) for the student (stages 2 to 4 had 10, 10 and 60 epochs, so an
eighth, an eighth and the rest of the pairs), those of Reimers & Gurevych (2020) for stage 1."""


def paper_values(options: type[Options]) -> dict[str, Scalar]:
    """Return the published values of those options that a method has: its preset ``paper``."""
    return {option: value for option, value in PAPER.items() if option in options.model_fields}
