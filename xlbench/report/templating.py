"""The templates of plots and pages. Everything that they show is escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment() -> Environment:
    """Return the environment of the templates that ship with xlbench."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("xlbench.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["number"] = number
    return found


def asset(name: str) -> str:
    """Return the text of a template as it is: a style sheet or a script."""
    from importlib.resources import files

    return (files("xlbench.report") / "templates" / name).read_text("utf-8")


def number(value: float, digits: int = 2) -> str:
    """Return a number for SVG: rounded, without trailing zeros: '12', '0.5'."""
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
