"""Names for content: the same settings, data and code give the same fingerprint, on any machine."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import sys
from collections.abc import Mapping, Sequence  # noqa: TC003 - pydantic resolves them at run time
from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeAliasType

if TYPE_CHECKING:
    from pathlib import Path

# A named alias, since pydantic resolves a recursive one by its name, in this module.
Json = TypeAliasType("Json", "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None")

LENGTH = 20  # hexadecimal digits: 80 bits, ample for a store of thousands


class Frozen(BaseModel):
    """Immutable, strictly typed data: what experiments, stages and records are made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def fingerprint(value: Json) -> str:
    """Return the first 20 hexadecimal digits of the SHA-256 of ``value`` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def meaning(kind: type) -> str:
    """Return what identifies the code of ``kind``: a class whose settings alone do not say what it does.

    Classes of xlbench carry a ``tag``, name and version: the version is raised when the same settings come to mean
    something else, and neither changes when the class is renamed or its file moves. Anybody else's class is identified
    by the syntax tree of the module that defines it, so that an edited plugin never meets a stale result while a
    changed comment costs nothing, and by the tags of the classes of xlbench that it derives from.

    Raises:
        TypeError: A class of xlbench has no tag of its own.
    """
    tags = [str(vars(base)["tag"]) for base in kind.__mro__ if _is_ours(base) and "tag" in vars(base)]
    if not _is_ours(kind):
        return ":".join([kind.__qualname__, _syntax_digest(kind.__module__), *tags])
    if "tag" not in vars(kind):
        raise TypeError(f"{kind.__qualname__} needs a tag of its own, e.g. tag: ClassVar[str] = 'its-name/1'.")
    return tags[0]


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in {"xlbench", "xlbench_plugins"}


@cache
def _syntax_digest(module: str) -> str:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:LENGTH]
