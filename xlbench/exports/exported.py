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
