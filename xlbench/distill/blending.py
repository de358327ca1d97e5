"""The arithmetic of a blend of teachers: means, principal axes and rotation, in double precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xlbench.distill.blend import Blend

    Floats: TypeAlias = "NDArray[np.floating]"
    Doubles: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True)
class Fitted:
    """What was found in a blend's sample, in double precision.

    Attributes:
        means: Mean of each teacher's unit vectors, [dimension]; zeros where it is not taken out.
        shares: Each teacher's share; their sum is one.
        axes: [joint, width]: the principal axes, rotated to the assistant where the widths are the same.
        explained: Share of the joint vectors' squared length that the axes keep.
        cosine: Mean cosine of the blend with the assistant's own vectors; None where the widths differ.
    """

    means: tuple[Doubles, ...]
    shares: tuple[float, ...]
    axes: Doubles
    explained: float
    cosine: float | None

    def blended(self, parts: Sequence[Floats]) -> Doubles:
        """Return the blend of some sentences, unit vectors [n, width], from each teacher's vectors of them."""
        return unit_rows(_side_by_side(parts, self.means, self.shares) @ self.axes)


def fit_blend(blend: Blend, parts: Sequence[Floats], own: Floats, width: int) -> Fitted:
    """Find the means, the axes and the rotation of a blend.

    Args:
        blend: What is blended.
        parts: Vectors of the sample by each teacher, float [n, dimension].
        own: Vectors of the same sentences by the assistant, float [n, dimension].
        width: How wide the blend is.
    """
    from scipy.linalg import orthogonal_procrustes
    from sklearn.utils.extmath import svd_flip

    means = tuple(_mean(part, centre=blend.centre) for part in parts)
    shares = tuple(share for _, share in blend.teachers)
    joint = _side_by_side(parts, means, shares)
    axes, explained = np.eye(joint.shape[1]), 1.0
    if width < joint.shape[1]:
        # No mean is taken here: each part has lost its own.
        left, lengths, right = np.linalg.svd(joint, full_matrices=False)
        # The sign of an axis is arbitrary; it is fixed so that every machine agrees.
        _, right = svd_flip(left, right, u_based_decision=False)
        axes, explained = right[:width].T, float(np.square(lengths[:width]).sum() / np.square(lengths).sum())
    cosine = None
    if width == own.shape[1]:
        wanted = _centred(own, _mean(own, centre=blend.centre))
        rotation, _ = orthogonal_procrustes(unit_rows(joint @ axes), wanted)
        axes = axes @ rotation
        cosine = float((unit_rows(joint @ axes) * wanted).sum(axis=1).mean())
    return Fitted(means, shares, axes, explained, cosine)


def unit_rows(rows: Floats) -> Doubles:
    """Return rows scaled to length one, float64 [n, dimension]; a row of zeros stays."""
    doubles = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(doubles, axis=1, keepdims=True)
    scaled: Doubles = np.divide(doubles, lengths, out=np.zeros_like(doubles), where=lengths > 0)
    return scaled


def _mean(vectors: Floats, *, centre: bool) -> Doubles:
    mean: Doubles = unit_rows(vectors).mean(axis=0) if centre else np.zeros(vectors.shape[1])
    return mean


def _centred(vectors: Floats, mean: Doubles) -> Doubles:
    return unit_rows(unit_rows(vectors) - mean)


def _side_by_side(parts: Sequence[Floats], means: Sequence[Doubles], shares: Sequence[float]) -> Doubles:
    joined = [np.sqrt(share) * _centred(it, mean) for it, mean, share in zip(parts, means, shares, strict=True)]
    return np.concatenate(joined, axis=1)
