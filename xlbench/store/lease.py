"""Leases: what a process that runs needs of the store, so that nothing of it is deleted meanwhile.

A lease is ``<home>/running/<name>.lock``, held while the run lasts, beside ``<name>.json``, which lists entries. One
whose owner is gone counts for nothing.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from xlbench.disk import disk_errors
from xlbench.progress import note_once
from xlbench.store.entry import refuse_links
from xlbench.store.lock import Lock, alone, is_gone, look
from xlbench.store.owner import host_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FOLDER = "running"
NO_NAME = re.compile(r"[^A-Za-z0-9_]+")

_held: list[Lease] = []  # by this process


class Lease:
    """The entries that a run of this process needs.

    Args:
        home: The store.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.stem = home / FOLDER / f"{NO_NAME.sub('', host_name().split('.')[0])}-{os.getpid()}-{uuid4().hex[:8]}"
        self.lock = Lock(beside(self.stem, "lock"))
        self.pid = os.getpid()
        self.entries: set[str] = set()

    def add(self, entries: Iterable[str]) -> None:
        """Add entries, each as kind/key, before they are looked for; of a lease that was lost it makes a new one."""
        new = set(entries) - self.entries
        if new or not self.lock.is_held():
            self.entries |= new
            with gate(self.home):
                if not self.lock.is_held():  # this process was suspended, and was taken for gone
                    self.lock.acquire(timeout=0)
                replace_file(beside(self.stem, "json"), json.dumps(sorted(self.entries)))


def beside(stem: Path, ending: str) -> Path:
    """Return the file of a lease that has an ending."""
    return stem.with_name(f"{stem.name}.{ending}")


def replace_file(path: Path, text: str) -> None:
    """Write a file that readers see whole; it need not outlive a power failure."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def gate(home: Path) -> Lock:
    """Return the lock under which leases are written, and entries are checked against them and taken away."""
    return Lock(home / FOLDER / "leases.lock")


@contextmanager
def lease(home: Path, needed: Iterable[tuple[str, str]] = ()) -> Iterator[Path]:
    """Hold a lease while the context lasts; every entry that is asked for meanwhile joins it.

    Args:
        home: The store.
        needed: Kind and key of entries that will be asked for, whether they exist or not.

    Yields:
        The path of the lease's files without their ending.

    Raises:
        XlbenchError: The disk is full or read-only, or the folder of leases is a link.
    """
    refuse_links(home, FOLDER)
    held = Lease(home)
    with disk_errors("a lease", home, store=True):
        (home / FOLDER).mkdir(parents=True, exist_ok=True)
        held.add(f"{kind}/{key}" for kind, key in needed)
    _held.append(held)
    try:
        yield held.stem
    finally:
        _held.remove(held)
        if held.pid == os.getpid():
            with alone(gate(home), wait=True):
                held.lock.release()
                _forget(held.stem)


def claim(home: Path, kind: str, key: str) -> None:
    """Add an entry to the leases of this process; nothing happens where it holds none.

    Raises:
        XlbenchError: The disk is full or read-only.
    """
    for held in _held:
        if held.home == home and held.pid == os.getpid():  # a forked process has a copy of its parent's
            with disk_errors("a lease", home, store=True):
                held.add([f"{kind}/{key}"])


def running(home: Path) -> list[Path]:
    """Return the leases that are held, by any process, and remove those of processes that were killed."""
    if not (home / FOLDER).is_dir() or (home / FOLDER).is_symlink():
        return []
    with alone(gate(home), wait=True):
        return _held_stems(home)


def leased(home: Path) -> set[str]:
    """Return the entries that runs need, as kind/key; to be called behind the :func:`gate`."""
    found: set[str] = set()
    for stem in _held_stems(home):
        try:
            found.update(map(str, json.loads(beside(stem, "json").read_text("utf-8"))))
        except (OSError, ValueError, TypeError):  # it was not written yet: it needs nothing
            continue
    return found


def _held_stems(home: Path) -> list[Path]:
    found = []
    for path in sorted((home / FOLDER).glob("*-*.lock")):
        stem = path.with_name(path.name.removesuffix(".lock"))
        if path.is_symlink():
            continue
        if not path.is_file():  # somebody else's
            note_once(f"'{path}' is no file and so no lease: it is left out, and may be deleted", quiet=False)
            continue
        lock = look(path)
        if lock is None:
            continue
        if is_gone(path, lock):
            _forget(stem)
        else:
            found.append(stem)
    return found


def _forget(stem: Path) -> None:
    for path in (beside(stem, ending) for ending in ("json", "status", "lock")):
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
