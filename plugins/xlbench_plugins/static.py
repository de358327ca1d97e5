"""No encoder at all: a vector for each token, and a sentence is their weighted mean (model2vec)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.api import Method, Options, Plan, Stage, TokenVectors, TrimVocabulary, hookimpl

if TYPE_CHECKING:
    from xlbench.api import Edit, Experiment

REFERENCE = "Tulkens & van Dongen, model2vec, 2024, doi:10.5281/zenodo.17270888; Arora et al., ICLR 2017 (SIF)"


class StaticOptions(Options):
    """Where token vectors come from and what they count for."""

    width: int = Field(
        default=0, ge=0, description="Of the vectors; 0: the student's B, or the assistant's own width without one."
    )
    depth: Literal["encoder", "embeddings"] = Field(
        default="embeddings",
        description="What each token is passed through: all layers (as published), or the embedding layer alone.",
    )
    weighting: Literal["corpus", "zipf", "none"] = Field(
        default="corpus", description="Where a token's probability p is from: counted, or from its rank."
    )
    smoothing: float = Field(default=1e-4, gt=0, le=1, description="a of the weight a / (a + p).")
    pca: Literal["uniform", "frequency"] = Field(default="uniform", description="What a token counts for in the PCA.")
    trim: bool = Field(default=False, description="First drop the tokens that the corpus never uses.")


def plan(experiment: Experiment, options: Options) -> Plan:
    """Make the table; the student spec's layers have no meaning here."""
    assert isinstance(options, StaticOptions)
    vectors = TokenVectors(
        width=options.width or experiment.student.bottleneck,
        depth=options.depth,
        weighting=options.weighting,
        smoothing=options.smoothing,
        fit=options.pca,
    )
    edits: tuple[Edit, ...] = (TrimVocabulary(), vectors) if options.trim else (vectors,)
    return Plan((Stage("static", "assistant", edits),), "static")


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register the method."""
    summary = "token vectors, PCA and weights: no encoder, nothing trained, very fast"
    return [Method("static", summary, plan, StaticOptions, REFERENCE)]
