"""Nearest neighbours through an index of faiss: cells of similar vectors, of which a query searches a few.

K-means groups the corpus into cells (an inverted file), and a query is compared with what is in the cells whose centres
are nearest to it: with codes of product quantisation, four numbers of a vector in four bits, which faiss scans in the
registers of the CPU. The best of these are then compared by their vectors. How many cells are searched is decided by
measuring: as many as it takes to find :data:`WANTED` of the exact neighbours of a sample of the queries.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from xlbench.errors import XlbenchError
from xlbench.progress import progress
from xlbench.retrieval.exact import Neighbours, exact_neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlbench.retrieval.vectors import Vectors

LIBRARY = "faiss"
INSTALL = "Run `pip install 'xlbench[search]'`"
# A corpus is indexed a shard at a time, so that memory does not grow with it: what k-means sees of one are 302 MB of
# vectors of 384 numbers, and its index has 56 bytes a vector.
SHARD = 1 << 20  # vectors
TRAINED_ON = 48  # vectors a cell that k-means sees, which is enough for it by faiss's own bound of 39
ROUNDS = 10  # of k-means
BLOCK = 16_384  # vectors that are added, or looked up, at a time
WANTED = 0.95  # of the exact neighbours of the sample
SAMPLE = 512  # queries on which the number of cells is chosen
FIRST_CELLS = 8  # that are tried
# The most cells that are searched, where no number of cells finds enough: vectors without any structure would make an
# index slower than comparing all with all.
MOST_CELLS, MOST_SHARE = 16, 1 / 16
TOGETHER = 4  # numbers of a vector that a code of four bits stands for
# Found by their codes for each neighbour that is wanted, and then compared by their vectors. On the lines of
# benchmarks/mining.py, 100,000 a side, 12 lose 0.4 points of recall against vectors in float16, and 4 lose 2.6;
# searching takes an eighth of the time.
COMPARED = 12
GATHERED = 512  # queries whose candidates are compared at a time


class Clustering(Protocol):
    """What is used of the settings of faiss's k-means."""

    niter: int
    min_points_per_centroid: int
    max_points_per_centroid: int


class Quantizer(Protocol):
    """What is used of the settings of faiss's product quantisation."""

    cp: Clustering


class Index(Protocol):
    """What is used of an inverted file of faiss."""

    nlist: int
    nprobe: int
    cp: Clustering
    pq: Quantizer

    def train(self, vectors: NDArray[np.float32]) -> None:
        """Make the cells."""
        ...

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Add vectors, float32 [n, dimension]."""
        ...

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return inner products, descending, and positions, both [n, k]; positions are -1 where nothing was found."""
        ...


def require_index(problem: str) -> None:
    """Refuse work that needs an index where faiss is not installed.

    Args:
        problem: What the work is, the first half of a sentence.

    Raises:
        XlbenchError: It is not installed.
    """
    if find_spec(LIBRARY) is None:
        raise XlbenchError(
            f"{problem} goes through an index, for which {LIBRARY} must be installed.",
            f"{INSTALL}, or give --exact to compare all with all, which takes long.",
        )


def indexed_neighbours(
    queries: Vectors, corpus: Vectors, k: int, *, device: str, quiet: bool = True, title: str = "searching"
) -> Neighbours:
    """Return about the k nearest sentences of a corpus for each query, by cosine.

    Args:
        queries: Vectors of the queries.
        corpus: Vectors of the corpus, of the same width; at least a few thousand.
        k: How many; no more than the corpus has.
        device: The torch device on which the sample is compared exactly.
        quiet: Show no progress.
        title: Of the progress.
    """
    found = Neighbours.none(len(queries), k)
    sample = queries.take(spaced(len(queries), SAMPLE))
    shards = [(start, min(start + SHARD, len(corpus))) for start in range(0, len(corpus), SHARD)]
    with progress(title, len(queries) * len(shards), quiet=quiet, unit="sentences") as advance:
        for start, stop in shards:
            shard = corpus.part(start, stop)
            nearest = min(k, len(shard))
            index = build_index(shard)
            _choose_cells(index, sample, shard, nearest, device)
            for low in range(0, len(queries), BLOCK):
                some = queries.part(low, low + BLOCK)
                cosines, ids = _look_up(index, some, shard, nearest, device)
                found.improve(low, cosines, ids + start)
                advance(len(some))
    return found


def build_index(corpus: Vectors) -> Index:
    """Return an index of a corpus, of 4 √n cells; its k-means is the same every time."""
    import faiss
    import torch

    faiss.omp_set_num_threads(torch.get_num_threads())
    width = corpus.dimension + -corpus.dimension % TOGETHER
    cells = max(1, min(round(4 * math.sqrt(len(corpus))), len(corpus) // 39))
    made = faiss.index_factory(width, f"IVF{cells},PQ{width // TOGETHER}x4fs", faiss.METRIC_INNER_PRODUCT)
    index = cast("Index", made)  # the factory declares the parent of all indices
    index.cp.niter, index.cp.max_points_per_centroid = ROUNDS, TRAINED_ON
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1  # else faiss prints warnings
    chosen = spaced(len(corpus), cells * TRAINED_ON)
    index.train(_padded(corpus.take(chosen).block(0, len(chosen))))
    for _, block in corpus.blocks(BLOCK):
        index.add(_padded(block))
    return index


def _padded(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors with zeros behind them, so that codes divide their width; inner products stay."""
    return np.pad(block, ((0, 0), (0, -block.shape[1] % TOGETHER)))


def _look_up(index: Index, queries: Vectors, corpus: Vectors, k: int, device: str) -> Neighbours:
    """Return about the k nearest of an indexed corpus: the best by their codes, compared by their vectors."""
    block = queries.block(0, len(queries))
    _, ids = index.search(_padded(block), min(COMPARED * k, len(corpus)))
    found = Neighbours.none(len(block), k)
    for low in range(0, len(block), GATHERED):
        some = ids[low : low + GATHERED]
        cosines = corpus.cosines(block[low : low + GATHERED], np.maximum(some, 0))
        found.improve(low, np.where(some < 0, -np.inf, cosines).astype(np.float32), some)
    # The cells of a query may hold fewer vectors than are asked for.
    if len(short := np.flatnonzero((found.ids < 0).any(axis=1))):
        exact = exact_neighbours(queries.take(short), corpus, k, device=device)
        found.cosines[short], found.ids[short] = exact
    return found


def _choose_cells(index: Index, sample: Vectors, corpus: Vectors, k: int, device: str) -> None:
    """Set how many cells a query searches: doubled until the sample's neighbours are found, or enough is enough."""
    exact = exact_neighbours(sample, corpus, k, device=device)
    most = min(index.nlist, max(MOST_CELLS, round(MOST_SHARE * index.nlist)))
    index.nprobe = min(FIRST_CELLS, most)
    while index.nprobe < most:
        if share_found(_look_up(index, sample, corpus, k, device), exact) >= WANTED:
            return
        index.nprobe = min(2 * index.nprobe, most)


def share_found(found: Neighbours, exact: Neighbours) -> float:
    """Return the recall: the share of the exact neighbours that are among the found ones.

    Args:
        found: Of some sentences.
        exact: Of the same.
    """
    return float((exact.ids[:, :, None] == found.ids[:, None, :]).any(axis=2).mean())


def spaced(count: int, most: int) -> NDArray[np.int64]:
    """Return up to ``most`` positions of ``count``, evenly spaced, ascending."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))
