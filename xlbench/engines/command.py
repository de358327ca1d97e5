"""A task's command in a worker: started with this Python, ended with whoever started it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def start_command(command: Sequence[str], threads: int | None) -> subprocess.Popen[bytes]:
    """Start a task's command.

    Args:
        command: Of the task. Its first word, the Python of the machine that made it, is replaced by this one.
        threads: Of torch in it, where the user has not said how many; None: torch's default.
    """
    words = [sys.executable, *command[1:], "--parent", str(os.getpid())]
    if threads is not None:
        words += ["--threads", str(threads)]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL)  # noqa: S603 - xlbench's own command


def end_command(process: subprocess.Popen[bytes]) -> None:
    """End a task's command as Ctrl-C would, so that it gives its locks back, and wait until it has ended.

    It may be called by a handler of a signal that has interrupted ``process.wait()``, which holds a lock of the
    process's; so another ``wait`` would never return.
    """
    process.terminate()
    if not hasattr(os, "waitid"):  # macOS, where no engine calls this from a handler
        process.wait()
        return
    with suppress(ChildProcessError):  # it was waited for
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
