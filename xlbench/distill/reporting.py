"""What trackers such as TensorBoard are told of a training, through transformers' callbacks: nothing unless asked.

Each stage is a run, and the stages of one student are a group. What a tracker is told never changes what is learnt.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch

    from xlbench.distill.plan import Training
    from xlbench.settings import Settings

PROJECT = "xlbench"
LOGS = "logs"  # below the store: what TensorBoard shows, unless TENSORBOARD_LOGGING_DIR says otherwise
TOLD = 200  # times that a stage's training is told of, evenly spaced


class Tracked(NamedTuple):
    """Settings of transformers' Trainer that decide what a tracker is told."""

    report_to: list[str]
    logging_strategy: str
    logging_steps: int
    run_name: str | None
    project: str


def tracked(settings: Settings, training: Training, group: str, stage: str) -> Tracked:
    """Return what a stage's trainer tells trackers; to none of them without ``settings.report_to``.

    Args:
        settings: Name the trackers.
        training: The stage's.
        group: What the stages of one student have in common.
        stage: Its name.
    """
    names = list(settings.report_to)
    every = max(1, training.steps // TOLD)
    return Tracked(names, "steps" if names else "no", every, f"{group}, {stage}" if names else None, PROJECT)


@contextmanager
def tracker_variables(settings: Settings, group: str, stage: str) -> Iterator[None]:
    """Set the variables that trackers read, where the user has not set them.

    Args:
        settings: Name the trackers and the store.
        group: What the stages of one student have in common.
        stage: The name of the stage.
    """
    if not settings.report_to:
        yield
        return
    logs = os.environ.get("TENSORBOARD_LOGGING_DIR") or settings.home / LOGS
    defaults = {"WANDB_PROJECT": PROJECT, "WANDB_RUN_GROUP": group, "MLFLOW_EXPERIMENT_NAME": group}
    variables = {name: os.environ.get(name, value) for name, value in defaults.items()}
    with mock.patch.dict(os.environ, variables, TENSORBOARD_LOGGING_DIR=str(Path(logs, *group.split("/"), stage))):
        yield


class TermMeans:
    """The mean of each of a stage's terms, and the pairs a second, since they were last told.

    Attributes:
        names: Of the terms, in the order of their values.
        batch_size: Pairs of a step.
    """

    def __init__(self, terms: Sequence[object], batch_size: int) -> None:
        seen: dict[str, int] = defaultdict(int)
        self.names: list[str] = []
        for term in terms:
            name = type(term).__name__
            seen[name] += 1
            self.names.append(name if seen[name] == 1 else f"{name} {seen[name]}")
        self.batch_size = batch_size
        self.sum: torch.Tensor | None = None
        self.steps = 0
        self.since = time.monotonic()

    def add(self, values: torch.Tensor) -> None:
        """Take in the values of a step, float [terms]; they stay on their device until they are told."""
        self.sum = values.detach().float() if self.sum is None else self.sum + values.detach().float()
        self.steps += 1

    def take(self) -> Mapping[str, float]:
        """Return 'loss_TERM' for each term and 'pairs_per_second', and begin anew; nothing before the first step."""
        if self.sum is None:
            return {}
        now = time.monotonic()
        means = {f"loss_{name}": value / self.steps for name, value in zip(self.names, self.sum.tolist(), strict=True)}
        rate = self.steps * self.batch_size / max(1e-9, now - self.since)
        self.sum, self.steps, self.since = None, 0, now
        return {**means, "pairs_per_second": rate}
