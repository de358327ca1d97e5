"""One size of :mod:`benchmarks.intervals`, in a process of its own: ``DIRECTORY SUBSETS ITEMS ROWS RESAMPLES``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from xlbench.comparison.compute import compute_statistics
from xlbench.distill.outcome import peak_memory
from xlbench.scoring.item_files import read_items, subset_columns

TASK = "Flores"
LOT = 512  # subsets that are written at a time


def write_row(path: Path, subsets: int, items: int, seed: int) -> None:
    """Write the items of a made-up encoder: it finds four translations in five, other ones in every subset."""
    import pyarrow as pa
    from pyarrow import parquet

    generator = np.random.default_rng(seed)
    names = [f"subset-{number}" for number in range(subsets)]
    writer: parquet.ParquetWriter | None = None
    for start in range(0, subsets, LOT):
        some = names[start : start + LOT]
        gold = np.tile(np.arange(items), len(some))
        wrong = generator.random(len(gold)) < 0.2
        found = np.where(wrong, generator.integers(0, items, len(gold)), gold)
        columns = subset_columns({(TASK, name): items for name in some})
        numbers = {
            "item": gold.astype(np.int32),
            "prediction": found.astype(np.float32),
            "gold": gold.astype(np.float32),
        }
        table = pa.table({**columns, **numbers})
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def main() -> None:
    """Write the item files, then compute the statistics of a board; prints JSON."""
    place = Path(sys.argv[1])
    subsets, items, rows, resamples = (int(word) for word in sys.argv[2:])
    place.mkdir(parents=True, exist_ok=True)
    files = [place / f"{row}.parquet" for row in range(rows)]
    for seed, file in enumerate(files):
        if not file.is_file():
            write_row(file, subsets, items, seed)
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    found = compute_statistics(
        {file.stem: [read_items(file)] for file in files}, {TASK: "bitext"}, resamples=resamples, quiet=True
    )
    assert all(len(row.subsets[TASK]) == subsets for row in found.rows.values())
    outcome = {
        "subsets": subsets, "items": items, "rows": rows, "resamples": resamples, "before": before,
        "seconds": time.perf_counter() - began, "peak": peak_memory(),
    }  # fmt: skip
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
