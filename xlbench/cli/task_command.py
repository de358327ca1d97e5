"""``xlbench task``: what engines start in workers; no command for people."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from threading import Thread

import click

LOOK_EVERY = 1.0  # seconds


@click.command("task", hidden=True)
@click.argument("file")
@click.argument("task")
@click.option("--threads", type=click.IntRange(min=1, max=4096), help="Threads for torch, if the run names none.")
@click.option("--parent", type=int, help="End when this process is gone.")
@click.pass_context
def command(context: click.Context, file: str, task: str, threads: int | None, parent: int | None) -> None:
    """Do TASK of the work in FILE: train a stage, score, or export. What it says goes into a log beside FILE."""
    if hasattr(signal, "SIGUSR2"):
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm may tell all processes of a job what is for the first
    if parent is not None:
        Thread(target=_follow, args=(parent,), name="xlbench-parent", daemon=True).start()
    _write_to(Path(file).with_name(f"{task.replace('/', '-')}.log"))
    from xlbench.cli.app import echo
    from xlbench.distill.health import FailedTrainingError
    from xlbench.engines.engine import DIVERGED
    from xlbench.runs.worker import run_task

    try:
        run_task(Path(file), task, threads, lambda note: echo(note, err=True))
    except FailedTrainingError as error:
        echo(f"xlbench: {error}", err=True)
        context.exit(DIVERGED)


def _write_to(log: Path) -> None:
    """Append all that this process writes to a log, where there can be one."""
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError:
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())
    os.close(descriptor)


def _follow(parent: int) -> None:
    """End this process, as a termination does, once its parent is another one than it was."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
