"""Exporting a run: its student is found, and so are the sentences of its corpus."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.encoders.directories import directory_fingerprint, is_exported
from xlbench.errors import XlbenchError
from xlbench.exports.directory import verified_directory
from xlbench.exports.formats import check_format
from xlbench.exports.sentences import sample_sentences
from xlbench.records.record import read_record
from xlbench.records.stored import find_run
from xlbench.settings import refuse_existing

if TYPE_CHECKING:
    from collections.abc import Callable

    from xlbench.exports.exported import Exported
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Record
    from xlbench.settings import Settings


def export(
    reference: str,
    to: str,
    target: Path,
    registry: Registry,
    settings: Settings,
    *,
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Export the student of a run, or the encoder in a directory.

    Args:
        reference: A run, in any form that :func:`xlbench.records.stored.find_run` accepts, or the directory of an
            encoder.
        to: The format.
        target: The directory to make.
        registry: What plugins registered; it contains the readers of corpora.
        settings: Paths and switches.
        force: Keep an export that loses more than its format's bound.
        say: Told what is used instead of a corpus that is gone.

    Raises:
        XlbenchError: There is no such run or directory, its student is gone, or the export is refused.
    """
    path = Path(reference)
    _refuse_early(to, target)
    if path.is_dir():
        if is_exported(path):
            raise XlbenchError(f"'{reference}' is an export already.", "Give the encoder that it was made from.")
        directory_fingerprint(path, settings)  # refuses what is no model, and pickles
        return _export_directory(path, path.resolve().name, None, to, target, registry, settings, force=force, say=say)
    record = read_record(path) if path.is_file() else find_run(reference, settings).record
    return export_record(record, to, target, registry, settings, force=force, say=say)


def export_record(
    record: Record,
    to: str,
    target: Path,
    registry: Registry,
    settings: Settings,
    *,
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Export the student of a record, as :func:`export` does.

    Raises:
        XlbenchError: The record is of no student, its student is gone, or the export is refused.
    """
    _refuse_early(to, target)
    if record.experiment is None:
        raise XlbenchError(
            f"'{record.name}' was only scored, it is no student that xlbench trained.",
            "Give the directory of its encoder.",
        )
    path = verified_directory(record, settings)
    return _export_directory(path, record.name, record, to, target, registry, settings, force=force, say=say)


def _refuse_early(to: str, target: Path) -> None:
    """Refuse what needs no work to refuse: a target that exists, an unknown format, a missing package."""
    refuse_existing(target)
    check_format(to)


def _export_directory(
    path: Path,
    name: str,
    record: Record | None,
    to: str,
    target: Path,
    registry: Registry,
    settings: Settings,
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
        name,
        to,
        target,
        partial(sample_sentences, experiment, registry.corpora, settings, say),
        settings,
        source=path,
        force=force,
    )
