"""A plugin as one file: a model of one's own under a name, with the prefix that it was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.api import RegisteredEncoder, XlbenchError, hookimpl

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from xlbench.api import Settings

PLACE = Path("our-e5")
PREFIX = "query: "


def fingerprint(settings: Settings) -> str:
    """Identify the weights and what is done with them; loads nothing."""
    weights = PLACE / "model.safetensors"
    if not weights.is_file():
        raise XlbenchError(f"There is no '{weights}'.", "Put the model there, or change PLACE.")
    facts = weights.stat()
    return f"our-e5 {PREFIX!r} {facts.st_size} {facts.st_mtime_ns}"


def load(settings: Settings) -> SentenceTransformer:
    """Load it; every sentence gets the prefix from now on."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        str(PLACE), device=settings.device, prompts={"query": PREFIX}, default_prompt_name="query"
    )


@hookimpl
def xlbench_encoders() -> list[RegisteredEncoder]:
    """Register it."""
    return [RegisteredEncoder("our-e5", "our fine-tuned e5, with its prefix", fingerprint, load, notes="licence: ours")]
