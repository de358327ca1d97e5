"""A process that has imported all that a run needs and forks a child for each command: trials start at once.

Requests and answers are lines of JSON on its standard streams. A child runs the command line as a user would, after it
was told how it shall fail: killed at an event, or with a limit on the size of files.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}
PHASES = {
    "/partial/targets": "targets", "/scratch/training": "training", "/partial/stages": "saving",
    "/partial/records": "scoring", "/.student.": "export",
}  # fmt: skip


def phase_of(path: str) -> str:
    """Which part of a run writes to a path."""
    return next((phase for part, phase in PHASES.items() if part in path), "preparation")


def watch_events(place: str, happened: Callable[[str], None]) -> None:
    """Have a function called before each change to files below a place, and after each step of an optimiser."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if (writes or event in CHANGES) and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if isinstance(path, str) and path.startswith(place):
                happened(phase_of(path))

    sys.addaudithook(audit)
    register_optimizer_step_post_hook(lambda *_: happened("training"))


def kill_at(number: int, delay: float) -> Callable[[str], None]:
    """Return a function that kills this process so many seconds after its n-th call."""
    count = 0

    def die() -> None:
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    def happened(phase: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            threading.Thread(target=die).start()

    return happened


def child(request: dict[str, Any]) -> None:
    """Run a command; never returns."""
    code = 70
    try:
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(request["cwd"])
        if request.get("file_size"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"], resource.RLIM_INFINITY))
        if request.get("kill"):
            watch_events(request["cwd"], kill_at(*request["kill"]))
        if request.get("events"):
            log = os.open(request["events"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            watch_events(request["cwd"], lambda phase: os.write(log, f"{phase}\n".encode()) and None)
        sys.argv = ["xlbench", *request["words"]]
        from xlbench.cli import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - what a user would see
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    """Answer requests until the input ends."""
    import xlbench.cli.run_command
    import xlbench.report.markdown
    import xlbench.runs.results
    import xlbench.scoring.harness
    import xlbench.scoring.starter_tasks
    import xlbench.testing.preload  # noqa: F401

    gc.freeze()  # or each child's training would walk through all that was imported
    for line in sys.stdin:
        request = json.loads(line)
        if "words" in request:
            answer = os.fork()
            if answer == 0:
                child(request)
        else:
            pid, status = os.waitpid(request["wait"], 0 if request["block"] else os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # whoever runs the tests may ignore them, as nohup does
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    serve()
