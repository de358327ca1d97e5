"""What a reader of a table must be told: how to read it, on what it rests, and what went wrong. Plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.records.rows import collapsed_seeds, has_collapsed, latency, seeds
from xlbench.report.formats import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.records.record import Record
    from xlbench.report.figures import Figures

EXAMPLE_NOTE = "This is a worked example on the starter kit's small data, not a benchmark."
LONG = 300  # characters of a note that others wrote


def reading(table: Figures) -> list[str]:
    """Return how to read the columns."""
    lines = []
    if (found := table.statistics) is not None:
        lines += [
            "Rank: 1 + how many rows are significantly better (paired 95 % interval of the difference above zero);"
            " rows that share a letter cannot be told apart.",
            f"±: half of the 95 % interval over test items ({found.resamples:,} bootstrap resamples of"
            f" {found.items:,} items).",
        ]
    else:
        lines.append(
            "No ranks and no intervals: a board has them. Differences of a point or two on few items are noise."
        )
    if any(quality.deviation is not None for line in table.lines for quality in line.qualities.values()):
        lines.append("sd: standard deviation over seeds of one method's score, apart from the doubt over items.")
    if table.base is not None:
        interval = ", their paired 95 % interval," if found is not None else ""
        lines.append(f"Δ: points against '{plain(table.base.name)}'{interval} and per cent of its score.")
    lines.append(
        "Bold: on the frontier; no other row is at least as good, as small (parameters, bytes) and as fast (ms),"
        " and better in one of them."
    )
    lines.append("Params: stored, in millions; in brackets their share of the assistant's." if table.base else "")
    if any(record.experiment and record.experiment.student.bits < 32 for record in _records(table)):
        lines.append("8bit, 16bit: rounded to that many bits of each weight; MB are those of the files.")
    if any(line.languages for line in table.lines):
        lines.append("Languages: those that a trimmed vocabulary kept; empty: all of the assistant's.")
    if any(map(_looped, _records(table))):
        lines.append("Layers that run more than once save bytes, not time.")
    lines += _speed(table)
    if any(record.stages for record in _records(table)):
        lines.append("Train min: all stages of a run, whether made for it or taken from the store; mean over seeds.")
    return [line for line in lines if line]


def _speed(table: Figures) -> list[str]:
    speed = next((run.speed for line in table.lines for run in line.row.runs if run.speed), None)
    if speed is None:
        return []
    machines = {
        f"{run.speed.machine.cpu}, {run.speed.machine.cores} cores, {run.speed.machine.device}, {run.speed.precision}"
        for line in table.lines
        for run in line.row.runs
        if run.speed
    }
    where = "; ".join(sorted(plain(machine) for machine in machines))
    return [
        "Speed: sentences per second as a multiple of the given assistant's, both measured in turns in one process;"
        f" ms: for a sentence alone, median of {speed.repetitions} rounds. On {where}."
        + (" Not all on one machine: compare the multiples." if len(machines) > 1 else "")
    ]


def _records(table: Figures) -> list[Record]:
    return [line.row.record for line in table.lines]


def _looped(record: Record) -> bool:
    return record.footprint.stored_layers != record.footprint.executed_layers


def basis(table: Figures) -> list[str]:
    """Return on what the scores rest: tasks, training data and what of it touches the tasks, published citations."""
    scores = table.scores
    versions = sorted({run.scores.mteb_version for line in table.lines for run in line.row.runs})
    tasks = "; ".join(
        f"{name} ({task.metric.replace('_', ' ')}, mean of {len(task.subsets)} subsets)"
        for name, task in scores.tasks.items()
    )
    lines = [f"Suite {scores.suite}: {tasks}; scores × 100, mteb {', '.join(versions)}."]
    trained = [run for line in table.lines for run in line.row.runs if run.experiment]
    budgets = dict.fromkeys(run.experiment.budget for run in trained if run.experiment)
    lines += [
        f"Budget {plain(budget.name)}: {budget.assistant_pairs:,} pairs seen by the assistant's alignment,"
        f" {budget.student_pairs:,} by the student."
        for budget in budgets
    ]
    used = sorted({seed for line in table.lines for seed in seeds(line.row)})
    if used:
        lines.append(f"Seed{'s' if len(used) > 1 else ''}: {', '.join(map(str, used))}.")
    lines += contamination([run for line in table.lines for run in line.row.runs])
    citations = dict.fromkeys((row.citation, row.commit) for row in table.published)
    lines += [
        f"Published rows: measured by others, from {plain(citation, LONG)} at {plain(commit)}; not ranked, no"
        " intervals, and in a family's column only where the subsets are the same."
        for citation, commit in citations
    ]
    return lines


def contamination(records: Sequence[Record]) -> list[str]:
    """Return what training and test data have in common, as far as the corpora say and overlap was found."""
    facts = [record.corpus for record in records if record.corpus]
    lines = [
        f"Training data: {plain(note, LONG)}."
        for note in sorted({note for fact in facts for note in fact.notes if note})
    ]
    near: dict[str, float] = {}
    for fact in facts:
        near |= {task: max(share, near.get(task, 0.0)) for task, share in fact.near_duplicates.items()}
    if near:
        shares = ", ".join(f"{plain(task)} {100 * share:.1f} %" for task, share in near.items())
        lines.append(f"Test sentences that share four words in five or more with one of the training data: {shares}.")
    dropped = {
        corpus.reference: corpus for fact in facts for corpus in sorted(fact.corpora, key=lambda corpus: corpus.overlap)
    }
    more = sorted({suite.name for record in records if record.experiment for suite in record.experiment.keep_out})
    suites = f"the suite or of {plain(', '.join(more))}" if more else "the suite"
    clean = [name for name, corpus in dropped.items() if corpus.overlap == 0]
    counts = {plain(name): (corpus.overlap, corpus.read) for name, corpus in dropped.items() if corpus.overlap > 0}
    if clean:
        counts[", ".join(map(plain, clean))] = (0, sum(dropped[name].read for name in clean))
    lines += [
        f"Training pairs of {names} dropped because a side is also a sentence of {suites}: {overlap:,} of {read:,}."
        for names, (overlap, read) in counts.items()
    ]
    return lines


def run_warnings(table: Figures) -> list[str]:
    """Return which runs collapsed or could not end well."""
    lines = []
    for line in table.lines:
        row, fallen = line.row, collapsed_seeds(line.row)
        if has_collapsed(row):
            lines.append(f"† {plain(row.name)}: all sentences look alike to it; its scores mean nothing.")
        elif fallen:
            which = f"seed{'s' if len(fallen) > 1 else ''} {', '.join(map(str, fallen))}"
            lines.append(f"† {plain(row.name)}: {which} collapsed (all sentences look alike); left out of its scores.")
    lines += [
        f"‡ {plain(failure.row)}, seed {failure.seed}: {plain(failure.message, LONG)}" for failure in table.failures
    ]
    return lines


def has_latency(table: Figures) -> bool:
    """Return whether any row's latency was measured."""
    return any(latency(line.row) is not None for line in table.lines)
