"""A request: what somebody typed or wrote into a TOML file, not yet looked up."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, Field, ValidationError

from xlbench.conditions import Conditions, Treatment
from xlbench.errors import XlbenchError
from xlbench.experiment import Seeds
from xlbench.names import nearest

if TYPE_CHECKING:
    from pathlib import Path

M = TypeVar("M", bound=BaseModel)


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
            f"'{path}' is not valid TOML: {error}", "Mend it; see `xlbench run --print-config`."
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


def validated(kind: type[M], settings: dict[str, object], noun: str) -> M:
    """Return ``kind`` made from raw settings, its complaint in one line.

    Raises:
        XlbenchError: A value is of the wrong kind or out of bounds, or a name is unknown.
    """
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
