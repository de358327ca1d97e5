"""Settings checked by pydantic, and what it rejects in the words of xlbench: the place, the reason, the remedy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, get_args

from xlbench.errors import XlbenchError, first_line, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound="BaseModel")


def validated(kind: type[M], settings: Mapping[str, object], noun: str) -> M:
    """Return ``kind`` built from raw settings; what pydantic rejects becomes an error of xlbench.

    Paths count as text and numpy's numbers as numbers. True is no number, and bytes are no text.

    Args:
        kind: What to build.
        settings: What the user wrote.
        noun: What a name in the settings stands for, e.g. 'setting'.

    Raises:
        XlbenchError: A value is of the wrong kind or out of bounds, or a name is unknown.
    """
    from pydantic import ValidationError

    given = {name: plain(value) for name, value in settings.items()}
    try:
        built = kind.model_validate(given)
    except ValidationError as error:
        raise complaint(error, noun, kind, given) from error
    if (converted := silently_converted(given, built)) is not None:
        place, value, remedy = converted
        raise XlbenchError(f"{noun[0].upper()}{noun[1:]} '{'.'.join(place)}' cannot be {shown(value)}.", remedy)
    return built


def plain(value: object) -> object:
    """Return a value with paths as text and numpy's numbers as Python's, those inside lists and tables too."""
    if isinstance(value, dict):
        return {plain(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple) and type(value) in {list, tuple}:
        return type(value)(plain(part) for part in value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):  # without an import of numpy
        return value.tolist()
    return value


def silently_converted(given: object, built: object) -> tuple[tuple[str, ...], object, str] | None:
    """Return where pydantic took a truth value for a number or bytes for text, with what would be right.

    Returns:
        Place, value and remedy; None if nothing was converted so.
    """
    if isinstance(given, bool) and isinstance(built, int | float) and not isinstance(built, bool):
        return (), given, "Give a number."
    if isinstance(given, bytes | bytearray) and not isinstance(built, bytes | bytearray):
        return (), given, "Give text."
    if isinstance(given, dict):
        parts = [(str(name), part, _part(built, name)) for name, part in given.items()]
    elif isinstance(given, list | tuple) and isinstance(built, list | tuple) and len(given) == len(built):
        # Seeds are sorted when they are checked: what stands at a place may have come from another.
        numbers = any(isinstance(part, bool) for part in given) and not any(isinstance(part, bool) for part in built)
        parts = [(str(number), part, 0 if numbers else built[number]) for number, part in enumerate(given)]
    else:
        return None
    for name, part, made in parts:
        if (found := silently_converted(part, made)) is not None:
            place, value, remedy = found
            return (name, *place), value, remedy
    return None


def _part(built: object, name: object) -> object:
    return built.get(name) if isinstance(built, dict) else getattr(built, str(name), None)


def complaint(
    error: ValidationError, noun: str, kind: type[BaseModel] | None, settings: Mapping[str, object] | None = None
) -> XlbenchError:
    """Return what pydantic rejects as an error of xlbench.

    Args:
        error: Pydantic's.
        noun: What a name in the settings stands for, e.g. 'setting'.
        kind: What was to be built, to propose the nearest of its names.
        settings: What the user wrote, so that the error names a place in it.
    """
    found = rejection(error, settings)
    name = ".".join(found.place) or noun
    title = f"{noun[0].upper()}{noun[1:]}"
    fields = fields_at(kind, found.place[:-1])
    if found.unknown:
        return XlbenchError(f"Unknown {noun} '{name}'.", nearest(found.place[-1], fields))
    if found.missing:
        what = fields.get(found.place[-1], "") if found.place else ""
        return XlbenchError(f"{title} '{name}' is missing.", f"Add it: {what[:1].lower()}{what[1:]}" if what else "")
    return XlbenchError(f"{title} '{name}' cannot be {shown(found.value)}: {found.reason}.", found.remedy)


def fields_at(kind: type[BaseModel] | None, place: tuple[str, ...]) -> dict[str, str]:
    """Return the names that are valid at a place below a model, with their descriptions; numbers are skipped."""
    from pydantic import BaseModel

    def models_in(annotation: object) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        for part in get_args(annotation):
            yield from models_in(part)

    for part in place:
        if kind is not None and not part.isdecimal():
            field = kind.model_fields.get(part)
            kind = next(models_in(field.annotation), None) if field else None
    return {name: field.description or "" for name, field in kind.model_fields.items()} if kind else {}


def shown(value: object) -> str:
    """Return a value as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:80]}…"


