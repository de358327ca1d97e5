"""Files of item-level scores: Parquet, one row per sentence pair."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from xlbench.disk import disk_errors
from xlbench.errors import XlbenchError
from xlbench.scoring.items import Items, ItemScores
from xlbench.store import publish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pyarrow import Array, Table

    from xlbench.scoring.scores import SuiteScores

COLUMNS = ("item", "prediction", "gold")
AGAIN = "Score this experiment again."
LARGE = 2**23  # rows of a file, 100 MB, from which on they are not held in memory


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
    """Read what :func:`write_items` wrote; of a large file, each subset when it is asked for.

    Raises:
        XlbenchError: There is no such file, or it is damaged.
    """
    table = _read_table(path)
    if table is None:
        return LargeFile(path)
    columns = [table[name].to_numpy() for name in COLUMNS]
    return {name: ItemScores(*(column[at] for column in columns)) for name, at in by_subset(table).items()}


def check_items(path: Path, scores: SuiteScores) -> None:
    """Refuse what :func:`read_items` refuses, and items that are not those of a record.

    Args:
        path: The file; of a large one only its head is read.
        scores: Of the record.

    Raises:
        XlbenchError: There is no such file, it is damaged, it has other subsets than the record, or numbers are missing
            where the record has a score.
    """
    from pyarrow import compute

    table = _read_table(path)
    if table is None:
        return
    subsets = {(task, name): it for task, its in scores.tasks.items() for name, it in its.subsets.items()}
    missing = table.append_column(
        "missing", compute.or_(compute.is_nan(table["prediction"]), compute.is_nan(table["gold"]))
    )
    counted = missing.group_by(["task", "subset"]).aggregate([("item", "count"), ("missing", "any")]).to_pylist()
    found = {(row["task"], row["subset"]): row for row in counted}
    problem = next((f"{' '.join(it)} is in one of the two alone" for it in sorted(found.keys() ^ subsets.keys())), None)
    for name, row in found.items():
        if problem is not None:
            break
        if row["item_count"] != subsets[name].items:
            problem = f"{' '.join(name)} has {row['item_count']} items, and {subsets[name].items} in the record"
        elif row["missing_any"] and subsets[name].main is not None:
            problem = f"{' '.join(name)} has a score in the record, and an item that is not a number"
    if problem is not None:
        raise XlbenchError(f"The item-level scores '{path}' are not the record's: {problem}.", AGAIN)


def _read_table(path: Path) -> Table | None:
    """Return the checked table of a file; None of a large one."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if parquet.read_metadata(path).num_rows > LARGE:
            return None
        table: Table = parquet.read_table(path, columns=["task", "subset", *COLUMNS])
    except (OSError, pa.ArrowException) as error:
        raise XlbenchError(f"The item-level scores '{path}' cannot be read: {error}", AGAIN) from error
    _check_columns(table, path)
    return table


def _check_columns(table: Table, path: Path) -> None:
    """Refuse a table without a number in each place.

    Raises:
        XlbenchError: A place in it is empty, or holds no number or infinity; NaN is what a score is undefined for.
    """
    for name in COLUMNS:
        column, wrong = table[name], None
        if column.null_count:
            wrong = "is empty in places"
        elif not np.issubdtype(column.type.to_pandas_dtype(), np.number):
            wrong = "holds no numbers"
        elif np.isinf(column.to_numpy()).any():
            wrong = "is infinite in places"
        if wrong:
            raise XlbenchError(f"The item-level scores '{path}' cannot be read: '{name}' {wrong}.", AGAIN)


class LargeFile(Mapping[tuple[str, str], ItemScores]):
    """The items of a file with millions of them, which stay there; the row group that was read last is held.

    It is to be asked for subsets in the order of the file. Raises what :func:`read_items` raises.
    """

    def __init__(self, path: Path) -> None:
        from pyarrow import parquet

        self._path = path
        groups = parquet.ParquetFile(path)
        self._starts = np.cumsum([0, *(groups.metadata.row_group(it).num_rows for it in range(groups.num_row_groups))])
        self._places: dict[tuple[str, str], list[tuple[int, slice]]] = {}
        for number in range(groups.num_row_groups):
            for name, rows in by_subset(groups.read_row_group(number, columns=["task", "subset"])).items():
                self._places.setdefault(name, []).append((number, slice(int(rows[0]), int(rows[-1]) + 1)))
        self._held: tuple[int, list[NDArray[np.generic]]] = (-1, [])

    def __getitem__(self, name: tuple[str, str]) -> ItemScores:
        parts = [[column[rows] for column in self._read(number)] for number, rows in self._places[name]]
        return ItemScores(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _read(self, number: int) -> list[NDArray[np.generic]]:
        from pyarrow import parquet

        if self._held[0] != number:
            table = parquet.ParquetFile(self._path).read_row_group(number, columns=list(COLUMNS))
            _check_columns(table, self._path)
            self._held = (number, [table[name].to_numpy() for name in COLUMNS])
        return self._held[1]


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
