"""Who holds a lock: a process of a machine, and whether it still runs.

A process number means something only where the processes are seen that it counts. So a machine here is a host name
with the boot of its kernel and the namespaces that this process sees: containers often share the first two, and
clusters have hosts of equal names. Machines that share even all of that (clones of one snapshot) are told apart by
``XLBENCH_HOST``.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from pydantic import Field

from xlbench.fingerprint import Frozen, fingerprint

HOST_VARIABLE = "XLBENCH_HOST"
NAMESPACES = ("pid", "time")  # in another one, numbers or start times of processes are others
STATE, START = 0, 19  # fields of /proc/PID/stat after the name of the command
ENDED = frozenset({b"Z", b"X"})  # killed, and not yet asked for by its parent


class Owner(Frozen):
    """The process that holds a lock.

    Attributes:
        pid: Its number on its machine.
        started: When it started, on whatever clock its machine has for that; None where that cannot be read.
        host: The name of the host, for people.
        machine: What the machine is told from others by.
        since: When it took the lock, in seconds since the epoch.
        token: Of this one time that it took it.
        unproven: Whether it took the lock from a process that may still run.
    """

    pid: int = Field(ge=1, lt=1 << 31)
    started: float | None
    host: str
    machine: str
    since: float
    token: str
    unproven: bool = False

    def __str__(self) -> str:
        """Return 'process 4711 on host (since …)'."""
        try:
            since = datetime.fromtimestamp(self.since).astimezone().isoformat(" ", "seconds")
        except (ValueError, OverflowError, OSError):  # no clock says that
            since = "?"
        return f"process {self.pid} on {self.host} (since {since})"


def new_owner() -> Owner:
    """Return this process as one that takes a lock just now."""
    pid = os.getpid()
    found = _process(pid)
    return Owner(
        pid=pid,
        started=found.started if found else None,
        host=host_name(),
        machine=machine(),
        since=time.time(),
        token=uuid4().hex,
    )


def host_name() -> str:
    """Return the name of this host: that of ``XLBENCH_HOST``, if it is set."""
    return os.environ.get(HOST_VARIABLE) or socket.gethostname()


def machine() -> str:
    """Return what tells this machine, as this process sees it, from others."""
    return fingerprint([host_name(), _boot(), *(_namespace(kind) for kind in NAMESPACES)])


@cache
def _boot() -> str:
    """Return what the kernel has drawn when it was booted; empty where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _namespace(kind: str) -> int:
    try:
        return Path(f"/proc/self/ns/{kind}").stat().st_ino
    except OSError:  # no Linux, or an old one
        return 0


def is_running(owner: Owner) -> bool | None:
    """Return whether the process that took a lock still runs; None where that cannot be told: on another machine."""
    if owner.machine != machine():
        return None
    import psutil

    if not psutil.pid_exists(owner.pid):
        return False
    found = _process(owner.pid)
    if found is None:  # nothing says that it has ended, or is another of that number
        return True
    return not found.ended and owner.started in (None, found.started)


class _Process(NamedTuple):
    ended: bool
    started: float


if sys.platform == "linux":

    def _process(pid: int) -> _Process | None:
        """Return what the system says of a process; None if it says nothing."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return _Process(fields[STATE] in ENDED, float(fields[START]))
        except (OSError, IndexError, ValueError):
            return None

else:

    def _process(pid: int) -> _Process | None:
        """Return what the system says of a process; None if it says nothing."""
        import psutil  # on Linux it gives the time of day, which moves when the clock is set

        try:
            process = psutil.Process(pid)
            return _Process(process.status() == psutil.STATUS_ZOMBIE, process.create_time())
        except psutil.Error:
            return None
