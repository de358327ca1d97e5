"""The aligned assistant itself, full-size: what every cut must beat, above all once weights are stored in 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.api import (
    AlignOptions,
    Method,
    Options,
    Plan,
    Stage,
    TrimVocabulary,
    aligned,
    centred,
    hookimpl,
    presets,
    teacher_names,
)

if TYPE_CHECKING:
    from xlbench.api import Experiment

REFERENCE = "stage 1: Reimers & Gurevych, EMNLP 2020, arXiv:2004.09813, as in Ding et al., 2022, arXiv:2209.05869"


def plan(experiment: Experiment, options: Options) -> Plan:
    """Stage 1 alone; all layers and columns stay, whatever the student spec says, which boards show."""
    assert isinstance(options, AlignOptions)
    stages = (*centred(experiment, options), *aligned(experiment, options))
    trimmed = (Stage("student", "aligned", (TrimVocabulary(),)),) if options.trim else ()
    return Plan(
        (*stages, *trimmed),
        result="student" if trimmed else "aligned",
        teacher=teacher_names(experiment, options)[0],
        assistant="aligned",
    )


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the method."""
    summary = "stage 1 alone: the aligned assistant, with --bits 8 in a quarter of its bytes"
    return [Method("full-size", summary, plan, AlignOptions, REFERENCE, presets=presets(AlignOptions))]
