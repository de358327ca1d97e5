"""Relation distillation: the student's last layer learns how the assistant's tokens relate to one another.

That says nothing about where vectors lie (turned queries, keys and values have the same relations) and leaves what
follows the last layer's values as it was cut, but mean-pooled outputs are what is scored: hence a last stage that
pulls them to the teacher. Without it (``relation_share=1``) the method is the paper's alone.
"""

from __future__ import annotations

from pydantic import Field

from xlbench import api

REFERENCE = "Wang et al., Findings of ACL 2021, arXiv:2012.15828; last stage: Ding et al., 2022, arXiv:2209.05869"


class MiniLMv2Options(api.AlignOptions):
    """What relations are learnt from, and for how long."""

    relation_share: float = Field(
        default=0.5, gt=0, le=1, description="Of the student's pairs, for relations; the rest pulls to the teacher."
    )
    relation_heads: int | None = Field(
        default=None, ge=1, description="Must divide the hidden size; None: 4 an attention head (base models: 48)."
    )
    layer: int | None = Field(
        default=None, ge=1, description="The assistant's, from 1; None: its last (the paper: 19 or 21 of 24 layers)."
    )
    matrix_weight: float = Field(
        default=10.0, ge=0, description="Weight of the similarity-matrix term in the last stage."
    )


def plan(experiment: api.Experiment, options: api.Options) -> api.Plan:
    """Align the assistant, cut the student, teach it relations, pull it to the teacher."""
    assert isinstance(options, MiniLMv2Options)
    pairs = experiment.budget.student_pairs
    edits = (*api.embedding_edits(experiment, options), api.loop_edit(experiment, options))
    of, heads, layer = options.relation_share * pairs, options.relation_heads, options.layer or -1
    related = api.relations(experiment, options, "aligned", "aligned", of, edits=edits, layer=layer, heads=heads)
    stages = (*api.centred(experiment, options), *api.aligned(experiment, options), related)
    left, matrix, share = pairs - round(of), options.matrix_weight, options.teacher_share
    if left > 0:
        pulled = api.contrastive(
            experiment,
            options,
            "relations",
            left,
            matrix_weight=matrix,
            teacher_share=share,
            matrix_sides=options.matrix_sides,
        )
        stages += (pulled,)
    return api.Plan(stages, stages[-1].name, api.teacher_names(experiment, options)[0], "aligned")


@api.hookimpl
def xlbench_methods() -> list[api.Method]:
    """Register the method."""
    summary = "self-attention relations of the assistant's last layer, then the teacher's vectors"
    return [api.Method("minilmv2", summary, plan, MiniLMv2Options, REFERENCE, presets=api.presets(MiniLMv2Options))]
