"""Comparing two recorded runs, item by item."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.comparison.compute import RESAMPLES
from xlbench.comparison.gaps import Gaps, disagreements, find_gaps
from xlbench.errors import XlbenchError
from xlbench.experiment import Family, Measure, measure_of
from xlbench.fingerprint import Frozen
from xlbench.plugins.guard import plugin_errors
from xlbench.records.rows import differing_scores
from xlbench.records.stored import describe, find_run, items_of
from xlbench.runs.restore import restore
from xlbench.scoring.data import data_identity
from xlbench.scoring.suites import find_suite

if TYPE_CHECKING:
    import pandas as pd

    from xlbench.comparison.gaps import Disagreement, Gap
    from xlbench.experiment import Suite, TaskRef
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Record
    from xlbench.records.stored import StoredRecord
    from xlbench.scoring.items import Items
    from xlbench.scoring.tasks import Columns
    from xlbench.settings import Settings


# Of a comparison's data frame, with their types.
COLUMNS = {
    "family": "str",
    "task": "str",
    "subset": "str",
    "first": "float64",
    "second": "float64",
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "significant": "bool",
}


class Side(Frozen):
    """One of the two runs."""

    name: str
    fingerprint: str = Field(description="Key of its entry in the store.")
    description: str = Field(description="Distinguishes it from other runs of the same name.")


class Example(Frozen):
    """A sentence pair on which the two runs disagree."""

    task: str
    family: Family
    subset: str
    row: int = Field(description="Its place in the subset, from 0.")
    items: int = Field(description="Sentence pairs of the subset.")
    gold: float = Field(
        description="STS: its rank by human judgement, 1 the least similar. Bitext: the item of its translation."
    )
    first: float = Field(description="STS: its rank by the first run. Bitext: the item that the first run found.")
    second: float = Field(description="The same for the second run.")
    texts: tuple[str, str] | None = Field(description="Both sentences; None where the data is not there.")
    taken: str | None = Field(description="Bitext: the sentence that the run in error took for the translation.")

    @property
    def measure(self) -> Measure:
        """How the task's items are scored and compared."""
        return measure_of(self.family)


class Comparison(Frozen):
    """Two runs beside each other: scores, paired differences with intervals, and the items they disagree on."""

    first: Side
    second: Side
    suite: str
    example: bool = Field(description="The suite is a working example: its scores are no benchmark.")
    resamples: int
    task_families: dict[str, Family] = Field(description="The family of each task.")
    gaps: Gaps
    examples: tuple[Example, ...]
    notes: tuple[str, ...]

    def to_dataframe(self) -> pd.DataFrame:
        """Return the scores and their differences: a row per subset, one per task, one per family.

        Columns: family, task (missing in a family's row), subset (missing in a task's and a family's row), first and
        second (scores, in points), difference (first minus second, in points), low and high (its paired 95 %
        interval), significant (whether that excludes zero).
        """
        from pandas import DataFrame

        gaps = self.gaps
        found: list[tuple[str, str | None, str | None, Gap]] = []
        for task, family in self.task_families.items():
            found += [(family, task, subset, gap) for subset, gap in gaps.subsets[task].items()]
            found.append((family, task, None, gaps.tasks[task]))
        found += [(family, None, None, gap) for family, gap in gaps.families.items()]
        lines = [(*place, gap.first, gap.second, *_interval(gap)) for *place, gap in found]
        frame = DataFrame(lines, columns=list(COLUMNS))
        return frame.astype(COLUMNS)

    def __repr__(self) -> str:
        """Return the names of the two runs."""
        return f"<xlbench.Comparison: {self.first.name}, {self.second.name}>"

    def _repr_html_(self) -> str:
        """Return the two runs and their table, for a notebook."""
        from html import escape

        sides = (("first", self.first), ("second", self.second))
        heads = [f"{place}: {escape(side.name)} ({escape(side.description)})" for place, side in sides]
        frame = self.to_dataframe()
        frame["subset"] = frame["subset"].fillna("mean")
        table = frame.to_html(index=False, na_rep="", border=0, float_format="{:.2f}".format)
        said = f"first minus second, in points; low, high: its paired 95 % interval, {self.resamples:,} draws"
        return f"<p>{'<br>'.join(heads)}</p>\n{table}\n<p>{said}</p>"


