"""Exporting a run: its student is found, and so are the sentences of its corpus."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from xlbench.encoders.directories import directory_fingerprint
from xlbench.encoders.find import load_path
from xlbench.encoders.graph_runtimes import is_exported
from xlbench.errors import XlbenchError, look_up
from xlbench.exports.directory import require_student, verified_directory
from xlbench.exports.formats import FORMATS, RESULTS, check_format
from xlbench.exports.sentences import sample_sentences
from xlbench.fingerprint import fingerprint
from xlbench.records.record import read_record
from xlbench.records.stored import StoredRecord, find_run, saved_record, write_entry
from xlbench.runs.card import card_of_export
from xlbench.runs.job import make_row
from xlbench.runs.run import run_job, score_row
from xlbench.runs.session import Session, tested_keys
from xlbench.runs.status import runs
from xlbench.scoring.data import require_data
from xlbench.settings import refuse_existing
from xlbench.store import read_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from xlbench.experiment import Experiment
    from xlbench.exports.exported import Exported, ResultFiles
    from xlbench.exports.formats import Format
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Record
    from xlbench.runs.job import Job, JobRow
    from xlbench.settings import Settings

VERSION = 2  # of the exports that records are of; raise it when an export of the same student gives other vectors


def export(
    reference: str,
    to: str,
    target: Path,
    registry: Registry,
    settings: Settings,
    *,
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Exported | ResultFiles:
    """Export the student of a run, the encoder in a directory, or the scores of a run.

    Args:
        reference: A run, in any form that :func:`xlbench.records.stored.find_run` accepts, or the directory of an
            encoder.
        to: The format.
        target: The directory to make.
        registry: What plugins registered; it contains the readers of corpora.
        settings: Paths and switches.
        force: Keep an export that loses more than its format's bound.
        say: Told what is used instead of a corpus that is gone, and what result files lack.

    Raises:
        XlbenchError: There is no such run or directory, its student is gone, or the export is refused.
    """
    path = Path(reference)
    _refuse_early(to, target)
    if path.is_dir():
        if to == RESULTS:
            raise XlbenchError(
                f"'{reference}' is a directory, and '{to}' takes a run.",
                f"`xlbench score {reference} --suite SUITE` makes one; then give its name.",
            )
        if is_exported(path):
            raise XlbenchError(f"'{reference}' is an export already.", "Give the encoder that it was made from.")
        directory_fingerprint(path, settings)  # refuses what is no model, and pickles
        card = partial(card_of_export, path.resolve().name, None, "", registry, settings)
        return _export_directory(path, None, to, target, registry, settings, card, force=force, say=say)
    found = _read_file(path, settings) if path.is_file() else find_run(reference, settings)
    return export_record(found, to, target, registry, settings, force=force, say=say)


def _read_file(path: Path, settings: Settings) -> StoredRecord:
    """Return the record in a file, with its key where the store has it: the file alone has no scores of items.

    Raises:
        XlbenchError: The file holds no record.
    """
    record = read_record(path)
    with suppress(XlbenchError):
        return find_run(str(path), settings)
    return StoredRecord(record, "")


def export_record(
    stored: StoredRecord,
    to: str,
    target: Path,
    registry: Registry,
    settings: Settings,
    *,
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Exported | ResultFiles:
    """Export the student of a stored record, or its scores, as :func:`export` does.

    Raises:
        XlbenchError: The record is of no student, its student is gone, or the export is refused.
    """
    if to != RESULTS:
        return export_student(stored, to, target, registry, settings, force=force, say=say)
    from xlbench.exports.mteb_results import export_results

    results = export_results(stored.record, target)
    for line in results.notes:
        say(line)
    return results


def export_student(
    stored: StoredRecord,
    to: str,
    target: Path,
    registry: Registry,
    settings: Settings,
    *,
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Export the student of a stored record, as :func:`export` does.

    Raises:
        XlbenchError: The record is of no student, its student is gone, or the export is refused.
    """
    _refuse_early(to, target)
    record, key = stored
    require_student(record, "Give the directory of its encoder.")
    path = verified_directory(record, settings)
    card = partial(card_of_export, record.name, record, key, registry, settings)
    return _export_directory(path, record, to, target, registry, settings, card, force=force, say=say)


