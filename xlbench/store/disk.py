"""Writing to disk: whole or not at all, also when the power fails."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from uuid import uuid4

from xlbench.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

# How names of directories under partial/ begin that are about to go, and into which an archive is unpacked.
DELETED, IMPORT = "deleted-", "import-"
WINDOWS = os.name == "nt"  # there a directory cannot be synced, and a file only if it is open for writing


def with_disk_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function under :func:`disk_errors`."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        with disk_errors("the store", store=True):
            return function(*args, **kwargs)

    return guarded


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that readers see either the old or the new content, also after a power failure.

    Raises:
        XlbenchError: The disk is full or read-only.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with disk_errors(f"'{path.name}'", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
            sync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def publish(temporary: Path, target: Path) -> None:
    """Give a finished file or directory its name, once all of it is on the disk.

    Args:
        temporary: Under a name that nobody reads, on the same file system.
        target: Its name; a file that has it is replaced, a directory must not be there.

    Raises:
        OSError: It cannot be renamed.
    """
    sync(temporary)
    temporary.replace(target)
    sync_directory(target.parent)


def sync(path: Path) -> None:
    """Have the disk hold a file, or all files and directories below one."""
    if not path.is_dir():
        _sync_file(path)
        return
    for folder, _, names in os.walk(path):
        for name in names:
            _sync_file(Path(folder, name))
        sync_directory(Path(folder))


def _sync_file(path: Path) -> None:
    with path.open("r+b" if WINDOWS else "rb") as stream:
        os.fsync(stream.fileno())


def sync_directory(path: Path) -> None:
    """Have the disk hold the names in a directory."""
    if WINDOWS:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(path: Path, home: Path) -> None:
    """Delete what lies at a path of the store: of a link the link itself, never what it points to.

    Args:
        path: In the store; nothing may be there.
        home: The store.
    """
    rubbish = set_aside(path, home)
    if rubbish is not None:
        remove_tree(rubbish)


def remove_tree(path: Path) -> None:
    """Delete a directory, whatever of it others delete meanwhile.

    Args:
        path: The directory; it may be gone already.
    """
    while os.path.lexists(path):
        with suppress(FileNotFoundError):  # each time less is left
            shutil.rmtree(path)


def set_aside(path: Path, home: Path) -> Path | None:
    """Take a directory out of readers' sight at once, and return where it lies; links and files are deleted."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    if not path.is_dir():
        return None
    rubbish = home / "partial" / f"{DELETED}{uuid4().hex}"
    rubbish.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.rename(rubbish)
    except FileNotFoundError:  # its build has ended, or somebody else has deleted it
        return None
    return rubbish
