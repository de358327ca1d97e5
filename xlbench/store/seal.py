"""Facts as JSON files that carry a digest of themselves, so that a changed bit is noticed when they are read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from xlbench.fingerprint import Frozen, fingerprint
from xlbench.store.disk import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "digest"  # the field that is added

F = TypeVar("F", bound=Frozen)


def sealed(facts: Frozen) -> str:
    """Return facts as JSON with a digest of them."""
    fields = json.loads(facts.model_dump_json())
    return json.dumps({**fields, DIGEST: fingerprint(fields)}, indent=1)


def unsealed(text: str, kind: type[F]) -> F | None:
    """Return facts from JSON; None if they are not those that were sealed."""
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict) or fields.pop(DIGEST, None) != fingerprint(fields):
            return None
        return kind.model_validate(fields)
    except (ValueError, TypeError, RecursionError, ValidationError):
        return None


def write_sealed(path: Path, facts: Frozen) -> None:
    """Write facts with their digest, whole or not at all.

    Raises:
        XlbenchError: The disk is full or read-only.
    """
    write_atomically(path, sealed(facts))


def read_sealed(path: Path, kind: type[F]) -> F | None:
    """Read facts that :func:`write_sealed` wrote; None if they are missing or damaged, or the path is a link."""
    try:
        return None if path.is_symlink() else unsealed(path.read_text("utf-8"), kind)
    except (OSError, UnicodeDecodeError):
        return None
