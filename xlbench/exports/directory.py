"""Students as directories of their own, which are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

from xlbench.disk import answered, disk_errors
from xlbench.distill.stage_entry import KIND, MODEL, check_stage
from xlbench.errors import XlbenchError
from xlbench.exports.card import CARD, write_card
from xlbench.fingerprint import file_digest
from xlbench.progress import note
from xlbench.settings import new_path, path_of, refuse_existing
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


def place_to_save(given: str | os.PathLike[str], name: str) -> Path:
    """Return where a student is to be saved: a new path, or a model's directory, which may hold that very student.

    Args:
        given: A text or a path.
        name: What it is, for errors: 'save'.

    Raises:
        XlbenchError: It is no path, something else is there, or it is in no directory that can be written to.
    """
    path = path_of(given, name)
    with answered():
        is_model = path.joinpath("modules.json").is_file() and not path.is_symlink()
    return path if is_model else new_path(path, name)


def refuse_other(target: Path, source: Path) -> bool:
    """Return whether a directory holds a copy of a student already; refuse anything else that is there.

    So a command that was killed after its last step ends well the second time. A card may have been filled in since.

    Args:
        target: Where the student is to be saved.
        source: Its directory in the store; nothing may be there.

    Raises:
        XlbenchError: Something else is there.
    """
    if not os.path.lexists(target):
        return False
    if target.is_symlink() or not _is_copy(target, source):
        refuse_existing(target)
    return True


def _is_copy(target: Path, source: Path) -> bool:
    """Return whether a directory holds the files that a copy of a student has, byte for byte, and no others."""
    from xlbench.students.carried_code import carried_files

    stored, found = _files(source), _files(target)
    if not stored or any(path.is_symlink() or not path.is_file() for path in found.values()):
        return False
    carried = {name: sha256(content).hexdigest() for name, content in carried_files(source).items()}
    if found.keys() != stored.keys() | carried.keys():
        return False
    return all(file_digest(path) == (carried.get(it) or file_digest(stored[it])) for it, path in found.items())


def _files(directory: Path) -> dict[str, Path]:
    """Return what lies below a directory by its relative path, but directories and the model card."""
    paths = {str(path.relative_to(directory)): path for path in directory.rglob("*")}
    return {name: path for name, path in paths.items() if name != CARD and (path.is_symlink() or not path.is_dir())}


def save_student_copy(record: Record, target: Path, settings: Settings, card: Callable[[Path], str]) -> None:
    """Copy a student out of the store, with a model card and the code of its architecture, whole or not at all.

    The student in the store has neither: what lies there stays as its stage left it. A directory that holds this very
    student is left as it is, and that is said.

    Args:
        record: The student's.
        target: The directory to make.
        settings: Where the store is.
        card: Returns the model card of the student in a directory.

    Raises:
        XlbenchError: Something else is there, the student is gone from the store or damaged, or the disk is full.
    """
    from xlbench.students.carried_code import carry_code
    from xlbench.students.load import share_files

    source = verified_directory(record, settings)
    if refuse_other(target, source):
        note(f"'{target}' holds this student already, every file but its card compared", quiet=settings.quiet)
        return
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
