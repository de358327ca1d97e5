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
        return f"Did you mean {' or '.join(_quoted([folded[match] for match in close]))}?"
    return f"Valid names: {', '.join(_quoted(names)) or 'none'}."


def _quoted(names: list[str]) -> list[str]:
    """Return names for a list that commas separate: in quotes where one of them contains a comma itself."""
    return [f"'{name}'" for name in names] if any("," in name for name in names) else names


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
    """Return the first line of another library's message, which names the cause; its type if it says nothing.

    A first line that ends in a colon only announces the cause, so the next one follows it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def shortened(text: str, longest: int = 60) -> str:
    """Return a text of others in quotes for a message, cut to ``longest`` characters."""
    return repr(text if len(text) <= longest else f"{text[:longest]}…")


def validated(kind: type[M], settings: Mapping[str, object], noun: str) -> M:
    """Return ``kind`` built from raw settings; what pydantic rejects becomes an error of xlbench.

    Raises:
        XlbenchError: A value is of the wrong kind or out of bounds, or a name is unknown.
    """
    from pydantic import ValidationError

    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise complaint(error, noun, kind.model_fields, settings) from error


def complaint(
    error: ValidationError, noun: str, valid: object, settings: Mapping[str, object] | None = None
) -> XlbenchError:
    """Return what pydantic rejects as an error of xlbench.

    Args:
        error: Pydantic's.
        noun: What a name in the settings stands for, e.g. 'setting'.
        valid: The valid names by field, to propose the nearest one.
        settings: What the user wrote, so that the error names a place in it.
    """
    place, message, given = rejection(error, settings)
    name = ".".join(place) or noun
    if error.errors()[0]["type"] == "extra_forbidden" and isinstance(valid, dict):
        return XlbenchError(f"Unknown {noun} '{name}'.", nearest(name, valid))
    if message == "Field required":
        return XlbenchError(f"{noun.capitalize()} '{name}' is missing.")
    return XlbenchError(f"{noun.capitalize()} '{name}' cannot be {given!r}: {message[0].lower()}{message[1:]}.")


EXPECTED = "Input should be "  # how pydantic begins most of its messages


def rejection(error: ValidationError, settings: object = None) -> tuple[tuple[str, ...], str, object]:
    """Return where the user's settings are invalid, why, and what stands there.

    Pydantic's locations also name the alternatives of a union ('student.str', 'options.learning_rate.bool'), with one
    error for each; those names are dropped, and the reasons are joined. Of several alternatives the one that was
    valid furthest into the settings counts.
    """
    first, *rest = error.errors()
    alternatives = [first, *(other for other in rest if other["loc"][0:1] == first["loc"][0:1])]
    places = [_written(entry["loc"], settings, missing=entry["type"] == "missing") for entry in alternatives]
    place = max(places, key=len)
    chosen = [entry for entry, at in zip(alternatives, places, strict=True) if at == place]
    reasons = list(dict.fromkeys(entry["msg"].removeprefix("Value error, ") for entry in chosen))
    if len(reasons) > 1 and all(reason.startswith(EXPECTED) for reason in reasons):
        *others, last = (reason.removeprefix(EXPECTED) for reason in reasons)
        reasons = [f"{EXPECTED}{', '.join(others)} or {last}"]
    return place, reasons[0], chosen[0].get("input")


def _written(location: tuple[int | str, ...], settings: object, *, missing: bool) -> tuple[str, ...]:
    """Return the parts of a location that stand in the settings; all of them where the settings are not known."""
    if settings is None:
        return tuple(map(str, location))
    parts: list[str] = []
    here = settings
    for number, part in enumerate(location):
        if isinstance(here, dict) and part in here:  # noqa: SIM114 - two types, of which only the first has any key
            here = here[part]
        elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
            here = here[part]
        elif not (missing and number == len(location) - 1):
            continue
        parts.append(str(part))
    return tuple(parts)
