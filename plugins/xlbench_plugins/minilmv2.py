"""Relation distillation: the student's last layer learns how the assistant's tokens relate to one another.

That says nothing about where vectors lie (turned queries, keys and values have the same relations) and leaves what
follows the last layer's values as it was cut, but mean-pooled outputs are what is scored: hence a last stage that
pulls them to the teacher. Without it (``relation_share=1``) the method is the paper's alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import (
    AlignOptions,
    Method,
    Plan,
    StudentOptions,
    align_stages,
    blends,
    centre_stages,
    contrastive_stage,
    cut_edits,
    hookimpl,
    matrix_teachers,
    paper_values,
    relation_stage,
    shown_teacher,
    similarity_terms,
    teacher_names,
)

if TYPE_CHECKING:
    from xlbench.api import Experiment

REFERENCE = "Wang et al., Findings of ACL 2021, arXiv:2012.15828; last stage: Ding et al., 2022, arXiv:2209.05869"


class MiniLMv2Options(AlignOptions, StudentOptions):
    """What relations are learnt from, and for how long."""

    relation_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the student's pairs for relations; the rest pulls to the teacher.",
    )
    relation_heads: int | None = Field(
        default=None, ge=1, description="Must divide the hidden size; None: 4 an attention head (base models: 48)."
    )
    relation_layer: int | None = Field(
        default=None, ge=1, description="The assistant's, from 1; None: its last (the paper: 19 or 21 of 24 layers)."
    )
    matrix_weight: float = Field(
        default=10.0, ge=0, description="Weight of matching the teacher's similarity matrix in the last stage."
    )


def plan(experiment: Experiment, options: MiniLMv2Options) -> Plan:
    """Align the assistant, cut the student, teach it relations, pull it to the teacher."""
    pairs = experiment.budget.student_pairs
    teachers = teacher_names(experiment, options)
    related = relation_stage(
        experiment,
        options,
        "aligned",
        "aligned",
        options.relation_share * pairs,
        edits=cut_edits(experiment, options),
        layer=options.relation_layer or -1,
        heads=options.relation_heads,
    )
    stages = (*centre_stages(experiment, options), *align_stages(experiment, options), related)
    left = pairs - round(options.relation_share * pairs)
    if left > 0:
        terms = similarity_terms(matrix_teachers(experiment, options), options.matrix_weight, options)
        stages += (contrastive_stage(experiment, options, "relations", left, teacher=teachers[0], terms=terms),)
    return Plan(
        stages,
        result=stages[-1].name,
        teacher=shown_teacher(experiment, options),
        assistant="aligned",
        blends=blends(experiment, options),
    )


@hookimpl
def xlbench_methods() -> list[Method[MiniLMv2Options]]:
    """Register the method."""
    summary = "self-attention relations of the assistant's last layer, then the teacher's vectors"
    presets = {"paper": paper_values(MiniLMv2Options)}
    return [Method("minilmv2", summary, plan, MiniLMv2Options, REFERENCE, presets=presets)]
