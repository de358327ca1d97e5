"""The aligned assistant itself, full-size: what smaller students must beat, above all in 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.api import (
    AlignOptions,
    Method,
    Plan,
    Stage,
    TrimOptions,
    align_stages,
    blends,
    centre_stages,
    hookimpl,
    paper_values,
    shown_teacher,
    trim_edits,
)

if TYPE_CHECKING:
    from xlbench.api import Experiment

REFERENCE = "stage 1: Reimers & Gurevych, EMNLP 2020, arXiv:2004.09813, as in Ding et al., 2022, arXiv:2209.05869"


class FullSizeOptions(AlignOptions, TrimOptions):
    """Stage 1, and whether the vocabulary is trimmed."""


def plan(experiment: Experiment, options: FullSizeOptions) -> Plan:
    """Stage 1 alone; all layers and columns stay, whatever the student spec says, as boards show."""
    stages = (*centre_stages(experiment, options), *align_stages(experiment, options))
    if options.trim:
        stages += (Stage("student", "aligned", trim_edits(options)),)
    return Plan(
        stages,
        result=stages[-1].name,
        teacher=shown_teacher(experiment, options),
        assistant="aligned",
        blends=blends(experiment, options),
    )


@hookimpl
def xlbench_methods() -> list[Method[FullSizeOptions]]:
    """Register the method."""
    summary = "stage 1 alone: the aligned assistant, with --bits 8 in a quarter of its bytes"
    presets = {"paper": paper_values(FullSizeOptions)}
    return [Method("full-size", summary, plan, FullSizeOptions, REFERENCE, presets=presets, sized=False)]
