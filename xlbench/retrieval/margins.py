"""Translations among nearest neighbours, by their margin: Artetxe & Schwenk, ACL 2019, section 3 (arXiv:1811.01136)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlbench.retrieval.exact import Neighbours

Retrieval: TypeAlias = Literal["forward", "backward", "intersection", "max"]
RETRIEVALS: tuple[Retrieval, ...] = get_args(Retrieval)
# The least mean cosine that a margin is divided by: a mean near zero, or below, would make the ratio arbitrarily large,
# or turn its sign. Neighbours of real sentences are far above it.
LEAST_MEAN = 0.01
BATCH = 65_536  # pairs that are Python objects at a time


class Candidates(NamedTuple):
    """Pairs of sentences, one of each side.

    Attributes:
        first: Positions on the first side, int64 [pairs].
        second: Positions on the second side, likewise.
        cosine: Float32 [pairs].
        margin: Float32 [pairs].
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    cosine: NDArray[np.float32]
    margin: NDArray[np.float32]

    def choose(self, places: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Candidates:
        """Return some of them."""
        return Candidates(self.first[places], self.second[places], self.cosine[places], self.margin[places])

    def join(self, other: Candidates) -> Candidates:
        """Return them and others."""
        return Candidates(
            np.concatenate([self.first, other.first]),
            np.concatenate([self.second, other.second]),
            np.concatenate([self.cosine, other.cosine]),
            np.concatenate([self.margin, other.margin]),
        )

    def swap(self) -> Candidates:
        """Return them with the sides exchanged."""
        return Candidates(self.second, self.first, self.cosine, self.margin)


def mine_pairs(forward: Neighbours, backward: Neighbours, retrieval: Retrieval, threshold: float) -> Candidates:
    """Return the pairs that are taken for translations, the largest margin first.

    The margin of x and y is the ratio of their cosine to the mean cosine of their neighbourhoods (equations 1 and 2)::

        cos(x, y) / ( sum over z in NN(x) of cos(x, z) / 2k + sum over z in NN(y) of cos(y, z) / 2k )

    NN(x) being the k nearest neighbours of x on the other side. Of each sentence its neighbour with the largest margin
    is a candidate: forward from the first side, backward from the second.

    Args:
        forward: Nearest neighbours of the first side's sentences on the second side.
        backward: Of the second side's on the first.
        retrieval: 'forward' and 'backward' take the candidates of one side; 'intersection' those that both sides have;
            'max' of both sides', the largest margin first, those whose sentences are in no pair yet.
        threshold: The least margin of a pair.
    """
    means = forward.cosines.mean(axis=1), backward.cosines.mean(axis=1)
    from_first = best_of_each(forward, means[0], means[1])
    from_second = best_of_each(backward, means[1], means[0]).swap()
    if retrieval == "forward":
        found = from_first
    elif retrieval == "backward":
        found = from_second
    elif retrieval == "intersection":
        # Each sentence has one candidate, so that both sides have a pair if its second side's candidate leads back.
        found = from_first.choose(from_second.first[from_first.second] == from_first.first)
    else:
        found = from_first.join(from_second)
    found = found.choose(found.margin >= threshold)
    found = found.choose(np.lexsort((found.second, found.first, -found.margin)))
    return found.choose(_first_uses(found)) if retrieval == "max" else found


def best_of_each(found: Neighbours, own_means: NDArray[np.float32], other_means: NDArray[np.float32]) -> Candidates:
    """Return each sentence's neighbour with the largest margin; of equal ones the nearest.

    Args:
        found: Nearest neighbours of one side's sentences.
        own_means: Mean cosine of each sentence to its neighbours, float32 [sentences].
        other_means: Likewise on the other side.
    """
    means = (own_means[:, None] + other_means[found.ids]) / 2
    margins = found.cosines / np.maximum(means, LEAST_MEAN)
    best = margins.argmax(axis=1)
    rows = np.arange(len(best))
    return Candidates(rows.astype(np.int64), found.ids[rows, best], found.cosines[rows, best], margins[rows, best])


def _first_uses(found: Candidates) -> NDArray[np.bool_]:
    """Return which pairs, taken in order, have no sentence of a pair that was taken before."""
    used = tuple(bytearray(int(side.max(initial=-1)) + 1) for side in (found.first, found.second))
    taken = np.zeros(len(found.first), np.bool_)
    for start in range(0, len(taken), BATCH):
        pairs = zip(
            found.first[start : start + BATCH].tolist(), found.second[start : start + BATCH].tolist(), strict=True
        )
        for place, (first, second) in enumerate(pairs, start=start):
            if not used[0][first] and not used[1][second]:
                used[0][first] = used[1][second] = taken[place] = True
    return taken
