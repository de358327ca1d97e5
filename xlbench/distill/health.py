"""How training goes: dev loss, dev bitext accuracy, and whether the student has collapsed or diverged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from torch import Tensor

COLLAPSED = 0.98
"""Mean cosine of unrelated sentences above which a student tells nothing apart ..."""
COLLAPSE_MARGIN = 0.15
"""... if its targets' is lower by this much (an uncentred e5 sits near 0.8 by nature)."""
DIVERGED = 3.0
"""Dev loss, as a multiple of the one before training, at which a run is given up ..."""
FORGOTTEN = 0.9
"""... if its dev accuracy is at most this share of what it was: a stage that begins at its targets can only leave them,
and what its first steps lose in loss it has not lost in sense."""

EARLY = 10
"""Steps before which only a loss that is no number counts: Adam's first steps are of full size whatever the gradient,
and throw a student that recovers within a few more."""


class FailedTrainingError(XlbenchError):
    """Training that diverged or collapsed with this seed; other seeds may succeed."""


class Evaluation(Frozen):
    """One evaluation on the dev pairs during training."""

    step: int
    loss: float
    accuracy: float
    mean_cosine: float

    @property
    def selection_score(self) -> float:
        """What the kept checkpoint minimises, loss x (2 - accuracy): a point of accuracy is worth a per cent."""
        return self.loss * (2.0 - self.accuracy)


def bitext_accuracy(english: Tensor, other: Tensor, languages: np.ndarray) -> float:
    """Return how often a sentence's nearest English sentence, by cosine, is its translation.

    Averaged over languages; each searches its own dev pairs.

    Args:
        english: float [n, dimension].
        other: float [n, dimension].
        languages: int [n].
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
    """Return the mean cosine of two different rows, float [n, dimension]: near 1 when all are alike."""
    from torch.nn.functional import normalize

    unit = normalize(vectors, dim=-1)
    count = len(unit)
    # The sum over all pairs is the squared length of the sum; the diagonal holds `count` ones.
    return float((unit.sum(0).square().sum() - count) / (count * (count - 1)))


def check_health(stage: str, evaluation: Evaluation, before: Evaluation, target_mean_cosine: float) -> None:
    """Stop a stage that has diverged or collapsed.

    Args:
        stage: Its name.
        evaluation: The latest one.
        before: The one before training.
        target_mean_cosine: Mean cosine of unrelated target vectors.

    Raises:
        FailedTrainingError: The loss is not finite; or, after the first steps, the stage diverged or collapsed.
    """
    lower = "Lower the learning rate (-o learning_rate=...) or raise the batch size."
    if not math.isfinite(evaluation.loss):
        raise FailedTrainingError(f"Stage '{stage}' has a loss of {evaluation.loss} at step {evaluation.step}.", lower)
    if evaluation.step < EARLY:
        return
    if evaluation.loss > DIVERGED * before.loss and evaluation.accuracy <= FORGOTTEN * before.accuracy:
        raise FailedTrainingError(
            f"Stage '{stage}' diverged: dev loss {evaluation.loss:.4f} at step {evaluation.step},"
            f" {before.loss:.4f} before training.",
            lower,
        )
    # A student fresh from surgery may start out collapsed; one that ends so is marked by its scores.
    fell = before.mean_cosine <= COLLAPSED < evaluation.mean_cosine
    if fell and evaluation.mean_cosine > target_mean_cosine + COLLAPSE_MARGIN:
        raise FailedTrainingError(
            f"Stage '{stage}' collapsed: unrelated sentences have a mean cosine of {evaluation.mean_cosine:.3f}"
            f" at step {evaluation.step} (their targets: {target_mean_cosine:.3f}).",
            lower,
        )
