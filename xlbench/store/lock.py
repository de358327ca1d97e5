"""Locks that hold on disks that machines share: a file that is there while a process holds the lock.

``fcntl`` locks need a daemon on NFS, and where it is missing they fail or hold nothing. A file that is created only if
it is not there is exclusive on every file system. It says who its owner is, and a thread touches it
(:mod:`xlbench.store.heartbeat`). The lock of an owner that is gone is taken over:

- on the owner's machine at once, when its process has ended, and never while it runs;
- from another machine when whoever waits has seen no change for :data:`LEASE` seconds on its own monotonic clock, or
  when the file was not touched for :data:`FORGOTTEN` seconds by the clock of the disk. No two machines' clocks are
  compared.

A successor holds a lock of the lock (``NAME.next``), looks again and renames that file to the name of the lock: in one
step, so that of two successors one wins, and whatever moment it is killed at leaves a lock that can be taken over.

A process that was suspended may have lost its lock, and asks :meth:`Lock.is_held` before it publishes anything.

filelock's lease has the same rules but needs an exchange of two names, which NFS lacks, to take a lock over; it never
takes over an empty file, and it takes the process numbers of hosts of one name for its own.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

from xlbench.disk import FULL
from xlbench.errors import XlbenchError
from xlbench.store.heartbeat import heartbeat
from xlbench.store.owner import Owner, is_running, new_owner
from xlbench.store.seal import sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

LEASE = 60.0  # seconds without a touch, as seen by who waits, after which an owner on another machine is gone
FORGOTTEN = 600.0  # seconds without one, by the clock of the disk, after which one look is enough
UNWRITTEN = 5.0  # seconds that a file may say nothing of its owner: it is written just after it is created
SHORTEST_PAUSE, LONGEST_PAUSE = 0.002, 0.25  # seconds between two tries
LARGEST = 1 << 14  # bytes of a lock file
SUCCESSOR = ".next"


class Look(NamedTuple):
    """A lock file, as it was at one time.

    Attributes:
        owner: Who holds the lock; None if the file does not say, or is damaged.
        mark: Differs from that of any other time, if the file was written or touched.
    """

    owner: Owner | None
    mark: tuple[int, int, bytes]


class Lock:
    """A lock of this process, which no other one and no other :class:`Lock` of this one can take meanwhile.

    Args:
        path: The lock file; its directory must be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner: Owner | None = None
        self._seen: dict[Path, tuple[Look, float]] = {}  # and since when it has not changed

    def acquire(self, timeout: float | None = None) -> bool:
        """Wait for the lock, at most for so many seconds, and return whether this process holds it.

        Raises:
            XlbenchError: Something else than a file lies at its path.
            OSError: The disk is full or read-only.
        """
        ends = None if timeout is None else monotonic() + timeout
        pause = SHORTEST_PAUSE
        while not self._try():
            left = LONGEST_PAUSE if ends is None else ends - monotonic()
            if left <= 0:
                return False
            sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE)
        return True

    def release(self) -> None:
        """Give the lock back; nothing happens where this process does not hold it: it lost it, or was forked."""
        heartbeat.discard(self)
        with suppress(OSError):  # of a process that has ended it can be taken over
            if self.is_held():
                self.path.unlink()
        self._owner = None

    def is_held(self) -> bool:
        """Return whether this process still holds the lock, as the disk says.

        Raises:
            OSError: The disk fails.
        """
        owner = self._owner  # the heartbeat asks too
        return owner is not None and owner.pid == os.getpid() and _names(self.path, owner)

    def touch(self) -> None:
        """Show that this process lives, if it still holds the lock.

        Raises:
            OSError: The disk fails.
        """
        if self.is_held():
            os.utime(self.path)  # to the time of the disk's server

    @property
    def unproven(self) -> bool:
        """Whether the lock was taken from a process that may still run, and write where it did before."""
        return self._owner is not None and self._owner.unproven

    def __enter__(self) -> Lock:
        """Wait for the lock."""
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give it back."""
        self.release()

    def _try(self) -> bool:
        self._owner = owner = new_owner()
        try:
            self._owner = self._take(self.path, owner)
            if self._owner is not None:
                heartbeat.add(self)
        except BaseException:
            self._owner = owner  # an interrupt may come just after the file was written
            self.release()
            raise
        return self._owner is not None

    def _take(self, path: Path, owner: Owner) -> Owner | None:
        """Write a lock file that names an owner, if there is none or that of one that is gone.

        Returns:
            What it says of the owner; None if somebody else has the lock.
        """
        if _create(path, owner):
            return owner
        if path.is_symlink():  # not followed, and nobody's
            path.unlink(missing_ok=True)
            return None
        found = look(path)
        if found is None or not self._is_gone(path, found):
            return None
        proven = found.owner is not None and not found.owner.unproven and is_running(found.owner) is False
        successor = path.with_name(path.name + SUCCESSOR)
        taken = self._take(successor, owner.model_copy(update={"unproven": owner.unproven or not proven}))
        if taken is None:
            return None
        try:
            if look(path) != found:  # it was touched, given back or taken over meanwhile
                return None
            successor.replace(path)
            return taken if _names(path, taken) else None
        finally:
            if _names(successor, taken):
                successor.unlink(missing_ok=True)

    def _is_gone(self, path: Path, found: Look) -> bool:
        before = self._seen.get(path)
        if before is None or before[0] != found:
            self._seen[path] = found, monotonic()
            return is_gone(path, found)
        return is_gone(path, found, monotonic() - before[1])


@contextmanager
def alone(lock: Lock, *, wait: bool) -> Iterator[bool]:
    """Yield whether nobody else is at what a lock protects, for who deletes it; give the lock back in the end.

    A full disk has no room for a lock file, neither for this process's nor for anybody else's. Nobody can begin there
    meanwhile, so that a look at the lock is enough: what frees space must not need space.

    Args:
        lock: The lock.
        wait: Whether to wait for who has it.

    Raises:
        OSError: The disk is read-only, or fails.
    """
    try:
        free = lock.acquire(timeout=None if wait else 0)
    except OSError as error:
        if error.errno not in FULL:
            raise
        found = look(lock.path)
        free = found is None or is_gone(lock.path, found)
    try:
        yield free
    finally:
        lock.release()


def look(path: Path) -> Look | None:
    """Return what a lock file says; None if there is none.

    Raises:
        XlbenchError: Something else than a file lies there.
        OSError: It cannot be read.
    """
    try:
        if stat.S_ISREG(path.lstat().st_mode):
            with path.open("rb") as stream:  # opening has a network's disk say what it holds now
                content, facts = stream.read(LARGEST), os.fstat(stream.fileno())
            owner = unsealed(content.decode("utf-8", "replace"), Owner)
            return Look(owner, (facts.st_ino, facts.st_mtime_ns, content))
    except FileNotFoundError:
        return None
    raise XlbenchError(f"'{path}' is no file, and so no lock.", "Delete it; the same command then goes on.")


def is_gone(path: Path, found: Look, unchanged: float = 0.0) -> bool:
    """Return whether a lock may be taken over.

    Args:
        path: The lock file.
        found: What it says.
        unchanged: Seconds for which that has been seen to stay as it is.
    """
    running = is_running(found.owner) if found.owner else None
    if running is not None:
        return not running
    if unchanged > 0:
        return unchanged >= (LEASE if found.owner else UNWRITTEN)
    return _untouched(path) >= FORGOTTEN


def _untouched(path: Path) -> float:
    """Return the seconds since a lock file was touched, by the clock that times the files beside it."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as now:
            return os.fstat(now.fileno()).st_mtime - path.lstat().st_mtime
    except OSError:  # it was given back, or nothing can be written here
        return 0.0


def _create(path: Path, owner: Owner) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(sealed(owner))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _names(path: Path, owner: Owner) -> bool:
    """Return whether a lock file names an owner, by this one time that it took the lock."""
    with suppress(XlbenchError):
        found = look(path)
        return found is not None and found.owner is not None and found.owner.token == owner.token
    return False
