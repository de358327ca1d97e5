"""Scoring an encoder by name, without an experiment: recorded like any other row, its speed not measured."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from xlbench._version import __version__
from xlbench.encoders.find import find_encoder, load_encoder
from xlbench.errors import look_up
from xlbench.fingerprint import fingerprint
from xlbench.records.record import ITEMS, Provenance, Record, git_revision
from xlbench.records.stored import saved_record, write_entry
from xlbench.runs.job import title
from xlbench.runs.results import Results
from xlbench.runs.session import prepare_process
from xlbench.scoring.data import mteb_version
from xlbench.scoring.tasks import evaluation_digest

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.experiment import EncoderRef, Precision, Suite
    from xlbench.fingerprint import Json
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings


def score_encoder(
    name: str, suite: str, precision: Precision | Literal["auto"], registry: Registry, settings: Settings
) -> Results:
    """Score an encoder on a suite, or take its record from the store.

    Args:
        name: A registered name, a directory or a hub id.
        suite: Name of the suite.
        precision: What to compute in; 'auto' for what the device is good at.
        registry: What plugins brought.
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
    stored = saved_record(key, settings)
    if stored is None:
        prepare_process(settings)
        stored = write_entry(
            key, settings, lambda directory: _score(encoder, tasks, computed, registry, settings, directory)
        )
    return Results((stored,), (), settings)


def _score(
    encoder: EncoderRef, suite: Suite, precision: Precision, registry: Registry, settings: Settings, directory: Path
) -> Record:
    from xlbench.encoders.modules import saved_directory
    from xlbench.scoring.footprint import measure_footprint
    from xlbench.scoring.harness import score
    from xlbench.scoring.items import write_items
    from xlbench.scoring.machine import describe_machine

    model = load_encoder(encoder, registry.encoders, settings)
    name = title(encoder)
    scored = score(model, suite, settings, precision=precision, title=f"scoring {name}")
    write_items(directory / ITEMS, scored.items)
    return Record(
        name=name,
        role="encoder",
        encoder_key=encoder.fingerprint,
        experiment=None,
        scores=scored.scores,
        footprint=measure_footprint(model, saved_directory(model)),
        provenance=Provenance(
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            xlbench=__version__,
            git=git_revision(),
            machine=describe_machine(settings),
        ),
    )
