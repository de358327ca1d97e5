"""Writes the project of a new plugin, with Jinja2 alone: copier would add ten more dependencies."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench._version import __version__
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from importlib.resources.abc import Traversable

VALID_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 40
PREFIX = "xlbench-"
SUFFIX = ".j2"
PLACEHOLDER = "PACKAGE"  # in paths


def new_plugin(name: str, parent: Path, taken: Collection[str]) -> Path:
    """Write a plugin's project into ``parent/name``, whole or not at all.

    Args:
        name: Name of the method and of the directory; the distribution is ``xlbench-NAME``.
        parent: An existing directory.
        taken: Names of existing methods.

    Returns:
        The project's directory.

    Raises:
        XlbenchError: The name is invalid or taken, the directory is there already, or cannot be written.
    """
    check_name(name, taken)
    target = parent / name
    if target.exists() or target.is_symlink():
        raise XlbenchError(f"'{target}' is there already.", "Choose another name, or another directory with --into.")
    if not parent.is_dir():
        raise XlbenchError(f"There is no directory '{parent}'.", "Make it, or name another one with --into.")
    temporary = parent / f".{name}.{os.getpid()}"
    try:
        for path, text in rendered(name).items():
            file = temporary / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        temporary.rename(target)
    except OSError as error:
        raise XlbenchError(
            f"'{target}' cannot be written: {error.strerror}.", "Name another directory with --into."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def check_name(name: str, taken: Collection[str]) -> None:
    """Refuse a name that cannot be used, proposing the nearest one that can.

    Raises:
        XlbenchError: It is invalid, or the name of a method.
    """
    if name in taken:
        raise XlbenchError(f"There is a method '{name}' already.", f"Call yours {nearest_valid(name, taken)}, say.")
    if not VALID_NAME.fullmatch(name) or len(name) > LONGEST or name.startswith(PREFIX):
        rule = f"a letter, then letters and digits in words with '-' between, at most {LONGEST}, all small"
        if name.startswith(PREFIX):
            rule = f"the distribution is called {PREFIX}NAME by itself"
        raise XlbenchError(f"'{name}' is no name for a plugin: {rule}.", f"Did you mean {nearest_valid(name, taken)}?")


def nearest_valid(name: str, taken: Collection[str]) -> str:
    """Return the valid, free name nearest to ``name``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", plain).lower()
    words = [word for word in re.split(r"[^a-z0-9]+", spaced) if word and word != PREFIX.rstrip("-")]
    front = list(takewhile(lambda word: not word[0].isalpha(), words))
    words = [*words[len(front) :], *front]  # words that start with a digit may not come first
    if len(front) == len(words):
        words = ["method", *words]
    valid = "-".join(words)[:LONGEST].strip("-")
    return f"my-{valid}"[:LONGEST].strip("-") if valid in taken else valid


def rendered(name: str) -> dict[Path, str]:
    """Return the text of every file of the project, by its path in it."""
    from jinja2 import Environment, StrictUndefined

    package = f"xlbench_{name.replace('-', '_')}"
    facts = {
        "name": name,
        "title": "".join(word.capitalize() for word in name.split("-")),
        "distribution": f"{PREFIX}{name}",
        "package": package,
        "xlbench": __version__,
    }
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - no HTML
    return {
        Path(*(package if part == PLACEHOLDER else part for part in path.parts)).with_suffix(
            ""
        ): environment.from_string(source).render(facts)
        for path, source in _templates(files("xlbench.plugins") / "project", Path())
    }


def _templates(directory: Traversable, inside: Path) -> Iterator[tuple[Path, str]]:
    for item in sorted(directory.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _templates(item, inside / item.name)
        elif item.name.endswith(SUFFIX):
            yield inside / item.name, item.read_text("utf-8")
