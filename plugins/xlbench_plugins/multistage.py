"""The method of Ding et al. (2022): assistant, bottleneck, recurrent layers, multilingual contrastive learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import (
    AlignOptions,
    EmbeddingOptions,
    LayerOptions,
    Method,
    Options,
    Plan,
    StudentOptions,
    StudentTrainingOptions,
    align_stages,
    blends,
    bottleneck_stage,
    centre_stages,
    contrastive_stage,
    embedding_edits,
    hookimpl,
    layer_edit,
    matrix_teachers,
    neighbour_terms,
    paper_values,
    recurrent_stage,
    shown_teacher,
    similarity_terms,
    teacher_names,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.api import Edit, Experiment, Objective, Stage

REFERENCE = "Ding et al., Findings of NAACL 2022, arXiv:2209.05869"


class BottleneckStageOptions(Options):
    """Stage 2: fitting the narrow token embeddings."""

    bottleneck_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the student's pairs for stage 2; 0: the bottleneck stays as it was cut.",
    )
    bottleneck_batch_size: int | None = Field(
        default=None, ge=4, le=4096, description="Sentence pairs in a step of stage 2; None: as in the other stages."
    )


class StageShareOptions(Options):
    """Stage 3, and the shares of stages 3 and 4 in the student's pairs."""

    recurrent_share: float = Field(
        default=0.1, ge=0, le=1, description="Share of the student's pairs for stage 3, at most what stage 2 leaves."
    )
    recurrent_hidden_weight: float = Field(
        default=0.0,
        ge=0,
        description="Weight in stage 3 of the last hidden states' mean squared difference, token by token.",
    )
    contrastive_pairs: int = Field(
        default=30_000,
        ge=0,
        description="Most pairs that stage 4 sees; what is left goes to stage 3. 0: no limit.",
    )


class ContrastiveOptions(Options):
    """Stage 4: matching beside the pull to the teacher."""

    matrix_weight: float = Field(default=10.0, ge=0, description="Weight of matching the teacher's similarity matrix.")
    neighbour_weight: float = Field(
        default=10.0, ge=0, description="Weight of matching each sentence's nearest English neighbours."
    )


class MultistageOptions(AlignOptions, StudentOptions, BottleneckStageOptions, StageShareOptions, ContrastiveOptions):
    """All stages."""


class UnloopedOptions(
    AlignOptions,
    StudentTrainingOptions,
    EmbeddingOptions,
    LayerOptions,
    BottleneckStageOptions,
    StageShareOptions,
    ContrastiveOptions,
):
    """All stages, for students whose layers run once."""


def as_multistage(options: Options, **values: float) -> MultistageOptions:
    """Return options of the multistage method: ``values``, else those that ``options`` has, else the defaults."""
    shared = options.model_dump(include=set(MultistageOptions.model_fields))
    return MultistageOptions.model_validate({**shared, **values})


def plan(experiment: Experiment, options: MultistageOptions, after_loop: Sequence[Edit] = ()) -> Plan:
    """Chain the four stages; without a bottleneck in the student spec, there is no stage 2.

    Args:
        experiment: What is planned.
        options: Of all stages.
        after_loop: What methods that differ in their layers alone do to the layers that were kept.
    """
    pairs = experiment.budget.student_pairs
    teachers = teacher_names(experiment, options)
    student: list[Stage] = []
    if experiment.student.bottleneck is not None and options.bottleneck_share > 0:
        share = options.bottleneck_share * pairs
        batch_size = options.bottleneck_batch_size
        student.append(bottleneck_stage(experiment, options, "aligned", share, batch_size=batch_size))
    # Without a stage 2 the token embeddings are cut together with the layers.
    edits = () if student else embedding_edits(experiment, options)
    limit = options.contrastive_pairs or pairs
    left = pairs - _seen(student)
    recurrent = recurrent_stage(
        experiment,
        options,
        "bottleneck" if student else "aligned",
        "aligned",
        max(min(options.recurrent_share * pairs, left), left - limit),
        edits=(*edits, layer_edit(experiment, options), *after_loop),
        hidden_weight=options.recurrent_hidden_weight,
    )
    student.append(recurrent)
    terms: tuple[Objective, ...] = (
        *similarity_terms(matrix_teachers(experiment, options), options.matrix_weight, options),
        *neighbour_terms(teachers[0], options.neighbour_weight, options),
    )
    last = contrastive_stage(experiment, options, "recurrent", pairs - _seen(student), teacher=teachers[0], terms=terms)
    return Plan(
        (*centre_stages(experiment, options), *align_stages(experiment, options), *student, last),
        result="contrastive",
        teacher=shown_teacher(experiment, options),
        assistant="aligned",
        blends=blends(experiment, options),
    )


def _seen(stages: list[Stage]) -> int:
    return sum(stage.training.pairs for stage in stages if stage.training)


@hookimpl
def xlbench_methods() -> list[Method[MultistageOptions]]:
    """Register the method."""
    summary = "teacher, assistant, bottleneck embedding, recurrent layers, contrastive learning"
    presets = {"paper": paper_values(MultistageOptions)}
    return [Method("multistage", summary, plan, MultistageOptions, REFERENCE, presets=presets)]
