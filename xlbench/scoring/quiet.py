"""Contexts that undo side effects of MTEB and datasets: random seeds, progress bars, warnings and retries."""

from __future__ import annotations

import random
import sys
import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 2.0  # seconds for a first answer of the hub
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


@contextmanager
def cache_if_unreachable() -> Iterator[None]:
    """Let datasets read its cache alone where the hub does not answer: it would ask again for over a minute."""
    if hub_answers():
        yield
        return
    with patch("datasets.config.HF_HUB_OFFLINE", True), patch("huggingface_hub.constants.HF_HUB_OFFLINE", True):
        yield


def hub_answers() -> bool:
    """Return whether the hub answers within two seconds."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=PATIENCE).close()  # noqa: S310 - the hub's address
    except HTTPError:  # an answer, if not a kind one
        return True
    except (OSError, ValueError):
        return False
    return True
