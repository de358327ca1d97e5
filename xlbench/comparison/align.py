"""Items of several rows, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xlbench.scoring.items import Items, ItemScores


def by_task(rows: Mapping[str, Sequence[Items]]) -> dict[str, list[dict[str, ItemScores]]]:
    """Return the items of all runs, row after row, by task and subset in the order of the first run.

    Args:
        rows: The items of each run of a row, by the row's name.

    Raises:
        XlbenchError: There is no row, a row has no run, or runs have other tasks, subsets or items.
    """
    runs = [(name, items) for name, row in rows.items() for items in row]
    if empty := [name for name, row in rows.items() if not row]:
        raise XlbenchError(f"Row '{empty[0]}' has no run to compute statistics from.", "Leave it out.")
    if not runs:
        raise XlbenchError("There is no row to compute statistics from.")
    first_name, first = runs[0]
    for name, items in runs:
        if different := _differing(first, items):
            raise XlbenchError(
                f"'{first_name}' and '{name}' were scored on other items of {different}: they cannot be compared.",
                "Score both on the same suite and data.",
            )
    found: dict[str, list[dict[str, ItemScores]]] = {}
    for task in dict.fromkeys(task for task, _ in first):
        found[task] = [{subset: items[task, subset] for of, subset in first if of == task} for _, items in runs]
    return found


def _differing(first: Items, other: Items) -> str | None:
    """Return where two runs have other items; None where they have the same."""
    for task, subset in [*first, *other]:
        one, two = first.get((task, subset)), other.get((task, subset))
        if one is None or two is None:
            return f"{task} {subset}"
        if not (np.array_equal(one.item, two.item) and np.array_equal(one.gold, two.gold)):
            return f"{task} {subset}"
    return None
