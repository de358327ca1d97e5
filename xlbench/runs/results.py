"""The results of a run: records, students, frames and tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, overload

from xlbench.disk import answered
from xlbench.distill.stage_entry import KIND, MODEL
from xlbench.errors import XlbenchError
from xlbench.exports.directory import (
    place_to_save,
    refuse_other,
    save_student_copy,
    student_directory,
    verified_directory,
)
from xlbench.launch import launched
from xlbench.plugins.guard import plugin_errors
from xlbench.records.rows import rows_of, valid_runs
from xlbench.records.stored import StoredRecord, items_of
from xlbench.runs.graph import graph_of, stored_in
from xlbench.runs.job import make_jobs
from xlbench.runs.prefill import prefill
from xlbench.runs.run import Outcome, run_job, run_jobs
from xlbench.settings import new_path
from xlbench.store import entry_path
from xlbench.validation import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from sentence_transformers import SentenceTransformer

    from xlbench.comparison.statistics import Statistics
    from xlbench.exports.exported import Exported, ResultFiles
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Failure, Record
    from xlbench.records.rows import Row
    from xlbench.runs.prefill import Chosen
    from xlbench.runs.request import Request
    from xlbench.runs.run import Diverged
    from xlbench.scoring.items import Items
    from xlbench.settings import Settings


@dataclass(frozen=True)
class Student:
    """A student that a run trained: its record, and the encoder in the store.

    Attributes:
        record: Scores, size, speed, cost and provenance.
        key: Fingerprint of the record in the store; ``compare`` accepts its first digits as a name.
    """

    record: Record
    key: str
    settings: Settings

    def __repr__(self) -> str:
        """Return name and key; the record is a page."""
        return f"<xlbench.Student: {self.name}, {self.key[:8]}>"

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.record.name

    @property
    def path(self) -> Path:
        """The SentenceTransformer directory in the store; use :meth:`save` for one of your own."""
        return student_directory(self.record, self.settings)

    @cached_property
    def model(self) -> SentenceTransformer:
        """The student as a SentenceTransformer on the CPU, loaded once.

        Raises:
            XlbenchError: The student is no longer in the store, or is damaged.
        """
        from xlbench.students.load import load_student

        return load_student(verified_directory(self.record, self.settings))

    def save(self, directory: str | Path) -> Path:
        """Copy the student out of the store into a new directory, with a model card, whole or not at all.

        A directory that holds this very student already is left as it is.

        Returns:
            The directory.

        Raises:
            XlbenchError: Something else is there, the student is no longer in the store, or the disk is full.
        """
        target = place_to_save(directory, "directory")
        with answered():
            save_student_copy(self.record, target, self.settings, self._card)
        return target

    @overload
    def export(
        self, to: Literal["stock", "onnx", "onnx-int8", "openvino-int8"], directory: str | Path, *, force: bool = False
    ) -> Exported: ...

    @overload
    def export(self, to: Literal["mteb-results"], directory: str | Path, *, force: bool = False) -> ResultFiles: ...

    @overload
    def export(self, to: str, directory: str | Path, *, force: bool = False) -> Exported | ResultFiles: ...

    def export(self, to: str, directory: str | Path, *, force: bool = False) -> Exported | ResultFiles:
        """Export the student, or its scores, into a new directory; see :func:`xlbench.export`.

        Raises:
            XlbenchError: As :func:`xlbench.export` says.
        """
        from xlbench.plugins.registry import load_registry
        from xlbench.runs.export import export_record

        target = new_path(directory, "directory")
        with answered():
            stored = StoredRecord(self.record, self.key)
            return export_record(stored, to, target, load_registry(), self.settings, force=force)

    def _card(self, directory: Path) -> str:
        """Return the model card of a copy of this student."""
        from xlbench.plugins.registry import load_registry
        from xlbench.runs.card import card_of_saved

        return card_of_saved(directory, self.record, self.key, load_registry(), self.settings)


@dataclass(frozen=True)
class Results:
    """What a run, or the scoring of an encoder, gave.

    Attributes:
        stored: The records with their keys: teacher, assistant and aligned assistant, then a student per seed.
        failures: Seeds whose training diverged or collapsed; nothing of them is kept.
    """

    stored: tuple[StoredRecord, ...]
    failures: tuple[Failure, ...]
    settings: Settings = field(repr=False)

    @property
    def records(self) -> list[Record]:
        """The records alone."""
        return [stored.record for stored in self.stored]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The records, those that differ in nothing but the seed taken together."""
        return rows_of(self.records)

    @property
    def students(self) -> list[Student]:
        """The students, by ascending seed."""
        return [Student(it.record, it.key, self.settings) for it in self.stored if it.record.role == "student"]

    @property
    def student(self) -> Student:
        """The student; of several seeds the first.

        Raises:
            XlbenchError: There is none: the method makes no student, or an encoder was only scored.
        """
        if not self.students:
            raise XlbenchError("These results hold no student.", "Run a method that makes one, e.g. multistage.")
        return self.students[0]

    @cached_property
    def statistics(self) -> Statistics:
        """Intervals and paired differences, from resamples of the test items; computed once, when asked for."""
        items = {id(it.record): items_of(it, self.settings) for it in self.stored}
        return statistics_of(self.records, items, quiet=self.settings.quiet)

    def to_dataframe(self) -> pd.DataFrame:
        """Return the scores, tidy: one row per encoder, seed, task and subset; scores × 100.

        The reference, *Data frames*, says what stands in which column.
        """
        from xlbench.report.frame import tidy_frame

        return tidy_frame(self.rows, self.statistics)

    def table(self) -> pd.DataFrame:
        """Return one row per encoder: ranks, families, drop, parameters, bytes, speed and cost.

        The reference, *Data frames*, says what stands in which column.
        """
        from xlbench.report.frame import board_frame

        return board_frame(self.rows, self.statistics, failures=self.failures)

    def markdown(self) -> str:
        """Return the table with its legend as markdown; with several seeds, what each of them gave as well."""
        from xlbench.report.figures import figures
        from xlbench.report.markdown import markdown, seed_table

        table = markdown(figures(self.rows, self.statistics, failures=self.failures))
        seeds = [student.record for student in self.students]
        return table if len(seeds) + len(self.failures) < 2 else f"{table}\n\n{seed_table(seeds, self.failures)}"

    def __str__(self) -> str:
        """Return the table as markdown."""
        return self.markdown()

    def __repr__(self) -> str:
        """Return the names of the rows."""
        return f"<xlbench.Results: {', '.join(row.name for row in self.rows)}>"

    def _repr_html_(self) -> str:
        """Return the table with its legend, for a notebook."""
        from xlbench.report.page import html_of

        return html_of(self.markdown())


