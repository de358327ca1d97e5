"""What a task computes and moves, counted; and how long this machine takes for one of each."""

from __future__ import annotations

from pydantic import Field

from xlbench.fingerprint import Frozen


class _Counts(Frozen):
    """Numbers of the same sorts."""

    encoded: float = Field(default=0.0, ge=0, description="Operations of encoding (floating point, real tokens).")
    evaluated: float = Field(default=0.0, ge=0, description="Operations of forward passes inside of training.")
    trained: float = Field(default=0.0, ge=0, description="Operations of training steps, both passes.")
    updated: float = Field(default=0.0, ge=0, description="Parameters that the optimiser changes, in each step again.")
    checkpointed: float = Field(default=0.0, ge=0, description="Parameters in checkpoints, in each again.")
    fitted: float = Field(default=0.0, ge=0, description="Operations in float64, of cutting an embedding table.")
    moved: float = Field(default=0.0, ge=0, description="Bytes written to the store, or read and verified.")
    loaded: float = Field(default=0.0, ge=0, description="Encoders loaded.")
    singles: float = Field(default=0.0, ge=0, description="Layers that sentences pass one by one, for their latency.")
    scored: float = Field(default=0.0, ge=0, description="Sentences that MTEB's tasks look up and compare.")


class Amounts(_Counts):
    """What a task computes and moves."""

    def __add__(self, other: Amounts) -> Amounts:
        """Return the sum, sort by sort."""
        return Amounts(**{name: getattr(self, name) + getattr(other, name) for name in Amounts.model_fields})


class Rates(_Counts):
    """Seconds for one of each, on a machine."""

    def seconds(self, amounts: Amounts) -> float:
        """Return the seconds that amounts take."""
        return float(sum(getattr(self, name) * getattr(amounts, name) for name in Rates.model_fields))
