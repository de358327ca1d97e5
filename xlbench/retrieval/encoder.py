"""Any encoder by any of its names: a registered one, a directory, an export, a run, or one of the hub."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xlbench.encoders.find import HUB_NAME, find_directory, find_encoder, load_encoder, load_path
from xlbench.encoders.graph_runtimes import is_exported
from xlbench.errors import XlbenchError
from xlbench.exports.directory import require_student, verified_directory
from xlbench.records.record import read_record
from xlbench.records.stored import RunNotFoundError, find_run
from xlbench.runs.session import prepare_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Precision
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings


@dataclass(frozen=True)
class FoundEncoder:
    """An encoder that was found and is not loaded yet.

    Attributes:
        load: Loads it, on the device of the settings and in evaluation mode.
        precision: What it computes in; 'float32' for an export, which has types of its own.
    """

    load: Callable[[], SentenceTransformer]
    precision: Precision


def locate(
    reference: str, precision: Precision | Literal["auto"], registry: Registry, settings: Settings
) -> FoundEncoder:
    """Find an encoder without loading it.

    Args:
        reference: In this order: a registered name; a directory of an encoder or of an export; a run, in any form that
            :func:`xlbench.records.stored.find_run` accepts; a model under the data root or on the hub.
        precision: What to compute in; 'auto': what the device is good at.
        registry: What plugins registered.
        settings: Paths and switches.

    Raises:
        XlbenchError: There is no such encoder, its files are gone or damaged, or the precision is not possible.
    """
    from xlbench.encoders.runtime import choose_device, choose_precision

    path = find_directory(reference, settings)
    run: Path | None = None
    if reference not in registry.encoders and path is None:
        run = _student(reference, settings)
    exported = reference not in registry.encoders and path is not None and is_exported(path)
    if exported and precision not in {"auto", "float32"}:
        raise XlbenchError(
            f"'{reference}' is an exported encoder: it computes in its own types, not in {precision}.",
            "Leave --precision out, or export it to another format.",
        )
    computed: Precision = "float32" if exported else choose_precision(choose_device(settings), precision)
    if run is not None:
        return FoundEncoder(partial(_load, partial(load_path, run, settings), settings), computed)
    encoder = find_encoder(reference, registry.encoders, settings)
    load = partial(load_encoder, encoder, registry.encoders, settings)
    return FoundEncoder(partial(_load, load, settings), computed)


def _load(load: Callable[[], SentenceTransformer], settings: Settings) -> SentenceTransformer:
    prepare_process(settings)
    return load()


def _student(reference: str, settings: Settings) -> Path | None:
    """Return the directory of a run's student; None for a name that no run has, nor nearly has.

    Raises:
        XlbenchError: There are several such runs; or the run's student is gone.
    """
    try:
        path = Path(reference)
        record = read_record(path) if path.is_file() else find_run(reference, settings).record
    except RunNotFoundError as error:
        if error.misspelt and not HUB_NAME.fullmatch(reference):
            raise
        return None
    require_student(record, "Give the name or the directory of its encoder.")
    return verified_directory(record, settings)