def run_export(
    job: Job,
    to: str,
    name: str,
    registry: Registry,
    settings: Settings,
    say: Callable[[str], None],
    *,
    force: bool = False,
) -> StoredRecord:
    """Export the student of a job and score the export as a row of its own; the files are deleted afterwards.

    Args:
        job: A job that was run; its student is made again where the store has lost it.
        to: The format.
        name: What the table calls the row.
        registry: What plugins registered.
        settings: Paths and switches.
        say: Called with what is exported and scored.
        force: Keep an export that loses more than its format's bound.

    Raises:
        XlbenchError: The method makes no student, the export is refused, or the suite's data is missing.
    """
    key = _export_key(job, to)
    row = export_row(job, to, name)
    if stored := saved_record(row.key, settings):
        return stored
    made = read_entry(settings.home, "stages", job.keys[job.plan.result])  # of a run of which all was said already
    tell = say if made is None else lambda _: None
    student = run_job(job, registry, settings, tell, with_student=True)[-1].record

    def make(directory: Path) -> Record:
        say(f"exporting {name}")
        with TemporaryDirectory(prefix="xlbench-") as place:
            unread = StoredRecord(student, "")  # no key: the card of files that are deleted needs no intervals
            exported = export_student(unread, to, Path(place) / "export", registry, settings, force=force, say=say)
            say(f"scoring {name}")
            return score_row(
                row,
                load_path(exported.directory, settings),
                session,
                directory,
                encoder_key=key,
                saved=exported.directory,
                stages=student.stages,
                corpus=student.corpus,
            )

    with runs(f"scoring {name}, seed {job.experiment.seed}", settings):
        session = Session(job.experiment, job.corpora, registry, settings, say)
        return write_entry(row.key, settings, make)


def export_row(job: Job, to: str, name: str) -> JobRow:
    """Return the row of an export; the arguments are those of :func:`run_export`."""
    return make_row(job.plan.result, "student", name, _export_key(job, to), job.experiment)


def _export_key(job: Job, to: str) -> str:
    return fingerprint({"export": f"{to}/{VERSION}", "encoder": job.keys[job.plan.result]})


def _refuse_early(to: str, target: Path) -> None:
    """Refuse what needs no work to refuse: a target that exists, an unknown format, a missing package."""
    refuse_existing(target)
    look_up("format", to, dict.fromkeys([*FORMATS, RESULTS]))
    if to != RESULTS:
        check_format(to)


def _export_directory(
    path: Path,
    record: Record | None,
    to: str,
    target: Path,
    registry: Registry,
    settings: Settings,
    card: Callable[[Exported, Format], str],
    *,
    force: bool,
    say: Callable[[str], None],
) -> Exported:
    """Export the encoder in a directory.

    Raises:
        XlbenchError: It cannot be loaded, or the export is refused.
    """
    from xlbench.exports.export import export_encoder
    from xlbench.runs.session import prepare_process
    from xlbench.students.load import load_student

    prepare_process(settings)
    experiment = None if record is None else record.experiment
    return export_encoder(
        partial(load_student, path),
        to,
        target,
        partial(
            sample_sentences, experiment, registry.corpora, settings, say, partial(_tested, experiment, settings, say)
        ),
        settings,
        card,
        source=path,
        force=force,
    )


def _tested(experiment: Experiment | None, settings: Settings, say: Callable[[str], None]) -> set[int]:
    """Return the keys of the sentences of an experiment's suites, on which nothing may be chosen."""
    if experiment is None:
        return set()
    try:
        require_data(experiment.kept_out, settings)
        return tested_keys(experiment.kept_out, settings)
    except XlbenchError as error:
        say(f"{error.problem} Test sentences may be among those of the corpus that the export is measured on.")
        return set()
