"""What was measured, on a model card: scores with intervals, contamination, size and speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.records.rows import rows_of
from xlbench.report.formats import FAMILY_NAMES, MEGA, escaped, layers, points
from xlbench.report.frame import Value, records_of, task_frame, tidy_frame
from xlbench.report.notes import EXAMPLE_NOTE, contamination

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xlbench.comparison.statistics import Interval, Statistics
    from xlbench.records.record import Record

LONG = 1000  # characters of a sentence of the card
MEAN = "mean"  # over the tasks of a family, or the subsets of a task


def scores_section(record: Record, statistics: Statistics | None, *, exported: bool) -> str:
    """Return the scores of each family, task and language, with intervals where they are known."""
    measured = statistics.rows.get(rows_of([record])[0].name) if statistics else None
    lines = [_line(it, task=False) for it in records_of(tidy_frame([record], statistics))]
    means = [_line(it, task=True) for it in records_of(task_frame([record], statistics))]
    families: list[dict[str, str]] = [
        _row(FAMILY_NAMES[family], MEAN, "", "", mean, *_ends(measured.families.get(family) if measured else None))
        for family, mean in record.scores.families.items()
    ]
    notes = [
        f"Suite `{record.scores.suite}`, MTEB {record.scores.mteb_version}, computed in {record.scores.precision}; "
        "scores × 100. Metrics: "
        + ", ".join(f"{escaped(task)} {scores.metric}" for task, scores in record.scores.tasks.items())
        + "."
    ]
    if statistics:
        notes.append(f"The interval is of 95 %, from {statistics.resamples:,} resamples of the test items.")
    else:
        notes.append("Intervals are missing: the scores of single items were not there when this card was written.")
    if exported:
        notes.append("They are of the student that was exported, as its run left it.")
    if record.scores.example:
        notes.append(EXAMPLE_NOTE)
    if record.scores.collapsed:
        notes.append("**All sentences look alike to it: its scores mean nothing.**")
    return f"{_markdown([*families, *means, *lines])}\n\n{' '.join(notes)}"


def contamination_section(record: Record) -> str:
    """Return what training and test data share, and what was done about it."""
    found = [f"- {escaped(line, LONG)}" for line in contamination([record])]
    found += [
        "- A domain that corpus and test sets share is not removed: where they do, scores are higher than on texts of "
        "another kind. The corpora's own notes above say what is known of it."
    ]
    return "\n".join(found)


def size_section(record: Record, *, exported: bool) -> str:
    """Return size, speed and the machine that it was measured on."""
    size, speed = record.footprint, record.speed
    rows = {
        "Parameters": f"{size.parameters:,}",
        "of these in the embedding layer": _count(size.embedding_parameters),
        "Layers": layers(size.stored_layers, size.executed_layers),
        "Tokens in the vocabulary": _count(size.vocabulary),
        "Numbers of a vector": str(size.dimension),
        "Weights": "" if size.weight_bytes is None else f"{size.weight_bytes / MEGA:.1f} MB",
        "All files": "" if size.directory_bytes is None else f"{size.directory_bytes / MEGA:.1f} MB",
    }
    text = _table(("Size", ""), [(name, value) for name, value in rows.items() if value])
    if exported:
        text = f"Of the student that was exported:\n\n{text}"
    if speed is None:
        return f"{text}\n\nIts speed was not measured."
    machine = speed.machine
    pace = speed.model
    measured = {
        "Sentences per second, all in one call": f"{pace.throughput.median:,.0f}",
        "that is, of the assistant's": f"{speed.throughput_ratio.median:.2f} ×",
        "Milliseconds for one sentence alone": f"{pace.latency.median:.1f}",
    }
    where = (
        f"{escaped(machine.cpu)}, {machine.cores} cores, {machine.threads} threads, {machine.memory_gib:.1f} GiB, "
        f"{escaped(machine.device)}, {speed.runtime}, {speed.precision}"
    )
    return f"{text}\n\n{_table((f'Speed on {where}', ''), list(measured.items()))}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (interval.low, interval.high) if interval else (None, None)


def _line(line: dict[str, Value], *, task: bool) -> dict[str, str]:
    """Return a line of a frame as cells; a subset whose score is undefined says why."""
    score, low, high = (it if isinstance(it := line[name], float) else None for name in ("score", "low", "high"))
    if task:
        return _row(str(line["task"]), MEAN, "", "", score, low, high)
    cells = _row(str(line["task"]), str(line["subset"]), str(line["languages"]), f"{line['items']:,}", score, low, high)
    return cells | {"Score": f"undefined: {escaped(str(line['undefined']))}"} if line["undefined"] else cells


def _row(
    task: str, subset: str, languages: str, items: str, score: float | None, low: float | None, high: float | None
) -> dict[str, str]:
    return {
        "Task": escaped(task),
        "Subset": escaped(subset),
        "Languages": escaped(languages),
        "Items": items,
        "Score": "" if score is None else points(score),
        "95 % interval": "" if low is None or high is None else f"{points(low)} to {points(high)}",
    }


def _markdown(rows: list[dict[str, str]]) -> str:
    from pandas import DataFrame

    align = ("left", "left", "left", "right", "right", "right")
    return DataFrame(rows).to_markdown(index=False, tablefmt="github", disable_numparse=True, colalign=align)


def _table(header: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    from tabulate import tabulate

    return str(tabulate(list(rows), header, tablefmt="github", disable_numparse=True, colalign=("left", "right")))
