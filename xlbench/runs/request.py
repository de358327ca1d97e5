"""A request: the settings of a run or a board as the user writes them, and how they are read and checked.

Names of methods, corpora and encoders are looked up later, in :mod:`xlbench.runs.resolve`.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.disk import read_bounded
from xlbench.distill.method import Scalar
from xlbench.errors import XlbenchError, first_line, nearest
from xlbench.experiment import MOST_PAIRS, Bits, Precision, Seeds, StudentSpec
from xlbench.fingerprint import Frozen
from xlbench.validation import validated

if TYPE_CHECKING:
    from collections.abc import Mapping
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

    suite: str = Field(
        default="starter", description="The suite of tasks to score on; mteb:TASK,... takes those of MTEB."
    )
    keep_out: tuple[str, ...] = Field(
        default=(), description="More suites whose sentences are removed from the training data."
    )
    corpus: tuple[str, ...] = Field(default=("starter",), min_length=1, description="Sources of parallel pairs.")
    languages: tuple[str, ...] = Field(
        default=(), description="Languages to train on, beside English; none: all of the corpora's."
    )
    budget: str = Field(default="example", description="How much data and training: a named budget.")
    pairs_per_language: int | None = Field(
        default=None, ge=1, le=MOST_PAIRS, description="Overrides the budget's number."
    )
    assistant_pairs: int | None = Field(default=None, ge=0, le=MOST_PAIRS, description="Overrides the budget's number.")
    student_pairs: int | None = Field(default=None, ge=1, le=MOST_PAIRS, description="Overrides the budget's number.")
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


def load_toml(path: Path, what: str, remedy: str) -> dict[str, object]:
    """Return what a TOML file says, unchecked.

    Args:
        path: The file.
        what: What it should hold, for errors: 'Board'; empty for a file that the user named as such.
        remedy: What to give instead of a file that cannot be read.

    Raises:
        XlbenchError: The file cannot be read or is not valid TOML.
    """
    title = f"{what} '{path}'".strip()
    try:
        return tomllib.loads(read_bounded(path))
    except UnicodeDecodeError as error:
        raise XlbenchError(f"{title} cannot be read: it is not UTF-8 (byte {error.start + 1}).", remedy) from error
    except OSError as error:
        raise XlbenchError(f"{title} cannot be read: {error.strerror or first_line(error)}.", remedy) from error
    except RecursionError:
        raise XlbenchError(f"{title} is nested too deeply.", "Write it with fewer brackets.") from None
    except ValueError as error:  # TOMLDecodeError is one, and so is what a number of thousands of digits raises
        raise XlbenchError(f"{title} is not valid TOML: {first_line(error)}", "Fix that line.") from error


def read_toml(path: Path) -> dict[str, object]:
    """Return the settings of a TOML file, unchecked; ``[options]`` and ``[student]`` may be tables.

    Raises:
        XlbenchError: The file cannot be read, is not valid TOML, or has an unknown key.
    """
    settings = load_toml(path, "", "Give --config a TOML file; `xlbench run --print-config` prints one.")
    for key in settings:
        if key not in Request.model_fields:
            raise XlbenchError(f"'{path}' sets '{key}', which is not a setting.", nearest(key, Request.model_fields))
    return settings


def make_request(settings: Mapping[str, object]) -> Request:
    """Check raw settings and return them as a request.

    Raises:
        XlbenchError: A value is of the wrong kind or out of bounds.
    """
    return validated(Request, settings, "setting")


def parse_seeds(text: str) -> list[int]:
    """Parse ``0,1,2`` into numbers.

    Raises:
        XlbenchError: One of them is not a whole number; the remedy is the list with commas, where that is one.
    """
    parts = [part.strip() for part in text.split(",")]
    if all(map(_is_number, parts)):
        return [int(part) for part in parts]
    apart = re.split(r"[\s,;]+", text.strip(" \t,;[]()"))
    meant = ",".join(apart) if all(map(_is_number, apart)) else "0,1,2"
    raise XlbenchError(
        f"'{text}' is not a list of seeds: whole numbers, 0 or more.", f"Separate them by commas: --seeds {meant}."
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def parse_list(text: str) -> list[str]:
    """Parse ``de,tr`` into names.

    Raises:
        XlbenchError: There is no name, or blanks stand between two of them.
    """
    names = [name for part in text.split(",") if (name := part.strip())]
    if not names or any(len(name.split()) > 1 for name in names):
        meant = ",".join(re.split(r"[\s,;]+", text.strip())) if names else "de,tr"
        raise XlbenchError(f"'{text}' is not a list of names.", f"Separate them by commas, without blanks: {meant}.")
    return names


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
        if field in fields:
            raise XlbenchError(f"'{part.strip()}' in the student spec '{text}' says '{field}' again.", "Say it once.")
        fields[field] = number
    name = "custom-" + "-".join(f"{key}{value}" for key, value in fields.items())
    return validated(StudentSpec, {"name": name, **fields}, "part of the student spec")
