"""All layers of the assistant in the bytes of a looped student, with narrow embeddings of rare tokens in return.

A student of K layers that run R times each stores 1 / R of the layers that a sentence passes through, and token
embeddings in which every token of a hundred languages has the same width. The same bytes hold all K R layers, the whole
rows of the tokens that the corpus uses most, and a few columns for each of the rest. On the corpus's languages the
result is nearly the assistant, so nothing is trained after the cut; on languages outside the corpus it is worse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import (
    AlignOptions,
    FrequencyAdaptiveEmbedding,
    LayerOptions,
    Loop,
    Method,
    Plan,
    Stage,
    StudentTrainingOptions,
    TrimOptions,
    TrimVocabulary,
    XlbenchError,
    align_stages,
    blends,
    centre_stages,
    hookimpl,
    paper_values,
    recurrent_stage,
    shown_teacher,
)

if TYPE_CHECKING:
    from xlbench.api import Experiment

REFERENCE = "embedding: Baevski & Auli, ICLR 2019, arXiv:1809.10853; stage 1: Ding et al., 2022, arXiv:2209.05869"


class FrequencyAdaptiveOptions(AlignOptions, StudentTrainingOptions, TrimOptions, LayerOptions):
    """How narrow the rows of rare tokens are, and what is trained after the cut."""

    learning_rate: float = Field(
        default=3e-5, gt=0, le=1, description="Peak learning rate of what is trained after the cut."
    )
    rare_width: int | None = Field(
        default=None,
        ge=1,
        description="Columns of the tokens whose rows are not kept whole; None: an eighth of the student's bottleneck.",
    )
    recovery_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the student's pairs that pulls it to the assistant's own vectors; 0: it stays as cut.",
    )


def plan(experiment: Experiment, options: FrequencyAdaptiveOptions) -> Plan:
    """Align the assistant, keep K R of its layers, and cut its token embeddings to what the student's size leaves."""
    spec = experiment.student
    width = options.rare_width
    if width is None:
        if spec.bottleneck is None:
            raise XlbenchError(
                f"Student '{spec.name}' has no bottleneck: how narrow may the rows of rare tokens be?",
                "Say so, e.g. -o rare_width=16, or choose a student with a bottleneck.",
            )
        width = max(1, spec.bottleneck // 8)
    embedding = FrequencyAdaptiveEmbedding(
        width=width,
        layers=spec.layers,
        bottleneck=spec.bottleneck,
        trim=TrimVocabulary() if options.trim else None,
    )
    edits = (Loop(layers=spec.layers * spec.repeats, choice=options.layer_choice), embedding)
    if options.recovery_share > 0:
        pairs = options.recovery_share * experiment.budget.student_pairs
        student = recurrent_stage(experiment, options, "aligned", "aligned", pairs, edits=edits, name="student")
    else:
        student = Stage("student", "aligned", edits)
    return Plan(
        (*centre_stages(experiment, options), *align_stages(experiment, options), student),
        result="student",
        teacher=shown_teacher(experiment, options),
        assistant="aligned",
        blends=blends(experiment, options),
    )


@hookimpl
def xlbench_methods() -> list[Method[FrequencyAdaptiveOptions]]:
    """Register the method."""
    summary = "stage 1, then all K x R layers whole, paid for by rare tokens' rows (equal size)"
    presets = {"paper": paper_values(FrequencyAdaptiveOptions)}
    return [Method("frequency-adaptive", summary, plan, FrequencyAdaptiveOptions, REFERENCE, presets=presets)]
