"""Scoring an encoder by name, without an experiment: recorded like any other row, its speed not measured."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from xlbench.encoders.find import find_encoder, load_encoder
from xlbench.encoders.graph_runtimes import is_exported
from xlbench.errors import XlbenchError
from xlbench.fingerprint import fingerprint
from xlbench.records.stored import make_record, saved_record, write_entry
from xlbench.runs.results import Results
from xlbench.runs.session import check_ready, prepare_process, speed_sample
from xlbench.runs.status import runs
from xlbench.scoring.data import mteb_version
from xlbench.scoring.suites import find_suite
from xlbench.scoring.tasks import evaluation_digest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import EncoderRef, Precision, Suite
    from xlbench.fingerprint import Json
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Record
    from xlbench.scoring.speed import Speed
    from xlbench.settings import Settings


def score_encoder(
    name: str,
    suite: str,
    precision: Precision | Literal["auto"],
    registry: Registry,
    settings: Settings,
    *,
    against: str | None = None,
) -> Results:
    """Score an encoder on a suite, or take its record from the store.

    Args:
        name: A registered name, a directory or a hub id.
        suite: Name of the suite.
        precision: What to compute in; 'auto' for what the device is good at. An exported encoder has its own types.
        registry: What plugins provide.
        settings: Paths and switches.
        against: An encoder to measure its speed against; None measures no speed.

    Raises:
        XlbenchError: A name is unknown, the suite's data is missing, or a precision is asked of an exported encoder.
    """
    from xlbench.encoders.runtime import choose_device, choose_precision

    tasks = find_suite(suite, registry.suites, settings)
    encoder = find_encoder(name, registry.encoders, settings)
    baseline = None if against is None else find_encoder(against, registry.encoders, settings)
    computed = choose_precision(choose_device(settings), precision)
    measured = None if baseline is None else Measured(baseline, computed)
    if encoder.origin == "local" and is_exported(Path(name).expanduser()):
        if precision not in {"auto", "float32"} and baseline is None:
            raise XlbenchError(
                f"'{name}' is an exported encoder: it computes in its own types, not in {precision}.",
                "Leave --precision out, or export it to another format.",
            )
        computed = "float32"
    facts: dict[str, Json] = {
        "encoder": encoder.fingerprint,
        "suite": tasks.model_dump(mode="json"),
        "evaluation": evaluation_digest((tasks,), settings),
        "mteb": mteb_version(),
        "precision": computed,
        "name": encoder.title,
        "role": "encoder",
        "speed": None if measured is None else {**measured.key(), "rounds": settings.speed_rounds},
    }
    key = fingerprint(facts)

    def make(directory: Path) -> Record:
        model = load_encoder(encoder, registry.encoders, settings)
        speed = None
        if measured is not None and settings.speed_rounds:
            speed = partial(_measure, model, measured, tasks, registry, settings)
        return make_record(
            model,
            directory,
            settings,
            name=encoder.title,
            role="encoder",
            encoder_key=encoder.fingerprint,
            suite=tasks,
            precision=computed,
            speed=speed,
        )

    stored = saved_record(key, settings)
    if stored is None:
        check_ready((tasks,), settings)
        with runs(f"scoring {encoder.title}", settings):
            prepare_process(settings)
            stored = write_entry(key, settings, make)
    return Results((stored,), (), settings)


class Measured(NamedTuple):
    """What speed is measured against.

    Attributes:
        baseline: The other encoder.
        precision: What it computes in, and the scored encoder too unless that is an exported one.
    """

    baseline: EncoderRef
    precision: Precision

    def key(self) -> dict[str, Json]:
        """Return what identifies it."""
        return {"against": self.baseline.fingerprint, "precision": self.precision}


def _measure(
    model: SentenceTransformer, measured: Measured, suite: Suite, registry: Registry, settings: Settings
) -> Speed:
    from xlbench.scoring.speed import measure_speed

    return measure_speed(
        model,
        load_encoder(measured.baseline, registry.encoders, settings),
        speed_sample(suite, settings),
        settings,
        precision=measured.precision,
        repetitions=settings.speed_rounds,
    )
