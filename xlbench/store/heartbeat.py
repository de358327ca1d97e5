"""The sign of life of the locks that this process holds: one thread touches their files while there are any."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock as Mutex
from threading import Thread
from time import sleep
from typing import Protocol

BEAT = 20.0  # seconds between two touches


class Touched(Protocol):
    """What is to be touched again and again."""

    def touch(self) -> None:
        """Touch it once."""
        ...


class Heartbeat:
    """Touches what was added to it every :data:`BEAT` seconds; its thread ends when it finds nothing to touch."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything: a forked process has neither its parent's locks nor its threads."""
        self._mutex = Mutex()
        self._beating: set[Touched] = set()
        self._thread: Thread | None = None

    def add(self, lock: Touched) -> None:
        """Touch something from now on."""
        with self._mutex:
            self._beating.add(lock)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="xlbench-locks", daemon=True)
                self._thread.start()

    def discard(self, lock: Touched) -> None:
        """Touch something no more."""
        with self._mutex:
            self._beating.discard(lock)

    def beat(self) -> None:
        """Touch everything once, as the thread does."""
        with self._mutex:
            locks = list(self._beating)
        for lock in locks:
            with suppress(OSError):  # the next time may succeed
                lock.touch()

    def _run(self) -> None:
        while True:
            sleep(BEAT)
            with self._mutex:
                if not self._beating:
                    self._thread = None
                    return
            self.beat()


heartbeat = Heartbeat()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=heartbeat.begin_anew)
