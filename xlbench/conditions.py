"""What is asked for, by names and not yet looked up: of one run, of a ``[[run]]`` of a board, of the whole board."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xlbench.experiment import Bits, Precision, StudentSpec
from xlbench.fingerprint import Frozen
from xlbench.kinds import Scalar


class Treatment(Frozen):
    """What may differ between two rows of one table: how a student is trained, and which."""

    method: str = Field(default="multistage", description="Which method trains the student.")
    student: str | StudentSpec = Field(
        default="minilm-half", description="How it is cut: a name, a TOML file beside the working directory, a table."
    )
    bits: Bits | None = Field(default=None, description="Of a stored weight: 32, 16 or 8. Overrides the student's.")
    preset: str = Field(default="default", description="A set of the method's options to begin with.")
    options: dict[str, Scalar] = Field(default_factory=dict, description="The method's options, over the preset's.")


class Conditions(Frozen):
    """What all rows of one table share, so that their differences are the methods'."""

    suite: str = Field(default="starter", description="What is scored.")
    keep_out: tuple[str, ...] = Field(
        default=(), description="More suites whose sentences no pair may contain: runs that share them share stages."
    )
    corpus: tuple[str, ...] = Field(default=("starter",), min_length=1, description="Sources of parallel pairs.")
    languages: tuple[str, ...] = Field(default=(), description="Other sides to use; none given: all there are.")
    budget: str = Field(default="example", description="How much data and training.")
    pairs_per_language: int | None = Field(default=None, ge=1, description="Overrides the budget's.")
    assistant_pairs: int | None = Field(default=None, ge=0, description="Overrides the budget's.")
    student_pairs: int | None = Field(default=None, ge=1, description="Overrides the budget's.")
    teacher: tuple[str, ...] = Field(
        default=("assistant",),
        min_length=1,
        description="Who teaches: 'assistant' is the assistant's own English side; more join the matrix term.",
    )
    assistant: str = Field(default="multilingual-e5-small", description="The multilingual encoder that is cut.")
    precision: Precision | Literal["auto"] = Field(
        default="auto", description="What encoders compute in; auto: what the device is good at."
    )
