"""Intervals: time and memory of the bootstrap of ten rows on a task with the 41,412 subsets of Flores, made up."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.results import Part, Table, at_most

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30
MOST_GIB = 2.0
ROWS = 10
# Subsets, sentences of each, resamples; memory does not depend on the last, and a tenth of them saves a quarter hour.
NTREX = (1_916, 1_997, 10_000)
FLORES = (41_412, 1_012, 1_000)
QUICK = (200, 50, 200)


def measure_intervals(work: Path, *, quick: bool) -> Part:
    """Compute the statistics of a board, each size in a process of its own."""
    rows, data = [], []
    for subsets, items, resamples in (QUICK,) if quick else (NTREX, FLORES):
        print(f"intervals: {subsets:,} subsets", flush=True)
        words = [work / f"items-{subsets}", *(str(it) for it in (subsets, items, ROWS, resamples))]
        command = [sys.executable, "-m", "benchmarks.intervals_child", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"intervals of {subsets} subsets failed: {done.stderr.strip()}")
        data.append(json.loads(done.stdout.splitlines()[-1]))
    for found in data:
        held = found["subsets"] * ROWS * found["resamples"] * 8 / GIB
        rows.append(
            (
                f"{found['subsets']:,}",
                f"{found['items']:,}",
                f"{found['resamples']:,}",
                f"{found['seconds'] / 60:.1f}",
                f"{found['peak'] / GIB:.2f}",
                f"{found['before'] / GIB:.2f}",
                f"{held:.1f}",
            )
        )
    largest = data[-1]
    return Part(
        title="Intervals",
        how=(
            f"{ROWS} rows on one bitext task of the size of NTREX and of Flores, with made-up predictions: item files "
            "as the store has them are read, and all intervals, paired differences and means are computed. Peak memory "
            "is what the process held at most, Python and its libraries in; the last column is what the scores of all "
            "resamples would take."
        ),
        tables=(
            Table(
                title="Minutes, and memory in GiB",
                header=("Subsets", "Sentences of each", "Resamples", "Minutes", "Peak", "Before", "All scores"),
                rows=tuple(rows),
            ),
        ),
        lines=(
            at_most(
                f"intervals: {ROWS} rows on {largest['subsets']:,} subsets in {MOST_GIB:g} GiB at most",
                largest["peak"] / GIB,
                MOST_GIB,
                f"{largest['peak'] / GIB:.2f} GiB",
            ),
        ),
        data={"outcomes": data},
    )
