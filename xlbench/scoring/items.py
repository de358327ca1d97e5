"""Item-level results: what the bootstrap resamples, one row per sentence pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xlbench.experiment import Measure
    from xlbench.scoring.tasks import Columns

JOINED = 4_000_000  # rows at a time
TOLERANCE = 1e-6  # points, between MTEB's main score and that of the kept items


@dataclass(frozen=True)
class ItemScores:
    """The items of one subset, in the order of its data.

    Attributes:
        item: int32 [n]. Rows of a task's subsets with the same number are one item in several languages: a
            bootstrap draws them together.
        prediction: float32 [n]. STS: the cosine of the pair. Bitext: the index of the nearest neighbour.
        gold: float32 [n]. STS: the similarity that people gave. Bitext: the index of the translation.
    """

    item: NDArray[np.int32]
    prediction: NDArray[np.float32]
    gold: NDArray[np.float32]


Items: TypeAlias = Mapping[tuple[str, str], ItemScores]  # by (task, subset), in table order


def undefined_reason(measure: Measure, prediction: NDArray[np.float32], gold: NDArray[np.float32]) -> str | None:
    """Return why the main score of some items is undefined; None where it is defined.

    Spearman's rank correlation is undefined where a side has a value that is not a number, or no two different values.
    F1 is undefined where a row has no nearest neighbour, since embeddings are so large that cosines overflow.
    """
    if measure != "sts":
        lost = np.flatnonzero(np.isnan(prediction))
        more = f" (and {lost.size - 1} more)" if lost.size > 1 else ""
        return f"row {lost[0] + 1}{more} has no nearest neighbour: embeddings are too large" if lost.size else None
    for name, values in (("gold", gold), ("cosine", prediction)):
        if (missing := np.flatnonzero(np.isnan(values))).size:
            more = f" (and {missing.size - 1} more)" if missing.size > 1 else ""
            return f"the {name} of row {missing[0] + 1}{more} is not a number"
        if (values == values[:1]).all():
            return f"all {len(values)} {name}s are equal" if len(values) > 1 else "it has a single row"
    return None


def main_score(measure: Measure, prediction: NDArray[np.float32], gold: NDArray[np.float32]) -> float | None:
    """Return the main score, times 100, that MTEB computes from the same items; None where it is undefined.

    STS: Spearman's rank correlation of cosine and gold, see :func:`undefined_reason`.
    Bitext: F1 averaged over classes by support, every index of the second side being a class.
    """
    if undefined_reason(measure, prediction, gold) is not None:
        return None
    if measure == "sts":
        from scipy.stats import spearmanr

        return 100 * float(spearmanr(gold, prediction)[0])
    from sklearn.metrics import f1_score

    found, wanted = prediction.astype(np.int64), gold.astype(np.int64)
    return 100 * float(f1_score(wanted, found, average="weighted", zero_division=0))


def number_items(measure: Measure, subsets: Sequence[Columns]) -> list[NDArray[np.int32]]:
    """Number the items of a task so that translations of one item share their number.

    STS: subsets whose golds are equal row by row translate the same pairs (five of STS17's, all of STSb's).
    Bitext: rows of different subsets that share a sentence, most often the English one, are one item.

    Returns:
        Per subset int32 [n], numbered from 0 in order of first appearance.
    """
    return _by_gold(subsets) if measure == "sts" else _by_sentence(subsets)


def _by_gold(subsets: Sequence[Columns]) -> list[NDArray[np.int32]]:
    seen: dict[bytes, int] = {}  # by bytes, since what is not a number does not equal itself
    golds = [(np.asarray(subset.gold, np.float64) + 0.0).tobytes() for subset in subsets]  # -0.0 becomes 0.0
    groups = [seen.setdefault(gold, len(seen)) for gold in golds]
    numbers: dict[tuple[int, int], int] = {}
    keys = [[(group, row) for row in range(len(it.gold))] for group, it in zip(groups, subsets, strict=True)]
    return [np.array([numbers.setdefault(key, len(numbers)) for key in rows], np.int32) for rows in keys]


def _by_sentence(subsets: Sequence[Columns]) -> list[NDArray[np.int32]]:
    """Join rows through their sentences: the connected components of a graph with a node per sentence.

    A task with a column per language has tens of thousands of subsets, which share the columns. So each column is
    looked up once, and rows are joined some million at a time.
    """
    nodes: dict[str, int] = {}
    columns: dict[int, NDArray[np.int32]] = {}

    def ids(column: Sequence[str]) -> NDArray[np.int32]:
        if id(column) not in columns:
            columns[id(column)] = np.array([nodes.setdefault(text, len(nodes)) for text in column], np.int32)
        return columns[id(column)]

    rows = [(ids(it.first), ids(it.second)[np.asarray(it.gold, np.intp)]) for it in subsets]
    component = np.arange(len(nodes))  # of each sentence
    start, ends = 0, np.cumsum([len(first) for first, _ in rows])
    while start < len(rows):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + JOINED, side="right")))
        component = _joined_components(component, rows[start:stop])
        start = stop
    numbers, count = np.full(len(nodes), -1, np.int32), 0
    numbered = []
    for first, _ in rows:
        own = component[first]
        new = own[numbers[own] < 0]
        new = new[np.sort(np.unique(new, return_index=True)[1])]  # in order of first appearance
        numbers[new] = np.arange(count, count + len(new))
        count += len(new)
        numbered.append(numbers[own])
    return numbered


def _joined_components(
    component: NDArray[np.intp], rows: Sequence[tuple[NDArray[np.int32], NDArray[np.int32]]]
) -> NDArray[np.intp]:
    """Return the component of each sentence after some rows have joined their two sentences."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = (component[np.concatenate([row[side] for row in rows])] for side in (0, 1))
    size = len(component)
    links = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(size, size))
    joined: NDArray[np.intp] = connected_components(links, directed=False)[1]
    return joined[component]
