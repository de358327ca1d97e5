"""Entries of the store: taken from it, or built by one process while others wait."""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from xlbench.disk import disk_errors
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen, file_digest
from xlbench.progress import note
from xlbench.store.disk import discard, publish, remove_tree, set_aside
from xlbench.store.entry import MANIFEST, Damage, Entry, Manifest, entry_path, examine, refuse_links
from xlbench.store.lease import claim
from xlbench.store.lock import LEASE, Lock, look
from xlbench.store.seal import read_sealed, write_sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from xlbench.fingerprint import Json

FIRST_WAIT = 0.2  # seconds before waiting is said: whoever has just taken the lock writes down who it is
REMIND_EVERY = 60.0  # seconds of waiting for another process
LONGEST_BUILD = 14 * 24 * 3600.0  # seconds; a longer one is a clock that was set
TEMPORARY = re.compile(r"\..+\.\d+")  # `.NAME.PROCESS`, as write_atomically and others call what is not finished
ATTEMPT = "attempt.json"  # in the directory of a build that is not finished
FENCE = "~"  # in no name of an entry; behind it, whose copy of an unfinished build a directory is
STOPPED = f"this process stood still for more than {LEASE:.0f} seconds, and was taken for gone"


class Attempt(Frozen):
    """The times of a build that is not finished.

    Attributes:
        began: When it began, in seconds since the epoch.
        spent: Seconds that interrupted builds of the same entry took before.
    """

    began: float
    spent: float


def get_or_build(
    home: Path,
    kind: str,
    key: str,
    build: Callable[[Path], dict[str, Json]],
    *,
    doing: str = "building the same entry",
    quiet: bool = False,
    check: Callable[[Entry], object] = lambda _: None,
    complete: Callable[[Entry], bool] = lambda _: True,
) -> Entry:
    """Return an entry, after building it if it is missing or damaged.

    A damaged entry is replaced once its successor is finished, and both are said. A process that was suspended and lost
    the entry's lock meanwhile leaves the entry to whoever took that.

    Args:
        home: The store.
        kind: Sort of entry.
        key: Its fingerprint.
        build: Writes the entry's files into the directory it is called with, and returns facts for the manifest. The
            directory may have files of an interrupted build to resume from. Its subdirectory ``scratch`` is removed.
        doing: What another process that builds the same entry is doing: 'tokenising the corpus'. It is said while that
            is waited for, and again every minute.
        quiet: Say nothing.
        check: Called with an entry that is as its manifest says; an :class:`XlbenchError` of it means that the entry
            is of no use here, and is damage like any other. See :func:`~xlbench.store.entry.require_files`.
        complete: Called with an entry that can be used. False: it lacks what is wanted of it now, and is replaced
            without a word; until then ``build`` can read it.

    Raises:
        XlbenchError: The disk is full or read-only, or a folder of the store is a link.
    """
    entry_path(home, kind, key)  # is a name
    refuse_links(home, kind, "partial", "locks")
    claim(home, kind, key)
    if isinstance(found := _usable(home, kind, key, check, complete), Entry):
        return found
    lock, lost = entry_lock(home, kind, key), False
    while True:
        with disk_errors(kind, home, store=True), _locked(lock, doing, quiet=quiet):
            found = _usable(home, kind, key, check, complete)
            if isinstance(found, Entry):
                if lost:  # what this process wrote since then is nobody's
                    discard(home / "partial" / f"{kind}-{key}", home)
                return found
            if isinstance(found, Damage):
                note(f"{found}; it is made again", quiet=quiet)
            manifest = _build(home, kind, key, build, lock)
            if manifest is not None:
                return Entry(entry_path(home, kind, key), manifest, reused=False)
        lost = True
        note(f"{kind} {key} is left to another process: {STOPPED}", quiet=quiet)