def compare(first: str, second: str, registry: Registry, settings: Settings, *, examples: int = 5) -> Comparison:
    """Compare two runs of the store on the same resamples of their items.

    Args:
        first: A run, in any form that :func:`xlbench.records.stored.find_run` accepts.
        second: Likewise.
        registry: What plugins registered; it contains the suite, for the sentences of examples.
        settings: Paths and switches.
        examples: How many disagreements to return for each task.

    Raises:
        XlbenchError: A run is not found, its items are gone, or the two were scored on different things.
    """
    restore([Path(name) for name in (first, second) if Path(name).is_file()], registry, settings)
    runs = [find_run(name, settings) for name in (first, second)]
    one, two = (run.record for run in runs)
    if difference := differing_scores(one, two):
        raise XlbenchError(f"'{first}' and '{second}' cannot be compared: {difference}.", "Score both on one suite.")
    one_items, two_items = (items_of(run, settings) for run in runs)
    families = {task: scores.family for task, scores in one.scores.tasks.items()}
    gaps = find_gaps(one_items, two_items, families, resamples=RESAMPLES, quiet=settings.quiet)
    notes = [
        f"All sentences look alike to {name}: its scores mean nothing."
        for name, record in (("A", one), ("B", two))
        if record.scores.collapsed
    ]
    notes += [note for name, record in (("A", one), ("B", two)) for note in _undefined(name, record)]
    chosen: list[Example] = []
    for task, family in families.items():
        found = _chosen(task, family, one_items, two_items, examples)
        if found:
            with plugin_errors(registry.files):
                columns, note = _sentences(task, one, two, registry, settings)
            notes += [note] if note else []
            chosen += [_example(task, family, subset, it, columns.get(subset), one_items) for subset, it in found]
    return Comparison(
        first=_side(runs[0]),
        second=_side(runs[1]),
        suite=one.scores.suite,
        example=one.scores.example,
        resamples=RESAMPLES,
        task_families=families,
        gaps=gaps,
        examples=tuple(chosen),
        notes=tuple(notes),
    )


def _side(run: StoredRecord) -> Side:
    return Side(name=run.record.name, fingerprint=run.key, description=describe(run.record))


def _undefined(name: str, record: Record) -> list[str]:
    """Return a note for each score of a run that is undefined, with the reason."""
    return [
        f"{task} {subset} is undefined for {name}: {reason}. Means are over the subsets where both are defined."
        for task, scores in record.scores.tasks.items()
        for subset, reason in scores.undefined().items()
    ]


def _interval(gap: Gap) -> tuple[float | None, float | None, float | None, bool]:
    """Return a difference, the ends of its interval, and whether that excludes zero; an undefined one is None."""
    apart = gap.difference
    if apart is None:
        return None, None, None, False
    return apart.value, apart.low, apart.high, not apart.holds_zero()


def _chosen(task: str, family: Family, first: Items, second: Items, count: int) -> list[tuple[str, Disagreement]]:
    """Return the largest disagreements of a task; equal ones alternate between the subsets."""
    found = [
        (-it.apart, turn, number, subset, it)
        for number, subset in enumerate(subset for of, subset in first if of == task)
        for turn, it in enumerate(disagreements(measure_of(family), first[task, subset], second[task, subset])[:count])
    ]
    return [(subset, it) for *_, subset, it in sorted(found)[:count]]


def _sentences(
    task: str, one: Record, two: Record, registry: Registry, settings: Settings
) -> tuple[dict[str, Columns], str | None]:
    """Return the sentences of a task by subset; without them, the reason."""
    hidden = f"The sentences of {task} are not shown: "
    ref = _task_ref(task, one, two, registry)
    if ref is None:
        return {}, f"{hidden}no plugin provides suite '{one.scores.suite}'."
    from xlbench.scoring.tasks import load_task, read_data

    try:
        if data_identity(ref, settings) != one.scores.tasks[task].data:
            return {}, f"{hidden}its data is not what the runs were scored on."
        return {it.subset: it for it in read_data(load_task(ref, settings), ref, settings)}, None
    except XlbenchError as error:
        return {}, hidden + error.problem


def _task_ref(task: str, one: Record, two: Record, registry: Registry) -> TaskRef | None:
    suites: list[Suite] = [record.experiment.suite for record in (one, two) if record.experiment]
    if not suites:
        with suppress(XlbenchError):  # no plugin provides it, or this version of MTEB does not
            suites.append(find_suite(one.scores.suite, registry.suites))
    return next((ref for suite in suites for ref in suite.tasks if ref.name == task), None)


def _example(
    task: str, family: Family, subset: str, found: Disagreement, columns: Columns | None, items: Items
) -> Example:
    wrong = found.first if found.first != found.gold else found.second
    return Example(
        task=task,
        family=family,
        subset=subset,
        row=found.row,
        items=len(items[task, subset].item),
        gold=found.gold,
        first=found.first,
        second=found.second,
        texts=(
            columns.first[found.row],
            columns.second[int(found.gold) if measure_of(family) == "bitext" else found.row],
        )
        if columns
        else None,
        taken=columns.second[int(wrong)] if columns and measure_of(family) == "bitext" else None,
    )
