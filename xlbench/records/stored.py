"""Records in the store, each beside its item-level scores: written, read by key, and found by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xlbench.errors import XlbenchError, nearest
from xlbench.progress import waits_for
from xlbench.records.predictions import read_predictions
from xlbench.records.record import FILE, ITEMS, KIND, Record, read_record
from xlbench.scoring.items import read_items
from xlbench.store import entry_path, get_or_build, read_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from xlbench.fingerprint import Json
    from xlbench.records.record import Record
    from xlbench.scoring.items import Items
    from xlbench.settings import Settings


class StoredRecord(NamedTuple):
    """A row that a run gave.

    Attributes:
        record: Its record.
        key: Of the record's entry in the store, which also holds the items.
    """

    record: Record
    key: str


def saved_record(key: str, settings: Settings) -> StoredRecord | None:
    """Return the row that the store has under a key."""
    entry = read_entry(settings.home, KIND, key, verify=False)
    return StoredRecord(read_record(entry.path / FILE), key) if entry else None


def write_entry(key: str, settings: Settings, make: Callable[[Path], Record]) -> StoredRecord:
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

    waiting = waits_for("scoring the same encoder", quiet=settings.quiet)
    entry = get_or_build(settings.home, KIND, key, build, waiting=waiting)
    return StoredRecord(read_record(entry.path / FILE), key)


SHORTEST = 4  # digits of a fingerprint that may stand for it
LISTED = 4  # runs that an ambiguous name lists


def find_run(reference: str, settings: Settings) -> StoredRecord:
    """Return a recorded run.

    Args:
        reference: Its name, 'minilm-half' or 'multistage/minilm-half'; the first digits of its fingerprint; or the
            path of a record, whose run is in the store (:mod:`xlbench.runs.restore`).
        settings: Where the store is.

    Raises:
        XlbenchError: There is no such run, or there are several.
    """
    kept = _kept(settings)
    path = Path(reference)
    if path.suffix == ".json" or path.is_file():
        wanted = read_record(path)
        predicted = read_predictions(path)
        if predicted and (run := saved_record(predicted.key, settings)):
            return run
        found = [run for run in kept if run.record == wanted]
        if not found:
            raise XlbenchError(
                f"The run of record '{reference}' is not in the store in {settings.home}.",
                "Run it here first, or give --home: its board did not keep what it predicted.",
            )
        return found[-1]
    found = [run for run in kept if reference in _names(run.record)]
    if not found and len(reference) >= SHORTEST:
        found = [run for run in kept if run.key.startswith(reference)]
    if len(found) > 1:
        shown = ", ".join(f"{run.key[:8]} ({describe(run.record)})" for run in found[-LISTED:])
        raise XlbenchError(
            f"{len(found)} runs in the store are called '{reference}'.", f"Say which by its fingerprint: {shown}."
        )
    if not found:
        names = {name for run in kept for name in _names(run.record)}
        raise XlbenchError(
            f"No run in the store in {settings.home} is called '{reference}'.", nearest(reference, names)
        )
    return found[0]


def items_of(run: StoredRecord, settings: Settings) -> Items:
    """Return the item-level scores of a run.

    Raises:
        XlbenchError: They are missing or damaged.
    """
    return read_items(entry_path(settings.home, KIND, run.key) / ITEMS)


def describe(record: Record) -> str:
    """Return what tells a run from others of its name."""
    made = record.provenance.made[:16].replace("T", " ")
    if record.experiment is None:
        return f"{record.role}, suite {record.scores.suite}, {made}"
    experiment = record.experiment
    return f"{experiment.method}, budget {experiment.budget.name}, seed {experiment.seed}, {made}"


def _kept(settings: Settings) -> list[StoredRecord]:
    """Return all runs of the store, oldest first."""
    paths = (settings.home / KIND).glob(f"*/{FILE}")
    runs = [StoredRecord(read_record(path), path.parent.name) for path in paths]
    return sorted(runs, key=lambda run: (run.record.provenance.made, run.key))


def _names(record: Record) -> set[str]:
    method = {f"{record.experiment.method}/{record.name}"} if record.experiment else set()
    return {record.name} | method