Run: TypeAlias = "str | Path | Student | Results | StoredRecord"


def run_request(
    request: Request,
    registry: Registry,
    settings: Settings,
    say: Callable[[str], None] = lambda _: None,
    *,
    save: Path | None = None,
    engine: Chosen | None = None,
) -> Results:
    """Run an experiment, once per seed.

    Args:
        request: What to run, by names.
        registry: What plugins provide.
        settings: Paths and switches.
        say: Called with what is trained and what comes from the store.
        save: Where the student of a single seed is copied to. One that is damaged or gone from the store is trained
            again, though its record is there.
        engine: What makes what is missing; None: this process.

    Raises:
        XlbenchError: Anything that the user can fix; with a single seed also training that diverges or collapses.
    """
    with plugin_errors(registry.files):
        if launched() is None:
            return _run(request, registry, settings, say, save, engine)
        if engine is not None:
            raise XlbenchError(
                "An engine gives whole stages to processes of its own, and torchrun has started several for one stage.",
                "Leave out one of them.",
            )
        return _run_together(request, registry, settings, say, save)


def _run(
    request: Request,
    registry: Registry,
    settings: Settings,
    say: Callable[[str], None],
    save: Path | None,
    engine: Chosen | None = None,
) -> Results:
    jobs = make_jobs(request, registry, settings)
    if save is not None:  # anything else there is refused before the training
        refuse_other(save, entry_path(settings.home, KIND, jobs[0].keys[jobs[0].plan.result]) / MODEL)
    diverged: Diverged = {}
    if engine is not None:
        graph = graph_of(jobs, stored_in(settings), with_students=save is not None)
        diverged = prefill(graph, engine, jobs[0].experiment.kept_out, registry, settings, say)
    if len(jobs) > 1:
        outcome = run_jobs(jobs, registry, settings, say, diverged)
        return Results(tuple(outcome.stored), tuple(outcome.failures), settings)
    stored = run_job(jobs[0], registry, settings, say, with_student=save is not None, diverged=diverged)
    results = Results(tuple(stored), (), settings)
    if save is not None:
        results.student.save(save)
    return results


def _run_together(
    request: Request, registry: Registry, settings: Settings, say: Callable[[str], None], save: Path | None
) -> Results:
    """Run a request in one of several processes: the first one runs it, the others train with it."""
    from xlbench.distill.ranks import joined
    from xlbench.runs.shared import follow, result_of

    with joined(settings) as ranks:
        if ranks is not None and ranks.launch.rank:
            outcome = follow(ranks, make_jobs(request, registry, settings), registry, settings)
            return Results(tuple(outcome.stored), tuple(outcome.failures), settings)
        results = _run(request, registry, settings, say, save)
        if ranks is not None:
            ranks.end(result_of(Outcome(list(results.stored), list(results.failures))))
        return results


def statistics_of(records: Sequence[Record], items: Mapping[int, Items], *, quiet: bool) -> Statistics:
    """Return the statistics of the rows that records make.

    Args:
        records: At least one.
        items: The items of each record, by the record's ``id``.
        quiet: No progress bar.
    """
    from xlbench.comparison.compute import compute_statistics

    rows = rows_of(records)
    families = {task: scores.family for task, scores in rows[0].record.scores.tasks.items()}
    of_row = {row.name: [items[id(run)] for run in valid_runs(row)] for row in rows}
    return compute_statistics(of_row, families, quiet=quiet)


def run_key(run: Run, name: str) -> str:
    """Return what names a run in the store: the key of its record, or the name or path as it is given.

    Args:
        run: A run as a caller has it.
        name: Of the argument, for errors.

    Raises:
        XlbenchError: It is no run, or results that hold no single run to compare.
    """
    if isinstance(run, str | Path):
        if run == "":
            raise XlbenchError(f"Argument '{name}' cannot be '': it names no run.", _RUN)
        return str(run)
    if isinstance(run, Results):
        candidates = [it for it in run.stored if it.record.role == "student"] or list(run.stored)
        if len(candidates) != 1:
            raise XlbenchError(
                f"These results hold {len(candidates)} runs, and compare takes one on each side.",
                "Give one of results.students, or one of results.stored.",
            )
        return candidates[0].key
    if not isinstance(run, Student | StoredRecord):
        raise XlbenchError(f"Argument '{name}' cannot be {shown(run)}: it is no run.", _RUN)
    return run.key


_RUN = "Give a student, results of a run, the name of a run, or the row of a board as BOARD:ROW."
