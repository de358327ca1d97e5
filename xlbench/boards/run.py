"""Running a board: what is missing is trained and scored, then all is compared and written beside its TOML file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from xlbench.boards.accounting import account
from xlbench.boards.board import RunEntry
from xlbench.boards.folder import folder_path, named_records, record_paths, write_folder, write_pages
from xlbench.boards.mteb_rows import check_mteb_rows, write_mteb_rows
from xlbench.encoders.find import find_encoder
from xlbench.errors import XlbenchError, nearest
from xlbench.exports.formats import check_format
from xlbench.plugins.guard import plugin_errors
from xlbench.records.predictions import Predicted, predictions_of, write_predictions
from xlbench.records.published import check_published
from xlbench.records.record import record_digest
from xlbench.records.stored import items_of
from xlbench.runs.export import run_export
from xlbench.runs.graph import Exporting, Scoring, graph_of, stored_in
from xlbench.runs.job import make_jobs
from xlbench.runs.prefill import prefill
from xlbench.runs.request import Conditions, Request, Treatment
from xlbench.runs.restore import restore
from xlbench.runs.results import statistics_of
from xlbench.runs.run import run_encoder, run_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from xlbench.boards.board import Board, BoardFile
    from xlbench.experiment import EncoderRef
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Failure
    from xlbench.records.stored import StoredRecord
    from xlbench.runs.graph import Graph, Has
    from xlbench.runs.job import Job
    from xlbench.runs.prefill import Chosen
    from xlbench.runs.run import Diverged
    from xlbench.settings import Settings

# Of one encoder in two roles, the role that says more.
PARTS = ("aligned", "assistant", "teacher", "encoder", "student")


class BoardRun(NamedTuple):
    """A ``[[run]]``, looked up: its row's name, and a job per seed."""

    name: str
    jobs: tuple[Job, ...]


class BoardExport(NamedTuple):
    """An ``[[export]]``, looked up: its row's name, the run whose students are exported, and the format."""

    name: str
    run: BoardRun
    to: str
    force: bool


class ScoredEncoder(NamedTuple):
    """An ``[[encoder]]``, looked up."""

    name: str
    encoder: EncoderRef


class Found(NamedTuple):
    """What a board names, looked up; encoders that are only scored are scored beside the experiment."""

    runs: tuple[BoardRun, ...]
    exports: tuple[BoardExport, ...]
    encoders: tuple[ScoredEncoder, ...]
    beside: Job


def run_board(
    board: BoardFile,
    registry: Registry,
    settings: Settings,
    say: Callable[[str], None] = lambda _: None,
    *,
    reproduce: bool = False,
    engine: Chosen | None = None,
) -> list[Path]:
    """Run a board, write its records, predictions, statistics and failures, and render its pages.

    Args:
        board: The board.
        registry: What plugins provide.
        settings: Paths and switches.
        say: Called with what is trained, what comes from the store or with the board, and what sharing saved.
        reproduce: Run every row that is not in the store here, also those that came with the board.
        engine: What makes what is missing; None: this process.

    Returns:
        The pages.

    Raises:
        XlbenchError: Anything that the user can fix; as much of it as possible before any training.
    """
    with plugin_errors(registry.files):
        return _run_board(board, registry, settings, say, reproduce=reproduce, engine=engine)


def _run_board(
    board: BoardFile,
    registry: Registry,
    settings: Settings,
    say: Callable[[str], None],
    *,
    reproduce: bool,
    engine: Chosen | None,
) -> list[Path]:
    found = look_up_board(board, registry, settings)
    runs, exports, encoders, beside = found
    if not reproduce:
        restore(record_paths(board), registry, settings, say)
    tried: Diverged = {}
    if engine is not None:
        suites = beside.experiment.kept_out
        tried = prefill(missing_of(found, settings), engine, suites, registry, settings, say)
    made: list[StoredRecord] = []
    failures: list[Failure] = []
    for run in runs:
        results = run_jobs(run.jobs, registry, settings, say, tried)
        made += [_called(row, run.name) if row.record.role == "student" else row for row in results.stored]
        failures += [failure.model_copy(update={"row": run.name}) for failure in results.failures]
    diverged = {(failure.row, failure.seed) for failure in failures}
    ended = {run.name: [it for it in run.jobs if (run.name, it.experiment.seed) not in diverged] for run in runs}
    for export in exports:
        for job in ended[export.run.name]:
            made.append(run_export(job, export.to, export.name, registry, settings, say, force=export.force))
    for name, encoder in encoders:
        made.append(_called(run_encoder(encoder, beside.experiment, registry, settings, say), name))
    made = _distinct(made)
    if not made:
        raise XlbenchError(
            f"Every run of board '{board.name}' failed: {failures[0].message}", "Lower its learning rate."
        )
    say("computing intervals")
    named = named_records([row.record for row in made])
    made_of = {id(it.record): it for it in made}
    items = {key: items_of(it, settings) for key, it in made_of.items()}
    statistics = statistics_of(list(named.values()), items, quiet=settings.quiet)
    write_folder(board, list(named.values()), statistics, failures)
    write_mteb_rows(board, made[0].record.scores.tasks)
    predicted = {
        name.removesuffix(".json"): Predicted(
            made_of[id(record)].key, predictions_of(items[id(record)]), record_digest(record)
        )
        for name, record in named.items()
    }
    write_predictions(folder_path(board), predicted)
    if jobs := [job for of in ended.values() for job in of]:
        say(str(account(jobs, settings.home)))
    return write_pages(board)


