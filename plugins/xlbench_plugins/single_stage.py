"""The baseline: the same student, trained straight from the teacher in one stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import (
    Method,
    Options,
    Plan,
    StageOptions,
    centred,
    contrastive,
    embedding_edits,
    hookimpl,
    loop_edit,
    presets,
    teacher_names,
)

if TYPE_CHECKING:
    from xlbench.api import Experiment


class SingleStageOptions(StageOptions):
    """What its one stage minimises beside the pull to the teacher."""

    neighbour_weight: float = Field(
        default=10.0,
        ge=0,
        description="Weight of matching the nearest English neighbours.",
    )


def plan(experiment: Experiment, options: Options) -> Plan:
    """Cut the student from the untrained assistant and give it all its pairs with the loss of stage 1."""
    assert isinstance(options, SingleStageOptions)
    edits = (*embedding_edits(experiment, options), loop_edit(experiment, options))
    student = contrastive(
        experiment,
        options,
        "assistant",
        experiment.budget.student_pairs,
        matrix_weight=0.0,
        teacher_share=0.5,
        neighbour_weight=options.neighbour_weight,
        edits=edits,
        name="student",
    )
    stages = (*centred(experiment, options), student)
    return Plan(stages, "student", teacher=teacher_names(experiment, options)[0])


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the method."""
    return [
        Method(
            "single-stage",
            "the baseline: one stage, straight from the teacher",
            plan,
            SingleStageOptions,
            "Reimers & Gurevych, EMNLP 2020, arXiv:2004.09813",
            presets=presets(SingleStageOptions),
        )
    ]