EXPECTED = "Input should be "  # how pydantic begins most of its messages


@dataclass(frozen=True)
class Rejection:
    """What is invalid in the user's settings.

    Attributes:
        place: Where it stands, as the user wrote it.
        value: What stands there.
        reason: Why it is invalid, in the words of pydantic.
        remedy: What would be valid.
        unknown: Whether it is a name that does not exist.
        missing: Whether nothing stands there.
    """

    place: tuple[str, ...]
    value: object
    reason: str
    remedy: str
    unknown: bool
    missing: bool


def rejection(error: ValidationError, settings: object = None) -> Rejection:
    """Return where the user's settings are invalid, why, and what would be valid.

    Pydantic's locations also name the alternatives of a union ('student.str', 'options.learning_rate.bool'), with one
    error for each; those names are dropped, and the reasons are joined. Of several alternatives the one that was
    valid furthest into the settings counts.
    """
    first, *rest = error.errors()
    alternatives = [first, *(other for other in rest if other["loc"][0:1] == first["loc"][0:1])]
    places = [_written(entry["loc"], settings, missing=entry["type"] == "missing") for entry in alternatives]
    place = max(places, key=len)
    return _rejected(place, [entry for entry, at in zip(alternatives, places, strict=True) if at == place])


def _rejected(place: tuple[str, ...], entries: list[ErrorDetails]) -> Rejection:
    types = {entry["type"] for entry in entries}
    reason, _, fix = _reason(entries).partition("\n")
    wanted = [fix] if fix else list(dict.fromkeys(filter(None, map(_wanted, entries))))
    *others, last = wanted or [""]
    return Rejection(
        place,
        entries[0].get("input"),
        f"{reason[:1].lower()}{reason[1:]}",
        f"Give {', '.join(others)}{' or ' if others else ''}{last}." if wanted else "",
        unknown=types == {"extra_forbidden"},
        missing=types == {"missing"},
    )


def _reason(entries: list[ErrorDetails]) -> str:
    reasons = list(dict.fromkeys(entry["msg"].removeprefix("Value error, ") for entry in entries))
    if len(reasons) > 1 and all(reason.startswith(EXPECTED) for reason in reasons):
        *others, last = (reason.removeprefix(EXPECTED) for reason in reasons)
        return f"{EXPECTED}{', '.join(others)} or {last}"
    return reasons[0]


WANTED = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
    "mapping": "a table",
    "path": "a path",
    "callable": "a function",
    "literal_error": "{expected}",
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "too_short": "at least {min_length}",
    "string_too_short": "some text",
}


def _wanted(entry: ErrorDetails) -> str:
    """Return what would be valid in place of what pydantic rejects: 'a whole number'."""
    kind = entry["type"]
    phrase = WANTED.get(kind) or WANTED.get(kind.partition("_")[0], "")
    return phrase.format(**entry.get("ctx", {}))


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


def invalid(error: Exception) -> str:
    """Return why a file of ours cannot be read, without the address of pydantic's pages or a name of its types."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        found = rejection(error)
        return f"{'.'.join(found.place)}: {found.reason}" if found.place else found.reason
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start + 1})"
    return error.strerror or first_line(error) if isinstance(error, OSError) else first_line(error)
