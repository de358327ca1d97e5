"""A stage in the store: what its entry holds, and whether it is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.distill.outcome import StageOutcome
from xlbench.errors import XlbenchError
from xlbench.store import read_entry, require_files

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from xlbench.store import Entry

KIND = "stages"  # kind of the entries in the store
MODEL = "model"  # name of the SentenceTransformer directory in a stage's entry
FACTS = "xlbench.json"  # in that directory: the encoder's shape and metadata, so that they go where the weights go


def check_stage(entry: Entry) -> None:
    """Refuse an entry of the store that is no stage's, though its manifest is whole.

    Raises:
        XlbenchError: It holds no encoder, or its facts are not those of a stage.
    """
    require_files(entry, f"{MODEL}/modules.json", f"{MODEL}/{FACTS}")
    try:
        outcome_of("", entry)
    except ValueError as error:
        raise XlbenchError("its facts are not those of a stage", "Run again: it is then made anew.") from error


def stored_stage(home: Path, key: str, *, only: Collection[str] | None = None) -> Entry | None:
    """Return the entry of a finished stage; None if there is none, or one that is damaged or no stage's.

    Args:
        home: The store.
        key: The stage's fingerprint.
        only: Compare these files with their checksums; None compares all.
    """
    entry = read_entry(home, KIND, key, only=only)
    try:
        if entry is not None:
            check_stage(entry)
    except XlbenchError:
        return None
    return entry


def outcome_of(name: str, entry: Entry) -> StageOutcome:
    """Return a stage's outcome from the facts that the store keeps of it.

    Raises:
        ValueError: They are not those of a stage (pydantic's ValidationError).
    """
    facts = entry.manifest.facts
    # Entries that were written before the shape and the metadata were kept lack them.
    kept = ("peak_memory", "pairs", "processes", "evaluations", "shape", "metadata")
    return StageOutcome.model_validate(
        {
            "name": name,
            "key": entry.manifest.key,
            "reused": entry.reused,
            "seconds": entry.manifest.seconds,
            **{field: facts[field] for field in kept if field in facts},
        }
    )
