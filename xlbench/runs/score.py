"""Scoring an encoder by name, without an experiment: recorded like any other row, its speed not measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from xlbench.encoders.find import find_encoder, load_encoder
from xlbench.errors import look_up
from xlbench.fingerprint import fingerprint
from xlbench.records.stored import make_record, saved_record, write_entry
from xlbench.runs.job import title
from xlbench.runs.results import Results
from xlbench.runs.session import check_ready, prepare_process
from xlbench.runs.status import runs
from xlbench.scoring.data import mteb_version
from xlbench.scoring.tasks import evaluation_digest

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.experiment import Precision
    from xlbench.fingerprint import Json
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Record
    from xlbench.settings import Settings


def score_encoder(
    name: str, suite: str, precision: Precision | Literal["auto"], registry: Registry, settings: Settings
) -> Results:
    """Score an encoder on a suite, or take its record from the store.

    Args:
        name: A registered name, a directory or a hub id.
        suite: Name of the suite.
        precision: What to compute in; 'auto' for what the device is good at.
        registry: What plugins provide.
        settings: Paths and switches.

    Raises:
        XlbenchError: A name is unknown, or the suite's data is missing.
    """
    from xlbench.encoders.runtime import choose_device, choose_precision

    tasks = look_up("suite", suite, registry.suites)
    encoder = find_encoder(name, registry.encoders, settings)
    computed = choose_precision(choose_device(settings), precision)
    facts: dict[str, Json] = {
        "encoder": encoder.fingerprint,
        "suite": tasks.model_dump(mode="json"),
        "evaluation": evaluation_digest((tasks,), settings),
        "mteb": mteb_version(),
        "precision": computed,
        "name": title(encoder),
        "role": "encoder",
        "speed": None,
    }
    key = fingerprint(facts)

    def make(directory: Path) -> Record:
        return make_record(
            load_encoder(encoder, registry.encoders, settings),
            directory,
            settings,
            name=title(encoder),
            role="encoder",
            encoder_key=encoder.fingerprint,
            suite=tasks,
            precision=computed,
        )

    stored = saved_record(key, settings)
    if stored is None:
        check_ready((tasks,), settings)
        with runs(f"scoring {title(encoder)}", settings):
            prepare_process(settings)
            stored = write_entry(key, settings, make)
    return Results((stored,), (), settings)