def _build(home: Path, kind: str, key: str, build: Callable[[Path], dict[str, Json]], lock: Lock) -> Manifest | None:
    """Build an entry whose lock this process holds, and publish it; None if the lock was lost meanwhile."""
    partial, target = _workplace(home, f"{kind}-{key}", lock), entry_path(home, kind, key)
    partial.mkdir(parents=True, exist_ok=True)
    _remove_unfinished_files(partial)
    attempt = Attempt(began=time.time(), spent=_spent(partial))
    write_sealed(partial / ATTEMPT, attempt)
    began = time.monotonic()
    try:
        facts = build(partial)
        seconds = attempt.spent + time.monotonic() - began
        shutil.rmtree(partial / "scratch", ignore_errors=True)
        (partial / ATTEMPT).unlink()
        manifest = Manifest(kind=kind, key=key, made=time.time(), seconds=seconds, facts=facts, files=_digests(partial))
        write_sealed(partial / MANIFEST, manifest)
    except Exception:
        if not lock.is_held():  # then its directory went while it worked
            return None
        raise
    finally:
        if partial.is_dir() and [path.name for path in partial.iterdir()] == [ATTEMPT]:  # nothing to resume from
            shutil.rmtree(partial)
    if not lock.is_held():
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    discard(target, home)
    publish(partial, target)
    return manifest


def _workplace(home: Path, name: str, lock: Lock) -> Path:
    """Return the directory in which an entry is built, with what an interrupted build left.

    Where the one who built it before may still run and write, that is a copy under another name, and the place where
    that one writes is gone.
    """
    folder = home / "partial"
    place = next(iter(sorted(folder.glob(f"{name}{FENCE}*"))), folder / name)
    if place.is_symlink():
        place.unlink()
    if place.name != name:  # somebody who lost the lock wrote on
        discard(folder / name, home)
    if not lock.unproven:
        return place
    left, place = set_aside(place, home), folder / f"{name}{FENCE}{uuid4().hex[:8]}"
    if left is not None:
        shutil.copytree(left, place, symlinks=True)
        remove_tree(left)
    return place


def entry_lock(home: Path, kind: str, key: str) -> Lock:
    """Return the lock that a process holds while it builds an entry.

    Raises:
        XlbenchError: The folder of locks is a link.
    """
    return named_lock(home, f"{kind}-{key}")


def named_lock(home: Path, name: str) -> Lock:
    """Return the lock of what is built under a name in ``partial``; see :func:`entry_lock`."""
    refuse_links(home, "locks")
    path = home / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return Lock(path)


def _remove_unfinished_files(partial: Path) -> None:
    """Delete what a process that was killed had not written to its end: it has the name of its temporary file."""
    for path in [it for it in partial.rglob(".*") if TEMPORARY.fullmatch(it.name)]:
        path.unlink() if path.is_file() else shutil.rmtree(path)


def _usable(
    home: Path, kind: str, key: str, check: Callable[[Entry], object], complete: Callable[[Entry], bool]
) -> Entry | Damage | None:
    """Return what the store has under a key, and remember that it was used; None also for one that is not complete."""
    found = examine(home, kind, key)
    if not isinstance(found, Entry):
        return found
    try:
        check(found)
    except XlbenchError as error:
        return Damage(found.path, error.problem.rstrip("."))
    if not complete(found):
        return None
    with suppress(OSError):  # a store that may only be read
        os.utime(found.path / MANIFEST)
    return found


def _digests(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a directory, by its path there.

    Raises:
        XlbenchError: A build left a link.
    """
    files = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink():
            raise XlbenchError(f"'{path}' is a link, and the store follows none.", "Write a copy of the file there.")
        if path.is_file() and name != MANIFEST:
            files[name] = file_digest(path)
    return files


def _spent(partial: Path) -> float:
    """Return the seconds of earlier, interrupted builds, each up to the last file that it wrote.

    Both times are the clock's, which may have been set meanwhile: what took no time, or weeks, is not counted.
    """
    attempt = read_sealed(partial / ATTEMPT, Attempt)
    if attempt is None:
        return 0.0
    written = [path.lstat().st_mtime for path in partial.rglob("*") if path.is_file() and path.name != ATTEMPT]
    took = max(written, default=0.0) - attempt.began
    return attempt.spent + (took if 0 <= took <= LONGEST_BUILD else 0.0)


@contextmanager
def _locked(lock: Lock, doing: str, *, quiet: bool) -> Iterator[None]:
    patience = FIRST_WAIT
    while not lock.acquire(timeout=patience):
        patience = REMIND_EVERY
        found = look(lock.path)
        holder = found.owner if found else None
        note(f"waiting for {holder or 'another process'} that is {doing}", quiet=quiet)
    try:
        yield
    finally:
        lock.release()
