"""Contexts that undo side effects of MTEB and datasets: random seeds, progress bars, warnings, retries and caches."""

from __future__ import annotations

import hashlib
import random
import sys
import warnings
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    """Silence the datasets library: its progress bars, in favour of xlbench's own, and what it logs of its errors."""
    import datasets
    from datasets.utils import logging

    shown, level = datasets.is_progress_bar_enabled(), logging.get_verbosity()
    datasets.disable_progress_bars()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            datasets.enable_progress_bars()


@contextmanager
def prepared_afresh(digest: str) -> Iterator[None]:
    """Let datasets prepare local files in a directory of this process, which is removed when it ends.

    Its own cache knows local files by their paths alone where a card names them: it would give the rows that a file
    had before it was edited.

    Args:
        digest: Of the files: what this process has prepared of the same ones already is taken.
    """
    place = Path(_process_folder().name, hashlib.sha256(digest.encode()).hexdigest()[:20])
    downloads = place / "downloads"
    with (
        patch("datasets.config.HF_DATASETS_CACHE", place),
        patch("datasets.config.DOWNLOADED_DATASETS_PATH", downloads),
        patch("datasets.config.EXTRACTED_DATASETS_PATH", downloads / "extracted"),
    ):
        yield


@cache
def _process_folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="xlbench-data-", ignore_cleanup_errors=True)


@contextmanager
def quiet_mteb() -> Iterator[None]:
    """Silence MTEB's progress bar, which has no option for that, and the warnings that a collapsed encoder causes.

    Correlations of fewer than two rows are not numbers, where MTEB's would raise.
    """
    from scipy.stats import ConstantInputWarning, NearConstantInputWarning, pearsonr, spearmanr

    with (
        warnings.catch_warnings(),
        patch(BITEXT_BAR, lambda rows, **_: rows),
        patch("mteb.abstasks.sts.pearsonr", _of_two_rows(pearsonr)),
        patch("mteb.abstasks.sts.spearmanr", _of_two_rows(spearmanr)),
    ):
        for category in (ConstantInputWarning, NearConstantInputWarning):
            warnings.simplefilter("ignore", category)  # scores say `collapsed`
        yield


def _of_two_rows(correlation: Callable[..., Sequence[float]]) -> Callable[..., Sequence[float]]:
    def correlate(first: Sequence[float], second: Sequence[float]) -> Sequence[float]:
        return correlation(first, second) if len(first) > 1 else (float("nan"), float("nan"))

    return correlate


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
