"""The legend of a table, as plain text: how to read it, what it rests on, and which runs failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.encoders.unknown import METADATA, unknown_text
from xlbench.records.rows import collapsed_seeds, has_collapsed, repeated_seeds, seeds, undefined_scores
from xlbench.report.columns import UNDEFINED
from xlbench.report.formats import FAMILY_NAMES, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xlbench.records.record import Record
    from xlbench.report.columns import Table
    from xlbench.report.figures import Figures

EXAMPLE_NOTE = "This is a worked example on the starter kit's small data, not a benchmark."
LONG = 300  # characters of a text from outside


def reading(figures: Figures, table: Table) -> list[str]:
    """Return how to read a table: who the rows are that were not distilled, and what each column says."""
    lines = _roles(figures)
    if figures.statistics is None:
        lines.append(
            "No ranks and no intervals: a board has them. Differences of a point or two on few items are noise."
        )
    return lines + _legend(table)


def _roles(figures: Figures) -> list[str]:
    about = {
        "teacher": _taught(figures),
        "assistant": "the assistant as given, the multilingual encoder that students are cut from",
        "aligned": "the assistant, trained so that a translation's embedding meets that of its English side",
    }
    lines = []
    for row in figures.rows:
        if row.role in about:
            centred = row.name.endswith("mean-centred")
            how = "; the mean embedding of English training sentences is subtracted from each" if centred else ""
            lines.append(f"'{plain(row.name)}': {about[row.role]}{how}.")
    return lines


def _taught(figures: Figures) -> str:
    """Return what the shown teacher is: the one of all students, or the first of those whose vectors are blended."""
    trained = [run.experiment for row in figures.rows for run in row.runs if run.experiment]
    blends = {
        ", ".join(
            f"{plain(teacher.title)} {weight}"
            for teacher, weight in zip(experiment.teachers, str(weights).split(","), strict=False)
        )
        for experiment in trained
        if (weights := experiment.options.get("blend")) is not None
    }
    if not blends:
        return "the teacher, whose English embeddings are the target of training"
    return f"the first teacher; the target of training is a blend of English embeddings: {'; or '.join(sorted(blends))}"


def _legend(table: Table) -> list[str]:
    """Return what the columns say, as sentences, each once."""
    lines = []
    for column in table.columns:
        lines += [f"{column.label or column.title}: {column.about}"] if column.about else []
        lines += column.notes
    return list(dict.fromkeys(lines))


def basis(figures: Figures) -> list[str]:
    """Return what the scores depend on: tasks, training data, its overlap with the tasks, published citations."""
    scores = figures.scores
    versions = sorted({run.scores.mteb_version for row in figures.rows for run in row.runs})
    tasks = "; ".join(
        f"{name} ({task.metric.replace('_', ' ')}, mean of {len(task.subsets)} subsets)"
        for name, task in scores.tasks.items()
    )
    lines = [f"Suite {scores.suite}: {tasks}; scores × 100, mteb {', '.join(versions)}."]
    trained = [run for row in figures.rows for run in row.runs if run.experiment]
    budgets = dict.fromkeys(run.experiment.budget for run in trained if run.experiment)
    lines += [
        f"Budget {plain(budget.name)}: {budget.assistant_pairs:,} pairs seen by the assistant's alignment,"
        f" {budget.student_pairs:,} by the student."
        for budget in budgets
    ]
    used = sorted({seed for row in figures.rows for seed in seeds(row)})
    if used:
        lines.append(f"Seed{'s' if len(used) > 1 else ''}: {', '.join(map(str, used))}.")
    lines += contamination([run for row in figures.rows for run in row.runs])
    citations = dict.fromkeys((row.citation, row.commit) for row in figures.published)
    lines += [
        f"Published rows: measured by others, from {plain(citation, LONG)} at {plain(commit)}; not ranked, no"
        " intervals, and in a family's column only where the subsets are the same."
        for citation, commit in citations
    ]
    return lines


def contamination(records: Sequence[Record]) -> list[str]:
    """Return the overlap of training and test data: what the corpora declare and what was found."""
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


def one_run(name: str, repeated: Sequence[int]) -> str:
    """Return the note on seeds that changed nothing."""
    which = f"seed{'s' if len(repeated) > 1 else ''} {', '.join(map(str, repeated))}"
    return f"{plain(name)}: {which} gave the same encoder again, since nothing in it is drawn at random; one run."


def unknown_note(name: str, shares: Mapping[str, float], where: str) -> str:
    """Return the note on an encoder whose tokenizer does not know a language."""
    return f"{plain(name)}: its tokenizer does not know {plain(unknown_text(shares), LONG)} of the tokens of {where}."


def run_warnings(figures: Figures) -> list[str]:
    """Return which runs collapsed, diverged or were the same again, which scores are undefined, and unknown tokens."""
    lines = _undefined(figures)
    for row in figures.rows:
        if repeated := repeated_seeds(row):
            lines.append(one_run(row.name, repeated))
        if shares := row.record.scores.unknown:
            lines.append(unknown_note(row.name, shares, f"suite {row.record.scores.suite}"))
        for stage in row.record.stages[-1:]:
            if isinstance(found := stage.metadata.get(METADATA), dict):
                known = {language: float(str(share)) for language, share in found.items()}
                lines.append(unknown_note(row.name, known, "the training data"))
        fallen = collapsed_seeds(row)
        if has_collapsed(row):
            lines.append(f"† {plain(row.name)}: all sentences look alike to it; its scores mean nothing.")
        elif fallen:
            which = f"seed{'s' if len(fallen) > 1 else ''} {', '.join(map(str, fallen))}"
            lines.append(f"† {plain(row.name)}: {which} collapsed (all sentences look alike); left out of its scores.")
    lines += [
        f"‡ {plain(failure.row)}, seed {failure.seed}: {plain(failure.message, LONG)}" for failure in figures.failures
    ]
    return lines


def _undefined(figures: Figures) -> list[str]:
    """Return which scores of a row are undefined, why, and over how many subsets its mean is."""
    lines = []
    for row in figures.rows:
        for family in figures.families:
            places = undefined_scores(row, family)
            if not places:
                continue
            tasks = [task for task in figures.scores.tasks.values() if task.family == family]
            total = sum(len(task.subsets) for task in tasks)
            named = "; ".join(f"{plain(task)} {plain(subset)} ({why})" for (task, subset), why in places.items())
            mean = f"its {FAMILY_NAMES[family]} is the mean of {total - len(places)} of {total} subsets"
            if len(places) == total:
                mean = f"it has no {FAMILY_NAMES[family]} score"
            lines.append(f"{UNDEFINED} {plain(row.name)}: undefined: {named}; {mean}.")
    return lines
