"""Rows in the store: a record beside its item-level scores, under the key of all that the row rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from xlbench.leaderboard.record import FILE, KIND, Record, read_record
from xlbench.store import get_or_build, read_entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xlbench.fingerprint import Json
    from xlbench.settings import Settings


class Made(NamedTuple):
    """A row that a run gave.

    Attributes:
        record: Its record.
        key: Of the record's entry in the store, which also holds the items.
    """

    record: Record
    key: str


def stored_row(key: str, settings: Settings) -> Made | None:
    """Return the row that the store has under a key."""
    entry = read_entry(settings.home, KIND, key, verify=False)
    return Made(read_record(entry.path / FILE), key) if entry else None


def store_row(key: str, settings: Settings, make: Callable[[Path], Record]) -> Made:
    """Return the row that the store has under a key, or make and keep it.

    Args:
        key: Of its entry.
        settings: Where the store is.
        make: Writes the items into the directory that it is given, and returns the record.

    Raises:
        XlbenchError: The disk is full or read-only.
    """

    def build(directory: Path) -> dict[str, Json]:
        record = make(directory)
        (directory / FILE).write_text(record.model_dump_json(indent=1, by_alias=True) + "\n", "utf-8")
        return {"name": record.name, "role": record.role}

    entry = get_or_build(settings.home, KIND, key, build)
    return Made(read_record(entry.path / FILE), key)
