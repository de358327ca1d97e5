"""Evaluation on the dev pairs during training, and the checks that stop a diverged or collapsed student."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from torch import Tensor

COLLAPSED = 0.98
"""A student has collapsed if the mean cosine between different sentences exceeds this value, and also exceeds that of
its targets by :data:`COLLAPSE_MARGIN`."""
COLLAPSE_MARGIN = 0.15
"""See :data:`COLLAPSED`. Some encoders give different sentences high cosines by nature (an uncentred e5 has a mean near
0.8), and a student that resembles such targets has not collapsed."""
DIVERGED = 3.0
"""A student has diverged if its dev loss exceeds this multiple of the loss before training, and its accuracy is at most
:data:`FORGOTTEN` times the accuracy before training."""
FORGOTTEN = 0.9
"""See :data:`DIVERGED`. If a student equals its targets at the start, its loss is near zero and can only rise; it has
not diverged as long as it still finds translations."""
EARLY_STEPS = 10
"""Before this step only a loss that is not finite is an error. Adam's first steps have full size whatever the gradient,
and may disturb a student that recovers within a few more steps."""


class FailedTrainingError(XlbenchError):
    """Training diverged or collapsed with this seed; other seeds may succeed."""


class Evaluation(Frozen):
    """One evaluation on the dev pairs.

    Attributes:
        step: Optimiser steps so far; 0 before training.
        loss: Mean loss per pair, the sum of the stage's terms.
        accuracy: Share of translations found, see :func:`bitext_accuracy`, 0 to 1.
        mean_cosine: Mean cosine between the student's vectors of different English sentences, -1 to 1.
    """

    step: int
    loss: float
    accuracy: float
    mean_cosine: float

    @property
    def selection_score(self) -> float:
        """The score by which checkpoints are chosen, loss x (2 - accuracy); lower is better.

        One point of accuracy (0.01) is worth about one per cent of the loss.
        """
        return self.loss * (2.0 - self.accuracy)


def bitext_accuracy(english: Tensor, other: Tensor, languages: np.ndarray) -> float:
    """Return the share of sentences whose nearest English sentence, by cosine, is their translation.

    The search is among the pairs of the same language; the result is the mean over languages, 0 to 1.

    Args:
        english: Vectors of the English sentences, float [n, dimension].
        other: Vectors of their translations, float [n, dimension].
        languages: Language of each pair as a number, int [n].
    """
    import torch
    from torch.nn.functional import normalize

    shares = []
    for language in np.unique(languages):
        rows = torch.from_numpy(np.flatnonzero(languages == language))
        similarity = normalize(other[rows], dim=-1) @ normalize(english[rows], dim=-1).T
        shares.append(float((similarity.argmax(1) == torch.arange(len(rows))).float().mean()))
    return float(np.mean(shares))


def mean_cosine(vectors: Tensor) -> float:
    """Return the mean cosine between different rows of float [n, dimension]; near 1 if all vectors are alike.

    Rows of zeros have no direction; they are alike, and so have the cosine 1 with each other and 0 with other rows.
    """
    from torch.nn.functional import normalize

    unit = normalize(vectors, dim=-1)
    count, zeros = len(unit), int((unit == 0).all(-1).sum())
    # All cosines sum to the squared length of the sum of the unit vectors; `count` of them are of a row with itself.
    return float((unit.sum(0).square().sum() + zeros**2 - count) / (count * (count - 1)))


def check_health(stage: str, evaluation: Evaluation, before: Evaluation, target_mean_cosine: float) -> None:
    """Stop a stage whose student has diverged or collapsed.

    Args:
        stage: Name of the stage.
        evaluation: The latest evaluation.
        before: The evaluation before training.
        target_mean_cosine: Mean cosine between the target vectors of different sentences.

    Raises:
        FailedTrainingError: The loss is not finite; or, from step :data:`EARLY_STEPS` on, the student has diverged or
            collapsed.
    """
    remedy = "Lower the learning rate (-o learning_rate=...) or raise the batch size."
    if not math.isfinite(evaluation.loss):
        raise FailedTrainingError(f"Stage '{stage}' has a loss of {evaluation.loss} at step {evaluation.step}.", remedy)
    if evaluation.step < EARLY_STEPS:
        return
    if evaluation.loss > DIVERGED * before.loss and evaluation.accuracy <= FORGOTTEN * before.accuracy:
        raise FailedTrainingError(
            f"Stage '{stage}' diverged: dev loss {evaluation.loss:.4f} at step {evaluation.step},"
            f" {before.loss:.4f} before training.",
            remedy,
        )
    # A student may be collapsed before training, by its edits, and recover. If it does not, its scores show it.
    collapsed = before.mean_cosine <= COLLAPSED < evaluation.mean_cosine
    if collapsed and evaluation.mean_cosine > target_mean_cosine + COLLAPSE_MARGIN:
        raise FailedTrainingError(
            f"Stage '{stage}' collapsed: different sentences have a mean cosine of {evaluation.mean_cosine:.3f}"
            f" at step {evaluation.step} (the targets: {target_mean_cosine:.3f}).",
            remedy,
        )
