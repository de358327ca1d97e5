"""Exporting a student as a directory of its own."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from xlbench.disk import disk_errors
from xlbench.distill.engine import MODEL
from xlbench.errors import XlbenchError
from xlbench.store import Entry, entry_path, examine, publish

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.records.record import Record
    from xlbench.settings import Settings


def student_directory(record: Record, settings: Settings) -> Path:
    """Return the SentenceTransformer directory that a record's student is in."""
    return entry_path(settings.home, "stages", record.encoder_key) / MODEL


def verified_directory(record: Record, settings: Settings) -> Path:
    """Return the directory of a record's student, all files of which are as they were written.

    Raises:
        XlbenchError: The student is no longer in the store, or is damaged.
    """
    found = examine(settings.home, "stages", record.encoder_key)
    if not isinstance(found, Entry):
        missing = f"The student of '{record.name}' is no longer in the store in {settings.home}"
        raise XlbenchError(f"{found or missing}.", "Run it again with --save (in Python: save=...): it is made anew.")
    return found.path / MODEL


def save_student_copy(record: Record, target: Path, settings: Settings) -> None:
    """Copy a student out of the store, whole or not at all.

    Args:
        record: The student's.
        target: The directory to make.
        settings: Where the store is.

    Raises:
        XlbenchError: The target is there already, the student is gone from the store or damaged, or the disk is full.
    """
    if target.exists():
        raise XlbenchError(f"'{target}' is there already.", "Name another directory, or delete this one.")
    directory = verified_directory(record, settings)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    needed = sum(file.stat().st_size for file in directory.rglob("*"))
    with disk_errors("the student", target.parent, needed=needed):
        try:
            shutil.copytree(directory, temporary)
            publish(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
