"""What an export gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Exported:
    """An exported encoder.

    Attributes:
        directory: Where it is.
        format: Its format.
        weight_bytes: Bytes of its weights.
        source_bytes: Bytes of the weights that it was made from; None where they are not in files.
        losses: The mean of 1 - cosine to the vectors that it was made from, by language.
        difference: The largest difference of one number of those vectors.
    """

    directory: Path
    format: str
    weight_bytes: int
    source_bytes: int | None
    losses: Mapping[str, float]
    difference: float

    @property
    def worst(self) -> str:
        """The language that loses most."""
        return max(self.losses, key=lambda language: self.losses[language])


@dataclass(frozen=True)
class ResultFiles:
    """Scores as MTEB's result files.

    Attributes:
        directory: Where they are; ``mteb.ResultCache(directory)`` reads it.
        model: What MTEB calls the encoder.
        revision: Of the encoder: its commit on the hub, else its fingerprint.
        tasks: The tasks, in the order of the suite.
        notes: What is not in the files: parts of a task that the suite does not cover, and tasks that are not MTEB's.
    """

    directory: Path
    model: str
    revision: str
    tasks: tuple[str, ...]
    notes: tuple[str, ...]
