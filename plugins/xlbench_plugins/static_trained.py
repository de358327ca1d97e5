"""A static student that is trained: the table of token vectors learns from the teacher, as any other student does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import (
    BlendOptions,
    MatrixOptions,
    Method,
    NeighbourOptions,
    Plan,
    PullToTarget,
    Stage,
    StepOptions,
    TokenVectors,
    TrimOptions,
    blends,
    centre_stages,
    english_target,
    hookimpl,
    make_training,
    neighbour_terms,
    shown_teacher,
    similarity_terms,
    teacher_names,
    trim_edits,
)

if TYPE_CHECKING:
    from xlbench.api import Experiment, Objective

REFERENCE = "Tulkens & van Dongen, model2vec (tokenlearn), 2024, doi:10.5281/zenodo.17270888; Reimers & Gurevych, 2020"


class StaticTrainingOptions(BlendOptions, StepOptions):
    """How the table is trained."""

    batch_size: int = Field(default=1024, ge=4, le=4096, description="Sentence pairs in a step.")
    english_share: float = Field(
        default=1.0, gt=0, le=1, description="Share of a batch's pairs whose English side the student reads too."
    )
    learning_rate: float = Field(default=5e-3, gt=0, le=1, description="Peak learning rate of the table.")
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="AdamW's weight decay.")
    pairs_factor: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="Pairs seen, times the budget's for a student: a step takes a small part of a transformer's time.",
    )


class StaticTermOptions(MatrixOptions, NeighbourOptions):
    """What the table learns beside the pull to the teacher's vectors."""

    matrix_weight: float = Field(default=0.0, ge=0, description="Weight of matching the teacher's similarity matrix.")
    neighbour_weight: float = Field(
        default=30.0, ge=0, description="Weight of matching each sentence's nearest English neighbours."
    )


class StaticTrainedOptions(StaticTrainingOptions, StaticTermOptions, TrimOptions):
    """What the table starts from, and how it is trained."""

    smoothing: float = Field(
        default=1e-4, gt=0, le=1, description="a of the weight a / (a + p) of a token with the share p of the corpus."
    )


def plan(experiment: Experiment, options: StaticTrainedOptions) -> Plan:
    """Take each token's vector from the teacher's space and train all of them in one stage."""
    teacher = teacher_names(experiment, options)[0]
    objectives: tuple[Objective, ...] = (
        PullToTarget(target=english_target(teacher)),
        *similarity_terms(teacher_names(experiment, options), options.matrix_weight, options),
        *neighbour_terms(teacher, options.neighbour_weight, options),
    )
    training = make_training(
        experiment,
        options,
        objectives,
        experiment.budget.student_pairs * options.pairs_factor,
        learning_rate=options.learning_rate,
    )
    vectors = TokenVectors(depth="encoder", smoothing=options.smoothing, fit="none")
    student = Stage("student", "assistant", (*trim_edits(options), vectors), training)
    return Plan(
        (*centre_stages(experiment, options), student),
        "student",
        teacher=shown_teacher(experiment, options),
        blends=blends(experiment, options),
    )


@hookimpl
def xlbench_methods() -> list[Method[StaticTrainedOptions]]:
    """Register the method."""
    summary = "a static student whose token vectors are trained: no encoder, very fast"
    return [Method("static-trained", summary, plan, StaticTrainedOptions, REFERENCE)]
