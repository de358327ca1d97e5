"""The method of Ding et al. (2022): assistant, bottleneck, recurrent layers, multilingual contrastive learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import (
    AlignOptions,
    Method,
    Options,
    Plan,
    aligned,
    bottleneck,
    centred,
    contrastive,
    embedding_edits,
    hookimpl,
    loop_edit,
    presets,
    recurrent,
    teacher_names,
)

if TYPE_CHECKING:
    from xlbench.api import Edit, Experiment, Stage

REFERENCE = "Ding et al., Findings of NAACL 2022, arXiv:2209.05869"


class MultistageOptions(AlignOptions):
    """How the student's pairs are shared out over the stages, and what stage 4 minimises."""

    bottleneck_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Of the student's pairs, for stage 2; 0: the bottleneck stays as cut.",
    )
    recurrent_share: float = Field(default=0.1, ge=0, le=1, description="Of the student's pairs, for stage 3.")
    recurrent_hidden: float = Field(
        default=0.0,
        ge=0,
        description="Weight in stage 3 of the last hidden states' mean squared difference, token by token.",
    )
    matrix_weight: float = Field(default=10.0, ge=0, description="Weight of the similarity-matrix term.")
    neighbour_weight: float = Field(
        default=10.0,
        ge=0,
        description="Weight in stage 4 of matching the nearest English neighbours.",
    )
    contrastive_pairs: int = Field(
        default=30_000,
        ge=0,
        description="Most pairs that stage 4 sees, what is over goes to stage 3; 0: no bound.",
    )


def plan(experiment: Experiment, options: Options, after_loop: tuple[Edit, ...] = ()) -> Plan:
    """Chain the four stages; without a bottleneck in the student spec, stage 2 has nothing to fit.

    Methods that are this one with other layers say in ``after_loop`` what is done to those that were kept.
    """
    assert isinstance(options, MultistageOptions)
    pairs = experiment.budget.student_pairs
    fitted: list[Stage] = []
    if experiment.student.bottleneck is not None and options.bottleneck_share > 0:
        fitted.append(bottleneck(experiment, options, "aligned", options.bottleneck_share * pairs))
    start = "bottleneck" if fitted else "aligned"
    # Where no stage 2 is wanted, the bottleneck is cut where the layers are.
    edits = () if fitted else embedding_edits(experiment, options)
    edits += (loop_edit(experiment, options), *after_loop)
    bound = options.contrastive_pairs or pairs
    looped = recurrent(
        experiment,
        options,
        start,
        "aligned",
        max(options.recurrent_share * pairs, pairs - _seen(fitted) - bound),
        edits=edits,
        hidden_weight=options.recurrent_hidden,
    )
    fitted.append(looped)
    last = contrastive(
        experiment,
        options,
        "recurrent",
        pairs - _seen(fitted),
        matrix_weight=options.matrix_weight,
        teacher_share=options.teacher_share,
        matrix_sides=options.matrix_sides,
        neighbour_weight=options.neighbour_weight,
    )
    return Plan(
        (*centred(experiment, options), *aligned(experiment, options), *fitted, last),
        result="contrastive",
        teacher=teacher_names(experiment, options)[0],
        assistant="aligned",
    )


def _seen(stages: list[Stage]) -> int:
    return sum(stage.training.pairs for stage in stages if stage.training)


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the method."""
    return [
        Method(
            "multistage",
            "teacher, assistant, bottleneck embedding, recurrent layers, contrastive learning",
            plan,
            MultistageOptions,
            REFERENCE,
            presets=presets(MultistageOptions),
        )
    ]
