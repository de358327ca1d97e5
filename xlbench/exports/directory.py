"""Students as directories of their own, which are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xlbench.disk import disk_errors
from xlbench.distill.stage_entry import KIND, MODEL, check_stage
from xlbench.errors import XlbenchError
from xlbench.exports.card import write_card
from xlbench.settings import refuse_existing
from xlbench.store import Damage, Entry, entry_path, examine, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from xlbench.records.record import Record
    from xlbench.settings import Settings


def student_directory(record: Record, settings: Settings) -> Path:
    """Return the SentenceTransformer directory that a record's student is in."""
    return entry_path(settings.home, KIND, record.encoder_key) / MODEL


def require_student(record: Record, remedy: str) -> None:
    """Refuse the record of an encoder that was only scored.

    Args:
        record: Of a run.
        remedy: What to give instead.

    Raises:
        XlbenchError: It is of no student.
    """
    if record.experiment is None:
        raise XlbenchError(f"'{record.name}' was only scored, it is no student that xlbench trained.", remedy)


def verified_directory(record: Record, settings: Settings) -> Path:
    """Return the directory of a record's student, all files of which are as they were written.

    Raises:
        XlbenchError: The student is no longer in the store, or is damaged.
    """
    if record.stages and record.encoder_key not in {stage.key for stage in record.stages}:
        raise XlbenchError(
            f"'{record.name}' is an export that a board scored; its files are not kept.",
            "Name the run that it was made of, or export that: xlbench export RUN --to FORMAT DIRECTORY.",
        )
    found = examine(settings.home, KIND, record.encoder_key)
    if isinstance(found, Entry):
        try:
            check_stage(found)
        except XlbenchError as error:
            found = Damage(found.path, error.problem)
    if not isinstance(found, Entry):
        missing = f"The student of '{record.name}' is no longer in the store in {settings.home}"
        raise XlbenchError(f"{found or missing}.", "Run it again with --save (in Python: save=...): it is made anew.")
    return found.path / MODEL


def save_student_copy(record: Record, target: Path, settings: Settings, card: Callable[[Path], str]) -> None:
    """Copy a student out of the store, with a model card and the code of its architecture, whole or not at all.

    The student in the store has neither: what lies there stays as its stage left it.

    Args:
        record: The student's.
        target: The directory to make.
        settings: Where the store is.
        card: Returns the model card of the student in a directory.

    Raises:
        XlbenchError: The target is there already, the student is gone from the store or damaged, or the disk is full.
    """
    from xlbench.students.carried_code import carry_code
    from xlbench.students.load import share_files

    source = verified_directory(record, settings)
    with new_directory(target, needed=sum(file.stat().st_size for file in source.rglob("*"))) as directory:
        shutil.copytree(source, directory, dirs_exist_ok=True)
        share_files(directory)  # those of an earlier version may be only their owner's to read
        carry_code(directory)
        write_card(directory, lambda: card(directory))


@contextmanager
def new_directory(target: Path, *, needed: int | None = None, what: str = "the student") -> Iterator[Path]:
    """Give a temporary directory, which takes its name when the block ends, and is deleted if the block fails.

    Args:
        target: The directory to make.
        needed: How much space it takes, in bytes, where that is known.
        what: What is written, for errors.

    Raises:
        XlbenchError: The target is there already, it cannot be made, or the disk is full.
    """
    refuse_existing(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    with disk_errors(what, target.parent, needed=needed):
        try:
            try:
                temporary.mkdir(parents=True)
            except OSError as error:
                raise XlbenchError(
                    f"'{target}' cannot be made: {error.strerror}.", "Name a directory that you may write to."
                ) from error
            yield temporary
            publish(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
