"""The exception that xlbench raises on bad input, and helpers that word its problem and remedy."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel, ValidationError


class XlbenchError(Exception):
    """An error that the user can fix; the command line prints it in one or two lines and exits with code 2.

    Args:
        problem: What is wrong, naming the thing and the place.
        remedy: What to do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem if not remedy else f"{problem}\n{remedy}")
        self.problem = problem
        self.remedy = remedy


T = TypeVar("T")
M = TypeVar("M", bound="BaseModel")


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a sentence that proposes the names nearest to ``name``, or lists all valid ones."""
    names = sorted(valid)
    folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.55)
    if close:
        return f"Did you mean {' or '.join(folded[match] for match in close)}?"
    return f"Valid names: {', '.join(names) or 'none'}."


def look_up(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return ``table[name]``.

    Args:
        kind: What the names stand for, e.g. 'corpus'; part of the message.
        name: What to look up.
        table: Things by name.

    Raises:
        XlbenchError: ``name`` is not in ``table``; the remedy proposes the nearest names.
    """
    try:
        return table[name]
    except KeyError:
        raise XlbenchError(f"Unknown {kind} '{name}'.", nearest(name, table)) from None


def first_line(error: BaseException) -> str:
    """Return the first line of another library's message, which names the cause; its type if it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def validated(kind: type[M], settings: Mapping[str, object], noun: str) -> M:
    """Return ``kind`` made from raw settings, pydantic's first complaint as an error of ours.

    Raises:
        XlbenchError: A value is of the wrong kind or out of bounds, or a name is unknown.
    """
    from pydantic import ValidationError

    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise complaint(error, noun, kind.model_fields) from error


def complaint(error: ValidationError, noun: str, valid: object) -> XlbenchError:
    """Return pydantic's first complaint as an error of ours."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or noun
    if first["type"] == "extra_forbidden" and isinstance(valid, dict):
        return XlbenchError(f"Unknown {noun} '{name}'.", nearest(name, valid))
    given = first.get("input")
    return XlbenchError(f"{noun.capitalize()} '{name}' cannot be {given!r}: {first['msg'].lower()}.")