def missing_of(found: Found, settings: Settings) -> Graph:
    """Return what of a board is not in the store."""
    return board_graph(found, stored_in(settings))


def board_graph(found: Found, has: Has) -> Graph:
    """Return what of a board is not there; ``has`` tells what is."""
    return graph_of(
        [job for run in found.runs for job in run.jobs],
        has,
        exports=[Exporting(job, it.to, it.name, it.force) for it in found.exports for job in it.run.jobs],
        encoders=[Scoring(it.encoder, found.beside) for it in found.encoders],
    )


def look_up_board(board: BoardFile, registry: Registry, settings: Settings) -> Found:
    """Find everything that a board names, so that an error comes before hours of training.

    Raises:
        XlbenchError: A name is unknown, data is missing, or the board contradicts itself.
    """
    found = [make_jobs(_request(board.board, entry), registry, settings) for entry in board.board.run]
    students = [jobs[0].student or jobs[0].name for jobs in found]
    runs = []
    for entry, jobs in zip(board.board.run, found, strict=True):
        student = jobs[0].student or jobs[0].name
        short = student if students.count(student) == 1 else jobs[0].name
        runs.append(BoardRun(entry.name or short, jobs))
    encoders = []
    for scored in board.board.encoder:
        encoder = find_encoder(scored.model, registry.encoders, settings)
        encoders.append(ScoredEncoder(scored.name or encoder.title, encoder))
    exports = _look_up_exports(board, runs)
    names = [run.name for run in runs] + [it.name for it in exports] + [it.name for it in encoders]
    others = [*(it.model for it in board.board.published), *(it.name or it.model for it in board.board.mteb)]
    for name in (*names, *others):
        if (*names, *others).count(name) > 1:
            raise XlbenchError(
                f"'{board.path}': two rows are called '{name}'.", 'Give one of them another name: name = "...".'
            )
    _check_findings(board, names, runs)
    beside = (runs[0].jobs if runs else make_jobs(_request(board.board, RunEntry()), registry, settings))[0]
    tasks = [task.name for task in beside.experiment.suite.tasks]
    for published in board.board.published:
        check_published(published.model, tasks)
    check_mteb_rows(board, tasks)
    return Found(tuple(runs), exports, tuple(encoders), beside)


def _look_up_exports(board: BoardFile, runs: Sequence[BoardRun]) -> tuple[BoardExport, ...]:
    """Find the runs that a board's exports name, and refuse formats that are unknown or lack a package."""
    named = {run.name: run for run in runs}
    exports = []
    for number, entry in enumerate(board.board.export, start=1):
        if entry.run not in named:
            problem = f"'{board.path}', [[export]] {number}: 'run' names '{entry.run}', which is no [[run]]."
            raise XlbenchError(problem, nearest(entry.run, named))
        check_format(entry.to)
        name = entry.name or f"{entry.run}, {entry.to}"
        exports.append(BoardExport(name, named[entry.run], entry.to, entry.force))
    return tuple(exports)


def _check_findings(board: BoardFile, names: Sequence[str], runs: Sequence[BoardRun]) -> None:
    """Refuse a finding about a row that the board will not have."""
    known = {*names, *(row.name for run in runs for row in run.jobs[0].rows if row.role != "student")}
    for finding in board.board.finding:
        for name in (finding.row, finding.beside):
            if name not in known:
                problem = f"'{board.path}': the finding '{finding.part}' names '{name}', which is no row."
                raise XlbenchError(problem, nearest(name, known))


def _request(board: Board, entry: RunEntry) -> Request:
    shared = board.model_dump(include=set(Conditions.model_fields))
    own = entry.model_dump(include=set(Treatment.model_fields))
    return Request.model_validate({**shared, **own, "seeds": entry.seeds or board.seeds})


def _called(made: StoredRecord, name: str) -> StoredRecord:
    return made._replace(record=made.record.model_copy(update={"name": name}))


def _distinct(made: Sequence[StoredRecord]) -> list[StoredRecord]:
    """Return every student and, of the other rows, each encoder once.

    The first aligned assistant is what all rows are measured against. Another one that is a student too, since some
    method leaves it as it is, is shown as that student alone.
    """
    students = {row.record.encoder_key for row in made if row.record.role == "student"}
    given: dict[str, StoredRecord] = {}
    for row in made:
        record = row.record
        known = given.get(record.encoder_key)
        if record.role != "student" and (known is None or PARTS.index(record.role) < PARTS.index(known.record.role)):
            given[record.encoder_key] = row
    aligned = [source for source, row in given.items() if row.record.role == "aligned"]
    for source in students.intersection(aligned[1:]):
        del given[source]
    return [*given.values(), *(row for row in made if row.record.role == "student")]
