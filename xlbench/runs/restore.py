"""Copies the rows that ship with a board into the store, so that only missing rows are trained and scored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from xlbench.records.predictions import Predicted, read_predictions
from xlbench.records.record import ITEMS, Record, read_record, record_digest
from xlbench.records.stored import saved_record, write_entry
from xlbench.scoring.data import require_data
from xlbench.scoring.item_files import write_items
from xlbench.scoring.items import TOLERANCE, Items, main_score
from xlbench.scoring.scores import family_means
from xlbench.scoring.suites import find_suite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings


class _Kept(NamedTuple):
    record: Record
    predicted: Predicted


def restore(
    paths: Iterable[Path], registry: Registry, settings: Settings, say: Callable[[str], None] = lambda _: None
) -> None:
    """Copy rows that the store does not have into it, and add the gold scores from the test data.

    A row is found by its key, which covers everything that its result depends on; other rows stay unused.

    Args:
        paths: Records in the folder of a board; those without predictions are skipped.
        registry: Contains their suites.
        settings: Where the store and the suites' data are.
        say: Called with the number of rows, and with each row that could not be used.

    Raises:
        XlbenchError: A file is damaged, no plugin provides the suite, or its data is missing.
    """
    kept = [it for it in _kept(paths) if not saved_record(it.predicted.key, settings)]
    if not kept:
        return
    names = dict.fromkeys(record.scores.suite for record, _ in kept)
    suites = {name: find_suite(name, registry.suites, settings) for name in names}
    require_data(suites.values(), settings)
    from xlbench.scoring.harness import unpredicted_items

    unpredicted = {name: unpredicted_items(suite, settings) for name, suite in suites.items()}
    used = 0
    for record, predicted in kept:
        if not _is_whole(record, predicted):
            say(f"the record of '{record.name}' is not the one that was written with its predictions: not used")
            continue
        items = _filled(unpredicted[record.scores.suite], predicted)
        if items is None or not _agree(record, items):
            say(f"what '{record.name}' predicted does not give the scores of its record on this data: not used")
            continue
        _put(settings, predicted.key, record, items)
        used += 1
    say(f"rows that came with the board: {used}")


def _kept(paths: Iterable[Path]) -> list[_Kept]:
    found = [(path, read_predictions(path)) for path in paths]
    return [_Kept(read_record(path), predicted) for path, predicted in found if predicted]


def _is_whole(record: Record, predicted: Predicted) -> bool:
    """Return whether a record says what it said when it was written, as far as that can be told."""
    means = family_means(record.scores.tasks.values())
    if means.keys() != record.scores.families.keys() or predicted.digest not in {None, record_digest(record)}:
        return False
    return all(_equal(record.scores.families[it], means[it]) for it in means)


def _filled(unpredicted: Items, predicted: Predicted) -> Items | None:
    """Return items with what was predicted; None where there are other items."""
    sizes = {name: len(it.item) for name, it in unpredicted.items()}
    if sizes != {name: len(values) for name, values in predicted.predictions.items()}:
        return None
    return {name: replace(unpredicted[name], prediction=values) for name, values in predicted.predictions.items()}


def _agree(record: Record, items: Items) -> bool:
    """Return whether items give the main scores that the record has."""
    scores = record.scores.tasks
    recorded = {(task, subset): it.main for task in scores for subset, it in scores[task].subsets.items()}
    if recorded.keys() != items.keys():
        return False
    again = {
        (task, subset): main_score(scores[task].measure, it.prediction, it.gold) for (task, subset), it in items.items()
    }
    return all(_equal(recorded[name], again[name]) for name in items)


def _equal(one: float | None, two: float | None) -> bool:
    return one is two if one is None or two is None else abs(one - two) <= TOLERANCE


def _put(settings: Settings, key: str, record: Record, items: Items) -> None:
    def make(directory: Path) -> Record:
        write_items(directory / ITEMS, items)
        return record

    write_entry(key, settings, make)
