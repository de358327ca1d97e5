"""Looking a name up, with the nearest valid ones when it is not there."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, TypeVar

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")


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

    Raises:
        XlbenchError: ``name`` is not in ``table``; the remedy proposes the nearest names.
    """
    try:
        return table[name]
    except KeyError:
        raise XlbenchError(f"Unknown {kind} '{name}'.", nearest(name, table)) from None
