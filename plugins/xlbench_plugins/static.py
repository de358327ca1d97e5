"""No encoder at all: a vector for each token, and a sentence is their weighted mean (model2vec)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.api import Method, Plan, Stage, TokenVectors, TrimOptions, hookimpl, trim_edits

if TYPE_CHECKING:
    from xlbench.api import Experiment

REFERENCE = "Tulkens & van Dongen, model2vec, 2024, doi:10.5281/zenodo.17270888; Arora et al., ICLR 2017 (SIF)"


class StaticOptions(TrimOptions):
    """Where token vectors come from and what they count for."""

    width: int = Field(
        default=0,
        ge=0,
        description="Width of the vectors; 0: the student's bottleneck, or the assistant's own width without one.",
    )
    depth: Literal["encoder", "embeddings"] = Field(
        default="embeddings",
        description="What each token is passed through: all layers (as published), or the embedding layer alone.",
    )
    weighting: Literal["corpus", "zipf", "none"] = Field(
        default="corpus",
        description="Where a token's probability p is from: counted in the corpus, or Zipf's law on its rank.",
    )
    smoothing: float = Field(default=1e-4, gt=0, le=1, description="a of the weight a / (a + p).")
    pca: Literal["uniform", "frequency"] = Field(default="uniform", description="What a token counts for in the PCA.")


def plan(experiment: Experiment, options: StaticOptions) -> Plan:
    """Make the table; the student spec's layers have no meaning here."""
    vectors = TokenVectors(
        width=options.width or experiment.student.bottleneck,
        depth=options.depth,
        weighting=options.weighting,
        smoothing=options.smoothing,
        fit=options.pca,
    )
    return Plan((Stage("static", "assistant", (*trim_edits(options), vectors)),), "static")


@hookimpl
def xlbench_methods() -> list[Method[StaticOptions]]:
    """Register the method."""
    summary = "token vectors, PCA and weights: no encoder, nothing trained, very fast"
    return [Method("static", summary, plan, StaticOptions, REFERENCE)]
