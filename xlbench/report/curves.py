"""How rows were made: their stages with dev loss and accuracy along the way, and their configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlbench.records.rows import seeds
from xlbench.report.columns import WHOLE
from xlbench.report.formats import number, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.distill.outcome import StageOutcome
    from xlbench.fingerprint import Json
    from xlbench.records.record import Record
    from xlbench.records.rows import Row
    from xlbench.report.figures import Figures

LONG = 200  # characters of a summary
WIDTH, TRACK, SPACE = 220.0, 44.0, 12.0  # a chart: two tracks, one above the other, in pixels
Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """One stage of a row, a line per seed."""

    title: str
    about: str
    accuracy: tuple[str, ...]
    loss: tuple[str, ...]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class TrainingDetails:
    """How a row was made.

    Attributes:
        key: Its number in the table.
        name: What the table calls it.
        summary: One line.
        charts: Its stages that looked at dev data, those left out that an earlier row shows already.
        shared: The left out: stage and the row that shows it.
        stages: Name, pairs, minutes, megabytes of memory and key of each stage of the first run.
        configuration: The experiment as TOML; of a given encoder, what is known of it.
        made: When, with what and on which machine, run by run.
        open: Shown without a click: the first row that has been trained to be smaller.
    """

    key: str
    name: str
    summary: str
    charts: tuple[Chart, ...]
    shared: tuple[tuple[str, str], ...]
    stages: tuple[tuple[str, ...], ...]
    configuration: str
    made: tuple[str, ...]
    open: bool


def training_details(table: Figures) -> list[TrainingDetails]:
    """Return how each row was made, in table order."""
    shown: dict[tuple[str, ...], str] = {}
    found = []
    first = next((row for row in table.rows if row.role == "student"), None)
    for place, row in enumerate(table.rows):
        charts, shared = [], []
        for stages in _by_stage(row):
            keys = tuple(dict.fromkeys(stage.key for stage in stages))
            if not any(len(stage.evaluations) > 1 for stage in stages):
                continue
            if keys in shown:
                shared.append((stages[0].name, shown[keys]))
            else:
                shown[keys] = plain(row.name)
                charts.append(_chart({stage.key: stage for stage in stages}))
        found.append(
            TrainingDetails(
                f"r{place}",
                plain(row.name),
                _summary(row),
                tuple(charts),
                tuple(shared),
                tuple(_stage(stage) for stage in row.record.stages),
                configuration(row),
                tuple(dict.fromkeys(_made(run) for run in row.runs)),
                open=row is first,
            )
        )
    return found


def configuration(row: Row) -> str:
    """Return everything that decided the result, as TOML, without the tasks of the suite."""
    import tomli_w

    experiment = row.record.experiment
    facts: dict[str, Json] = {"encoder": row.record.name, "role": row.role, "fingerprint": row.record.encoder_key}
    if experiment is not None:
        facts = experiment.model_dump(mode="json", exclude_none=True, exclude={"seed", "suite", "keep_out"})
        options = {name: value for name, value in experiment.options.items() if value is not None}  # as TOML has none
        suites: dict[str, Json] = {"suite": experiment.suite.name}
        if experiment.keep_out:
            suites["keep_out"] = [suite.name for suite in experiment.keep_out]
        facts = {"seeds": list(seeds(row)), **suites, **facts, "options": options}
    return tomli_w.dumps({**facts, "footprint": row.record.footprint.model_dump(mode="json", exclude_none=True)})


def _by_stage(row: Row) -> list[tuple[StageOutcome, ...]]:
    """Return the stages of the first run, each with the same of the other runs."""
    return [
        tuple(stage for run in row.runs for stage in run.stages if stage.name == first.name)
        for first in row.record.stages
    ]


def _summary(row: Row) -> str:
    """Return the method and what it left: not what its student's spec asks, which some methods do not follow."""
    experiment, size = row.record.experiment, row.record.footprint
    if experiment is None:
        count = len(row.record.stages)
        return f"{count} stage{'s' if count > 1 else ''}, not cut" if count else "scored as given"
    parts = [experiment.method]
    if size.stored_layers:
        looped = "" if size.stored_layers == size.executed_layers else f" run as {size.executed_layers}"
        parts.append(f"{size.stored_layers} layers{looped}")
    shape = row.record.stages[-1].shape if row.record.stages else None
    if shape and shape.bottleneck:
        whole = f" ({shape.hidden} for the {shape.frequent:,} most frequent tokens)" if shape.frequent else ""
        parts.append(f"embedding table of {shape.bottleneck} columns{whole}")
    if experiment.student.bits < WHOLE:
        parts.append(f"{experiment.student.bits} bits")
    return plain(", ".join(parts), LONG)


def _stage(stage: StageOutcome) -> tuple[str, ...]:
    return (
        plain(stage.name),
        f"{stage.pairs:,}",
        f"{stage.seconds / 60:.1f}",
        f"{stage.peak_memory / 1e6:,.0f}",
        stage.key,
    )


def _made(record: Record) -> str:
    facts = record.provenance
    versions = ", ".join(f"{name} {version}" for name, version in facts.machine.versions.items())
    commit = f" ({facts.git})" if facts.git else ""
    seed = f"seed {record.experiment.seed}: " if record.experiment else ""
    return plain(
        f"{seed}{facts.made}, xlbench {facts.xlbench}{commit}, {facts.machine.cpu}, {facts.machine.cores} cores,"
        f" {facts.machine.os}, Python {facts.machine.python}, {versions}",
        400,
    )


def _chart(stages: dict[str, StageOutcome]) -> Chart:
    """Draw a stage: accuracy above from 0 to 100 %, loss below from 0 to its largest."""
    runs = [stage.evaluations for stage in stages.values()]
    last = max(it["step"] for evaluations in runs for it in evaluations) or 1.0
    accuracies = [tuple((it["step"], it["accuracy"]) for it in evaluations) for evaluations in runs]
    losses = [tuple((it["step"], it["loss"]) for it in evaluations) for evaluations in runs]
    most = max(value for curve in losses for _, value in curve) or 1.0
    name = plain(next(iter(stages.values())).name)
    captions = (
        f"accuracy {_ends([curve[0][1] for curve in accuracies], 100, 1)} → "
        f"{_ends([curve[-1][1] for curve in accuracies], 100, 1)} %",
        f"loss {_ends([curve[0][1] for curve in losses], 1, 2)} → {_ends([curve[-1][1] for curve in losses], 1, 2)}",
    )
    return Chart(
        f"{name}, {last:.0f} steps",
        f"Dev bitext {captions[0]}, dev {captions[1]} over {last:.0f} steps.",
        tuple(_path(curve, last, 1.0, 0.0) for curve in accuracies),
        tuple(_path(curve, last, most, TRACK + SPACE) for curve in losses),
        captions,
    )


def _ends(values: Sequence[float], factor: float, digits: int) -> str:
    """Return '98.1', or '97.4 to 98.1' over several seeds."""
    low, high = (f"{factor * value:.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _path(curve: Curve, last: float, most: float, top: float) -> str:
    places = (
        f"{number(2 + (WIDTH - 4) * step / last, 1)} {number(top + 2 + (TRACK - 4) * (1 - value / most), 1)}"
        for step, value in curve
    )
    return "M" + "L".join(places)
