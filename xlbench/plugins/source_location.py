"""The place in a plugin's source code where something is defined or an exception was raised, as ``file:line``."""

from __future__ import annotations

import functools
import inspect
import traceback
from pathlib import Path


def written_at(thing: object) -> str:
    """Return ``file:line`` of a function, method, class or callable object; an empty string if it has no source."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    thing = inspect.unwrap(thing) if callable(thing) else thing
    code = getattr(thing, "__code__", None)
    if code is not None:
        return f"{shorten(code.co_filename)}:{code.co_firstlineno}"
    kind = thing if isinstance(thing, type) else type(thing)
    try:
        return f"{shorten(inspect.getfile(kind))}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return ""


def field_at(kind: type, field: str) -> str:
    """Return ``file:line`` of an annotated field of a class, own or inherited; that of the class if it is not found."""
    for owner in kind.__mro__:
        try:
            lines, first = inspect.getsourcelines(owner)
        except (OSError, TypeError):
            continue
        for offset, line in enumerate(lines):
            if line.strip().partition(":")[0].strip() == field:
                return f"{shorten(inspect.getfile(owner))}:{first + offset}"
    return written_at(kind)


def raised_at(error: BaseException, *files: str) -> str:
    """Return ``file:line`` of the innermost frame of an error that is in one of ``files``.

    Args:
        error: An exception that was raised.
        files: Files of the plugin, or directories of its package.

    Returns:
        Of a syntax error its own place; an empty string if no frame is in ``files``.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{shorten(error.filename)}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [frame for frame in frames if any(Path(frame.filename).is_relative_to(file) for file in files)]
    return f"{shorten(own[-1].filename)}:{own[-1].lineno} in {own[-1].name}" if own else ""


def shorten(file: str) -> str:
    """Return a path relative to the working directory if it is inside, else unchanged."""
    path = Path(file)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
