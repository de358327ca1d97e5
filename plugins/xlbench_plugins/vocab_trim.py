"""Drop the tokens that the corpus's languages never use: smaller, and the same on those languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.api import Bottleneck, Method, Options, Plan, Stage, TrimVocabulary, hookimpl

if TYPE_CHECKING:
    from xlbench.api import Edit, Experiment

REFERENCE = "Abdaoui et al., SustaiNLP 2020, arXiv:2010.05609; Ushio et al., Findings of EMNLP 2023, arXiv:2305.15020"


class VocabTrimOptions(Options):
    """What is kept beside the tokens of the corpus."""

    min_count: int = Field(default=1, ge=1, description="Tokens that occur in fewer places of the corpus are dropped.")
    keep_characters: bool = Field(
        default=True, description="Keep single characters of the corpus's scripts, so that any word can be spelt."
    )
    bottleneck: bool = Field(
        default=False, description="Then factorise the trimmed table to the student's width B, which loses a little."
    )


def plan(experiment: Experiment, options: VocabTrimOptions) -> Plan:
    """Trim the assistant; all its layers stay, whatever the student spec says, which boards show."""
    edits: tuple[Edit, ...] = (TrimVocabulary(min_count=options.min_count, keep_characters=options.keep_characters),)
    if options.bottleneck and experiment.student.bottleneck is not None:
        edits += (Bottleneck(width=experiment.student.bottleneck),)
    return Plan((Stage("trimmed", "assistant", edits),), "trimmed")


@hookimpl
def xlbench_methods() -> list[Method[VocabTrimOptions]]:
    """Register the method."""
    summary = "the assistant with the corpus's tokens alone, nothing trained: other languages are given up"
    return [Method("vocab-trim", summary, plan, VocabTrimOptions, REFERENCE, sized=False)]
