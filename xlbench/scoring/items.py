"""Item-level results: what the bootstrap resamples, one row per sentence pair."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from xlbench.disk import disk_errors
from xlbench.errors import XlbenchError
from xlbench.store import publish

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pyarrow import Array, Table

    from xlbench.experiment import Family
    from xlbench.scoring.tasks import Columns

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


Items: TypeAlias = dict[tuple[str, str], ItemScores]  # by (task, subset), in table order


def undefined_reason(family: Family, prediction: NDArray[np.float32], gold: NDArray[np.float32]) -> str | None:
    """Return why the main score of some items is undefined; None where it is defined, as F1 always is.

    Spearman's rank correlation is undefined where a side has a value that is not a number, or no two different values.
    """
    if family != "sts":
        return None
    for name, values in (("gold", gold), ("cosine", prediction)):
        if (missing := np.flatnonzero(np.isnan(values))).size:
            more = f" (and {missing.size - 1} more)" if missing.size > 1 else ""
            return f"the {name} of row {missing[0] + 1}{more} is not a number"
        if np.ptp(values) == 0:
            return f"all {len(values)} {name}s are equal" if len(values) > 1 else "it has a single row"
    return None


def main_score(family: Family, prediction: NDArray[np.float32], gold: NDArray[np.float32]) -> float | None:
    """Return the main score, times 100, that MTEB computes from the same items; None where it is undefined.

    STS: Spearman's rank correlation of cosine and gold, see :func:`undefined_reason`.
    Bitext: F1 averaged over classes by support, every index of the second side being a class.
    """
    if undefined_reason(family, prediction, gold) is not None:
        return None
    if family == "sts":
        from scipy.stats import spearmanr

        return 100 * float(spearmanr(gold, prediction)[0])
    from sklearn.metrics import f1_score

    found, wanted = prediction.astype(np.int64), gold.astype(np.int64)
    return 100 * float(f1_score(wanted, found, average="weighted", zero_division=0))


def number_items(family: Family, subsets: Sequence[Columns]) -> list[NDArray[np.int32]]:
    """Number the items of a task so that translations of one item share their number.

    STS: subsets whose golds are equal row by row translate the same pairs (five of STS17's, all of STSb's).
    Bitext: rows of different subsets that share a sentence, most often the English one, are one item.

    Returns:
        Per subset int32 [n], numbered from 0 in order of first appearance.
    """
    keys = _by_gold(subsets) if family == "sts" else _by_sentence(subsets)
    numbers: dict[tuple[int, int], int] = {}
    return [np.array([numbers.setdefault(key, len(numbers)) for key in rows], np.int32) for rows in keys]


def _by_gold(subsets: Sequence[Columns]) -> list[list[tuple[int, int]]]:
    seen: dict[bytes, int] = {}  # by bytes, since what is not a number does not equal itself
    golds = [(np.asarray(subset.gold, np.float64) + 0.0).tobytes() for subset in subsets]  # -0.0 becomes 0.0
    groups = [seen.setdefault(gold, len(seen)) for gold in golds]
    return [[(group, row) for row in range(len(subset.gold))] for group, subset in zip(groups, subsets, strict=True)]


def _by_sentence(subsets: Sequence[Columns]) -> list[list[tuple[int, int]]]:
    """Join rows through their sentences: connected components, with a node per row and per sentence."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = [pair for subset in subsets for pair in zip(subset.first, subset.second, strict=True)]
    nodes: dict[str, int] = {}
    ends = [len(rows) + nodes.setdefault(text, len(nodes)) for pair in rows for text in pair]
    starts = np.repeat(np.arange(len(rows)), 2)
    size = len(rows) + len(nodes)
    links = coo_array((np.ones(len(ends), np.int8), (starts, ends)), shape=(size, size))
    labels = connected_components(links, directed=False)[1]
    bounds = np.cumsum([0, *(len(subset.first) for subset in subsets)])
    return [[(int(label), 0) for label in labels[start:end]] for start, end in pairwise(bounds)]


def write_items(path: Path, items: Items) -> None:
    """Write items as one Parquet file: columns task, subset, item, prediction, gold.

    Raises:
        XlbenchError: The disk is full or read-only.
    """
    import pyarrow as pa

    table = pa.table(
        {
            **subset_columns({name: len(scores.item) for name, scores in items.items()}),
            "item": _joined([scores.item for scores in items.values()]),
            "prediction": _joined([scores.prediction for scores in items.values()]),
            "gold": _joined([scores.gold for scores in items.values()]),
        }
    )
    write_table(path, table)


def write_table(path: Path, table: Table, **encoding: str | int | Sequence[str]) -> None:
    """Write a table as Parquet so that a reader sees the old or the new one, never half of it.

    Args:
        path: Where; its directory is made.
        table: What.
        encoding: As :func:`pyarrow.parquet.write_table` takes it.

    Raises:
        XlbenchError: The disk is full or read-only.
    """
    from pyarrow import parquet

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with disk_errors(f"'{path.name}'", path.parent, needed=table.nbytes):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(table, temporary, **encoding)
            publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _joined(parts: list[NDArray[np.int32]] | list[NDArray[np.float32]]) -> NDArray[np.generic]:
    return np.concatenate(parts)


def read_items(path: Path) -> Items:
    """Read what :func:`write_items` wrote.

    Raises:
        XlbenchError: There is no such file, or it is damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, columns=["task", "subset", "item", "prediction", "gold"])
    except (OSError, pa.ArrowException) as error:
        raise XlbenchError(
            f"The item-level scores '{path}' cannot be read: {error}", "Score this experiment again."
        ) from error
    columns = [table[name].to_numpy() for name in ("item", "prediction", "gold")]
    return {name: ItemScores(*(column[at] for column in columns)) for name, at in by_subset(table).items()}


def subset_columns(sizes: Mapping[tuple[str, str], int]) -> dict[str, Array]:
    """Return the columns task and subset of a table that has so many rows of each, one after the other."""
    import pyarrow as pa

    counts = list(sizes.values())
    return {
        column: pa.array(np.repeat([name[at] for name in sizes], counts)).dictionary_encode()
        for at, column in enumerate(("task", "subset"))
    }


def by_subset(table: Table) -> dict[tuple[str, str], NDArray[np.intp]]:
    """Return the rows of each task and subset of a table with these columns, in order of first appearance."""
    names = table.select(["task", "subset"]).to_pandas()
    groups = names.groupby(["task", "subset"], sort=False, observed=True)
    return {name: rows.index.to_numpy() for name, rows in groups}
