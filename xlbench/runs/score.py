"""Scoring an encoder by name, without an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from xlbench.encoders.find import find_encoder, load_encoder
from xlbench.encoders.runtime import choose_device, choose_precision
from xlbench.errors import look_up
from xlbench.runs.session import prepare_process
from xlbench.scoring.harness import score

if TYPE_CHECKING:
    from xlbench.experiment import Precision
    from xlbench.plugins.registry import Registry
    from xlbench.scoring.harness import Scored
    from xlbench.settings import Settings


def score_encoder(
    name: str, suite: str, precision: Precision | Literal["auto"], registry: Registry, settings: Settings
) -> Scored:
    """Score an encoder on a suite.

    Args:
        name: A registered name, a directory or a hub id.
        suite: Name of the suite.
        precision: What to compute in; 'auto' for what the device is good at.
        registry: What plugins brought.
        settings: Paths and switches.

    Raises:
        XlbenchError: A name is unknown, or the suite's data is missing.
    """
    prepare_process(settings)
    tasks = look_up("suite", suite, registry.suites)
    reference = find_encoder(name, registry.encoders, settings)
    computed = choose_precision(choose_device(settings), precision)
    model = load_encoder(reference, registry.encoders, settings)
    return score(model, tasks, settings, precision=computed, title=f"scoring {reference.name}")
