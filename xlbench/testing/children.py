"""What the kit does in processes of their own: runs that are killed, and loading an artifact with nothing else there.

The processes are forked from a server that has imported torch and done nothing with it, so each starts at once.
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
    """Have the server ready by the time that it is needed.

    It orders sets otherwise than this process does, even where PYTHONHASHSEED is set (as tox does).
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
    """Return what a function returns in a process of its own; None when that was killed.

    Raises:
        Exception: Whatever the function raised, with its traceback there.
    """
    with ProcessPoolExecutor(1, mp_context=_context()) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool:
            return None


def run_until(bench: Bench, method: str, home: Path, moment: Moment | None) -> tuple[dict[str, str], tuple[str, ...]]:
    """Run a method, killing this process at a moment if it comes.

    Returns:
        The keys of all encoders, and what the engine said.
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
            _die()

    def hear(note: str) -> None:
        if note == f"stage {moment.stage}: running":
            _die()

    save = load.save_student
    experiment, _ = bench.experiment(method, {})
    keys = encoder_keys(bench.plan(experiment), experiment)

    def save_or_die(model: SentenceTransformer, path: Path) -> None:
        if moment.saving and path.parent.name == f"stages-{keys[moment.saving]}":
            _die()
        save(model, path)

    register_optimizer_step_post_hook(count)
    with mock.patch.object(load, "save_student", save_or_die):
        ran = bench.run(method, home, say=hear)
    return keys, ran.notes


def _die() -> None:
    # Not sys.exit: nothing may be tidied up.
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
