"""Child processes of the kit: runs that are killed, and artifacts that are loaded where only xlbench is imported.

They are forked from a server that has imported torch and run nothing, so each starts without importing it again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import BaseContext
    from pathlib import Path

    import numpy as np
    from sentence_transformers import SentenceTransformer

    from xlbench.testing.bench import Bench

P = ParamSpec("P")
R = TypeVar("R")
PRELOAD = ["xlbench.testing.preload"]


class Moment(NamedTuple):
    """When a run is killed: as a stage begins, after so many optimiser steps, or as a stage is about to be saved."""

    stage: str = ""
    step: int = 0
    saving: str = ""


def start_server() -> None:
    """Start the server that child processes are forked from.

    Its hash seed is another than this process's, even where PYTHONHASHSEED is set (as tox does), so that the children
    iterate over sets in another order.
    """
    context = _context()
    if context.get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
        with mock.patch.dict(os.environ, PYTHONHASHSEED=other):
            ensure_running()


def _context() -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def in_child(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Run a function in a child process and return its result; None if the process was killed.

    Raises:
        Exception: Whatever the function raised, with the traceback of the child process.
    """
    with ProcessPoolExecutor(1, mp_context=_context()) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool:
            return None


def run_until(bench: Bench, method: str, home: Path, moment: Moment | None) -> tuple[dict[str, str], tuple[str, ...]]:
    """Run a method; this process is killed when the run reaches the moment.

    Returns:
        The keys of all encoders, and what the engine reported.
    """
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from xlbench.distill.engine import encoder_keys
    from xlbench.students import load

    steps = 0
    moment = moment or Moment()

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == moment.step:
            _kill_this_process()

    def report(note: str) -> None:
        if note == f"stage {moment.stage}: running":
            _kill_this_process()

    save = load.save_student
    experiment, _ = bench.experiment(method, {})
    keys = encoder_keys(bench.plan(experiment), experiment)

    def save_or_kill(model: SentenceTransformer, path: Path) -> None:
        if moment.saving and path.parent.name == f"stages-{keys[moment.saving]}":
            _kill_this_process()
        save(model, path)

    register_optimizer_step_post_hook(count)
    with mock.patch.object(load, "save_student", save_or_kill):
        ran = bench.run(method, home, say=report)
    return keys, ran.notes


def _kill_this_process() -> None:
    # Not sys.exit: no clean-up code may run.
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def encode_plainly(path: Path, sentences: list[str], threads: int) -> np.ndarray:
    """Return vectors as a user gets them: ``import xlbench; xlbench.register()`` and SentenceTransformer."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    import xlbench

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(threads)
    xlbench.register()
    vectors: np.ndarray = SentenceTransformer(str(path), device="cpu").encode(sentences)
    return vectors
