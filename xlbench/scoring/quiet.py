"""Contexts that undo side effects of MTEB and datasets: random seeds, progress bars and warnings."""

from __future__ import annotations

import random
import sys
import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

BITEXT_BAR = "mteb._evaluators.text.bitext_mining_evaluator.tqdm"


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Restore the state of all random generators on leaving.

    Importing MTEB, creating a task and evaluating it each seed them with 42: without this, training afterwards would
    draw the same numbers whatever its own seed.
    """
    state, numpy_state = random.getstate(), np.random.get_state()
    with ExitStack() as stack:
        if torch := sys.modules.get("torch"):
            stack.enter_context(torch.random.fork_rng(devices=range(torch.cuda.device_count())))
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Silence the progress bars of the datasets library, in favour of xlbench's own."""
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


@contextmanager
def quiet_mteb() -> Iterator[None]:
    """Silence MTEB's progress bar, which has no option for that, and the warnings that a collapsed encoder causes."""
    from scipy.stats import ConstantInputWarning, NearConstantInputWarning

    with warnings.catch_warnings(), patch(BITEXT_BAR, lambda rows, **_: rows):
        for category in (ConstantInputWarning, NearConstantInputWarning):
            warnings.simplefilter("ignore", category)  # scores say `collapsed`
        yield
