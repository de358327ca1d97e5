"""What MTEB and datasets do beside their work, kept away from ours: bars on the screen, seeds set anew."""

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
def randomness_kept() -> Iterator[None]:
    """Put the random generators back as they were.

    Importing MTEB, making a task and evaluating it each seed them with 42: what is trained afterwards would
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
    """Silence the bars of the datasets library: ours says what is going on."""
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
    """Silence MTEB's bars, which no option turns off, and the warnings that a collapsed encoder causes."""
    from scipy.stats import ConstantInputWarning, NearConstantInputWarning

    with warnings.catch_warnings(), patch(BITEXT_BAR, lambda rows, **_: rows):
        for expected in (ConstantInputWarning, NearConstantInputWarning):
            warnings.simplefilter("ignore", expected)  # told as `collapsed`
        yield
