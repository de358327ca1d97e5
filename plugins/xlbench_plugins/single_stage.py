"""The baseline: the same student, trained straight from the teacher in one stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import (
    BlendOptions,
    Method,
    NeighbourOptions,
    Plan,
    StudentOptions,
    blends,
    centre_stages,
    contrastive_stage,
    cut_edits,
    hookimpl,
    neighbour_terms,
    paper_values,
    shown_teacher,
    teacher_names,
)

if TYPE_CHECKING:
    from xlbench.api import Experiment

REFERENCE = "Reimers & Gurevych, EMNLP 2020, arXiv:2004.09813"


class SingleStageOptions(BlendOptions, StudentOptions, NeighbourOptions):
    """What the one stage minimises beside the pull to the teacher."""

    neighbour_weight: float = Field(
        default=10.0, ge=0, description="Weight of matching each sentence's nearest English neighbours."
    )


def plan(experiment: Experiment, options: SingleStageOptions) -> Plan:
    """Cut the student from the untrained assistant and give it all its pairs with the loss of stage 1."""
    teacher = teacher_names(experiment, options)[0]
    student = contrastive_stage(
        experiment,
        options,
        "assistant",
        experiment.budget.student_pairs,
        teacher=teacher,
        terms=neighbour_terms(teacher, options.neighbour_weight, options),
        edits=cut_edits(experiment, options),
        name="student",
    )
    return Plan(
        (*centre_stages(experiment, options), student),
        "student",
        teacher=shown_teacher(experiment, options),
        blends=blends(experiment, options),
    )


@hookimpl
def xlbench_methods() -> list[Method[SingleStageOptions]]:
    """Register the method."""
    summary = "the baseline: one stage, straight from the teacher"
    presets = {"paper": paper_values(SingleStageOptions)}
    return [Method("single-stage", summary, plan, SingleStageOptions, REFERENCE, presets=presets)]
