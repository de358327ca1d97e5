"""A request: the settings of a run or a board as the user writes them, and how they are read and checked.

Names of methods, corpora and encoders are looked up later, in :mod:`xlbench.runs.resolve`.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.distill.method import Scalar
from xlbench.errors import XlbenchError, nearest, validated
from xlbench.experiment import Bits, Precision, Seeds, StudentSpec
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from pathlib import Path


class Treatment(Frozen):
    """What may differ between two rows of one table: the student and how it is trained."""

    method: str = Field(default="multistage", description="Which method trains the student.")
    student: str | StudentSpec = Field(
        default="minilm-half", description="Shape of the student: a name, the path of a TOML file, or a table."
    )
    bits: Bits | None = Field(
        default=None, description="Bits of a stored weight: 32, 16 or 8. Overrides the student's."
    )
    preset: str | None = Field(
        default=None, description="A set of the method's options to begin with, e.g. paper; None: their defaults."
    )
    options: dict[str, Scalar] = Field(
        default_factory=dict, description="The method's options; they override the preset's."
    )
    vocabulary_text: str | None = Field(
        default=None,
        min_length=1,
        description="A text file whose tokens a trimmed vocabulary keeps, beside those of the corpus.",
    )


class Conditions(Frozen):
    """What all rows of one table share, so that only the methods make a difference."""

    suite: str = Field(default="starter", description="The suite of tasks to score on.")
    keep_out: tuple[str, ...] = Field(
        default=(), description="More suites whose sentences are removed from the training data."
    )
    corpus: tuple[str, ...] = Field(default=("starter",), min_length=1, description="Sources of parallel pairs.")
    languages: tuple[str, ...] = Field(
        default=(), description="Languages to train on, beside English; none: all of the corpora's."
    )
    budget: str = Field(default="example", description="How much data and training: a named budget.")
    pairs_per_language: int | None = Field(default=None, ge=1, description="Overrides the budget's number.")
    assistant_pairs: int | None = Field(default=None, ge=0, description="Overrides the budget's number.")
    student_pairs: int | None = Field(default=None, ge=1, description="Overrides the budget's number.")
    teacher: tuple[str, ...] = Field(
        default=("assistant",),
        min_length=1,
        description="Encoders whose English embeddings are the target: 'assistant' is the assistant itself.",
    )
    assistant: str = Field(
        default="multilingual-e5-small", description="The multilingual encoder that the student is cut from."
    )
    precision: Precision | Literal["auto"] = Field(
        default="auto", description="Number format that encoders compute in; auto: the best that the device supports."
    )


class Request(Conditions, Treatment):
    """One experiment, with one or several seeds, described by names."""

    seeds: Seeds = Field(default=(0,), description="Random seeds; the student is trained once with each.")


def read_toml(path: Path) -> dict[str, object]:
    """Return the settings of a TOML file, unchecked; ``[options]`` and ``[student]`` may be tables.

    Raises:
        XlbenchError: The file cannot be read, is not valid TOML, or has an unknown key.
    """
    try:
        settings = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise XlbenchError(f"'{path}' cannot be read: {error}", "Give --config a TOML file.") from error
    except tomllib.TOMLDecodeError as error:
        raise XlbenchError(
            f"'{path}' is not valid TOML: {error}", "Fix it; see `xlbench run --print-config`."
        ) from error
    for key in settings:
        if key not in Request.model_fields:
            raise XlbenchError(f"'{path}' sets '{key}', which is not a setting.", nearest(key, Request.model_fields))
    return settings


def make_request(settings: dict[str, object]) -> Request:
    """Check raw settings and return them as a request.

    Raises:
        XlbenchError: A value is of the wrong kind or out of bounds.
    """
    return validated(Request, settings, "setting")


LETTERS = {"B": "bottleneck", "K": "layers", "R": "repeats", "H": "hidden"}


def inline_spec(text: str) -> StudentSpec:
    """Parse a student spec such as ``B=128,K=6,R=2``; without B the student keeps the full embedding table.

    Raises:
        XlbenchError: The text has another form, or a number is out of bounds.
    """
    fields: dict[str, object] = {}
    for part in text.split(","):
        letter, equals, number = part.strip().partition("=")
        field = LETTERS.get(letter.upper(), letter)
        if not equals or field not in LETTERS.values():
            raise XlbenchError(
                f"'{part.strip()}' in the student spec '{text}' is not understood.",
                "Write B=128,K=6,R=2: bottleneck, stored layers, repeats (H: hidden size, if it must be checked).",
            )
        fields[field] = number
    name = "custom-" + "-".join(f"{key}{value}" for key, value in fields.items())
    return validated(StudentSpec, {"name": name, **fields}, "part of the student spec")
