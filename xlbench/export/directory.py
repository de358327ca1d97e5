"""Exporting a student as a directory of its own."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from xlbench.distill.engine import MODEL
from xlbench.errors import XlbenchError
from xlbench.store import disk_errors, entry_path, read_entry

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.records.record import Record
    from xlbench.settings import Settings


def student_directory(record: Record, settings: Settings) -> Path:
    """Return the SentenceTransformer directory that a record's student is in."""
    return entry_path(settings.home, "stages", record.encoder_key) / MODEL


def save_student_copy(record: Record, target: Path, settings: Settings) -> None:
    """Copy a student out of the store, whole or not at all.

    Args:
        record: The student's.
        target: The directory to make.
        settings: Where the store is.

    Raises:
        XlbenchError: The target is there already, the student is no longer in the store, or the disk is full.
    """
    if target.exists():
        raise XlbenchError(f"'{target}' is there already.", "Name another directory, or delete this one.")
    if read_entry(settings.home, "stages", record.encoder_key) is None:
        raise XlbenchError(
            f"The student of '{record.name}' is no longer in the store in {settings.home}.",
            "Delete its record (kind 'records') and run it again.",
        )
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    with disk_errors():
        try:
            shutil.copytree(student_directory(record, settings), temporary)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
