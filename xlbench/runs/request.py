"""A request: the settings of a run or of a board, by names that are not looked up yet."""

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
    """What may differ between two rows of one table: how a student is trained, and which."""

    method: str = Field(default="multistage", description="Which method trains the student.")
    student: str | StudentSpec = Field(
        default="minilm-half", description="How it is cut: a name, a TOML file beside the working directory, a table."
    )
    bits: Bits | None = Field(default=None, description="Of a stored weight: 32, 16 or 8. Overrides the student's.")
    preset: str | None = Field(
        default=None, description="A set of the method's options to begin with, e.g. paper; None: their defaults."
    )
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


class Request(Conditions, Treatment):
    """An experiment by names, or the same one with several seeds."""

    seeds: Seeds = Field(default=(0,), description="Of everything random: the student is trained once with each.")


def read_toml(path: Path) -> dict[str, object]:
    """Return the settings of a TOML file, as they stand; ``[options]`` and ``[student]`` may be tables.

    Raises:
        XlbenchError: The file cannot be read, is no TOML, or has a key that no request has.
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
            raise XlbenchError(f"'{path}' sets '{key}', which is no setting.", nearest(key, Request.model_fields))
    return settings


def make_request(settings: dict[str, object]) -> Request:
    """Return a request from raw settings.

    Raises:
        XlbenchError: A value is of the wrong kind or out of bounds.
    """
    return validated(Request, settings, "setting")


LETTERS = {"B": "bottleneck", "K": "layers", "R": "repeats", "H": "hidden"}


def inline_spec(text: str) -> StudentSpec:
    """Return the spec that ``B=128,K=6,R=2`` stands for; B left out keeps the full table.

    Raises:
        XlbenchError: It is no such line, or a number is out of bounds.
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
