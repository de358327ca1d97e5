"""What ends a command from outside: Ctrl-C, a termination, a terminal that closes. All of them release locks first."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

from xlbench.errors import CtrlC

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
AGAIN = 0.05  # seconds after which a signal that was swallowed comes again
INTERRUPTED = "interrupted; the same command resumes"


class Interrupted(KeyboardInterrupt):
    """A signal that asks the process to end; passes through all that lets Ctrl-C through."""


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """Raise :class:`Interrupted` in the main thread when one of these signals comes, so that what is open is closed.

    A second signal ends the process at once. A signal that whoever started the process ignores, as nohup does with
    SIGHUP, stays ignored.

    Yields:
        A list that receives the number of the signal.
    """
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        if received:
            os._exit(exit_code(number))
        received.append(number)
        raise Interrupted

    def raise_again(unraisable: sys.UnraisableHookArgs) -> None:
        # Python swallows what is raised while an object is finalised; the signal then comes once more.
        if not issubclass(unraisable.exc_type, Interrupted):
            report(unraisable)
        elif received:
            again = Timer(AGAIN, os.kill, (os.getpid(), received.pop()))
            again.daemon = True
            again.start()

    report, sys.unraisablehook = sys.unraisablehook, raise_again
    outer, CtrlC.narrowed = CtrlC.narrowed, True
    before = {}
    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, end)
    try:
        yield received
    finally:
        sys.unraisablehook, CtrlC.narrowed = report, outer
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(number: int) -> int:
    """Return the exit code of a command that a signal ended, as shells count: 130 for Ctrl-C."""
    return 128 + number
