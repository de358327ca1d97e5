"""Exact nearest neighbours by cosine: matrix products of blocks, of which the best k of each sentence are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlbench.progress import progress

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from xlbench.retrieval.vectors import Vectors

ROWS, COLUMNS = 4096, 8192  # of a block of cosines: 134 MB in float32


class Neighbours(NamedTuple):
    """The nearest neighbours of some sentences.

    Attributes:
        cosines: Float32 [sentences, k], descending.
        ids: Positions of the neighbours, int64 [sentences, k].
    """

    cosines: NDArray[np.float32]
    ids: NDArray[np.int64]

    @classmethod
    def none(cls, sentences: int, k: int) -> Neighbours:
        """Return places for k neighbours of each sentence, none of which was found yet."""
        return cls(np.full((sentences, k), -np.inf, np.float32), np.full((sentences, k), -1, np.int64))

    def improve(self, start: int, cosines: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """Keep the best of what is there and of what was found for the sentences from ``start`` on.

        Args:
            start: Position of the first sentence.
            cosines: Float32 [m, any].
            ids: Int64 [m, any]; -1 with a cosine of -inf where there is no neighbour.
        """
        stop, k = start + len(cosines), self.cosines.shape[1]
        # What is there comes first: of equal cosines that of the lower position stays.
        all_cosines = np.concatenate([self.cosines[start:stop], cosines], axis=1)
        all_ids = np.concatenate([self.ids[start:stop], ids], axis=1)
        order = np.argsort(-all_cosines, axis=1, kind="stable")[:, :k]
        self.cosines[start:stop] = np.take_along_axis(all_cosines, order, axis=1)
        self.ids[start:stop] = np.take_along_axis(all_ids, order, axis=1)


def exact_neighbours(
    queries: Vectors, corpus: Vectors, k: int, *, device: str, quiet: bool = True, title: str = "searching"
) -> Neighbours:
    """Return the k nearest sentences of a corpus for each query, by cosine, all compared with all.

    Args:
        queries: Vectors of the queries.
        corpus: Vectors of the corpus, of the same width.
        k: How many; no more than the corpus has.
        device: The torch device that multiplies.
        quiet: Show no progress.
        title: Of the progress.
    """
    return _sweep(queries, corpus, k, 0, device, title, quiet=quiet)[0]


def exact_both_ways(
    first: Vectors, second: Vectors, k: tuple[int, int], *, device: str, quiet: bool = True
) -> tuple[Neighbours, Neighbours]:
    """Return the nearest neighbours of each side in the other; every cosine is computed once.

    Args:
        first: Vectors of one side.
        second: Vectors of the other, of the same width.
        k: How many for a sentence of the first side, and for one of the second.
        device: The torch device that multiplies.
        quiet: Show no progress.
    """
    return _sweep(first, second, k[0], k[1], device, "comparing all with all", quiet=quiet)


def _sweep(
    first: Vectors, second: Vectors, k: int, k_back: int, device: str, title: str, *, quiet: bool
) -> tuple[Neighbours, Neighbours]:
    """Return the k best of each row and the k_back best of each column (none for 0) of the matrix of cosines."""
    import torch

    rows, columns = Neighbours.none(len(first), k), Neighbours.none(len(second), k_back)
    with progress(title, len(first), quiet=quiet, unit="sentences") as advance, torch.inference_mode():
        for top, block in first.blocks(ROWS):
            left = torch.from_numpy(block).to(device)
            for low, other in second.blocks(COLUMNS):
                cosines = left @ torch.from_numpy(other).to(device).T
                rows.improve(top, *_best(cosines, k, low))
                if k_back:
                    columns.improve(low, *_best(cosines.T.contiguous(), k_back, top))
                advance(len(block) * len(other) / len(second))
    return rows, columns


def _best(cosines: torch.Tensor, k: int, start: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the k best of each row, and their positions, counted from ``start``."""
    values, ids = cosines.topk(min(k, cosines.shape[1]), dim=1)
    return values.cpu().numpy(), ids.cpu().numpy() + start
