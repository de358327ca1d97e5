"""The engine: makes a plan's result, taking every stage from the store that is there already."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlbench.distill.outcome import StageOutcome
from xlbench.distill.plan import check_plan, stage_keys
from xlbench.distill.workshop import Workshop
from xlbench.errors import XlbenchError
from xlbench.store import get_or_build, read_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.distill.plan import Plan, Stage
    from xlbench.experiment import Experiment
    from xlbench.fingerprint import Json
    from xlbench.settings import Settings
    from xlbench.store import Entry
    from xlbench.students.shape import Shape

MODEL = "model"  # where in a stage's entry the SentenceTransformer directory is


@dataclass(frozen=True)
class Distilled:
    """What a plan made.

    Attributes:
        paths: The SentenceTransformer directory that each stage left.
        keys: Fingerprint of every source.
        stages: What each stage took, in the plan's order.
    """

    paths: Mapping[str, Path]
    keys: Mapping[str, str]
    stages: tuple[StageOutcome, ...]


def given_sources(experiment: Experiment) -> dict[str, str]:
    """Return the names that a plan may start from and their fingerprints."""
    given = {"assistant": experiment.assistant.fingerprint}
    for number, teacher in enumerate(experiment.teachers):
        given["teacher" if number == 0 else f"teacher:{number}"] = teacher.fingerprint
    return given


def run_plan(
    plan: Plan,
    experiment: Experiment,
    corpus: Callable[[], PreparedCorpus],
    load_given: Callable[[str], SentenceTransformer],
    settings: Settings,
    say: Callable[[str], None],
) -> Distilled:
    """Make every stage of a plan that is not in the store.

    Args:
        plan: What to do.
        experiment: The experiment that it belongs to.
        corpus: Prepares the pairs; called only when a stage has to be made.
        load_given: Loads an encoder that was given, by its name in plans.
        settings: Paths and switches.
        say: Told which stages are made and which come from the store.

    Raises:
        XlbenchError: The plan is not valid, or a stage cannot be trained.
    """
    keys = stage_keys(plan, given_sources(experiment), experiment.data.digest(), experiment.precision)
    run = _Run(plan, keys, experiment, corpus, load_given, settings, say, {}, [])
    if any(read_entry(settings.home, "stages", keys[stage.name], verify=False) is None for stage in plan.stages):
        run.check()
    for stage in plan.stages:
        run.ensure(stage)
    outcomes = tuple(_outcome(stage.name, run.made[stage.name]) for stage in plan.stages)
    return Distilled({name: entry.path / MODEL for name, entry in run.made.items()}, keys, outcomes)


@dataclass(frozen=True)
class _Run:
    plan: Plan
    keys: Mapping[str, str]
    experiment: Experiment
    corpus: Callable[[], PreparedCorpus]
    load_given: Callable[[str], SentenceTransformer]
    settings: Settings
    say: Callable[[str], None]
    made: dict[str, Entry]
    prepared: list[PreparedCorpus]

    def check(self) -> None:
        """Validate the whole plan on the shapes of the encoders that it starts from."""
        from xlbench.encoders.encode import dimension
        from xlbench.students.surgery import shape_of, stock_encoder

        shapes: dict[str, Shape] = {}
        widths: dict[str, int] = {}
        seen: dict[str, str] = {}
        for name, key in given_sources(self.experiment).items():
            twin = seen.setdefault(key, name)
            if twin == name:
                model = self.load_given(name)
                widths[name] = dimension(model)
                with suppress(XlbenchError):  # it can still teach
                    shapes[name] = shape_of(stock_encoder(model))
            else:
                widths[name] = widths[twin]
                shapes.update({name: shapes[twin]} if twin in shapes else {})
        if "assistant" in shapes and self.plan.stages:
            shapes["assistant"].cut(self.experiment.student)
        check_plan(self.plan, shapes, widths)
        self.workshop()  # the data must suffice too, before anything trains

    def workshop(self) -> Workshop:
        """Return what stages work with, the corpus prepared once."""
        if not self.prepared:
            self.prepared.append(self.corpus())
        return Workshop(self.prepared[0], self.settings, self.experiment.precision, self.keys, self.load)

    def load(self, source: str) -> SentenceTransformer:
        """Load a source of the plan."""
        stage = self.plan.stage(source)
        if stage is None:
            return self.load_given(source)
        from xlbench.students.load import load_student

        return load_student(self.ensure(stage).path / MODEL)

    def ensure(self, stage: Stage) -> Entry:
        """Return a stage's entry, made now if it is not there."""
        if stage.name not in self.made:
            self.made[stage.name] = self._get(stage)
        return self.made[stage.name]

    def _get(self, stage: Stage) -> Entry:
        key = self.keys[stage.name]
        entry = get_or_build(
            self.settings.home,
            "stages",
            key,
            lambda directory: _make(stage, self.workshop(), directory, self.say),
            waiting=lambda: self.say(f"stage {stage.name}: another process is making it; waiting"),
        )
        seconds = entry.manifest.seconds
        note = f"from the store (took {seconds:.0f} s when made)" if entry.reused else f"made in {seconds:.0f} s"
        self.say(f"stage {stage.name}: {note}")
        return entry


def _make(stage: Stage, workshop: Workshop, directory: Path, say: Callable[[str], None]) -> dict[str, Json]:
    from xlbench.distill.cost import peak_memory
    from xlbench.distill.trainer import train
    from xlbench.students.load import save_student

    say(f"stage {stage.name}: making it")
    # Cut on the CPU, where it is exact and the same everywhere; the Trainer moves it to the device.
    model = workshop.load(stage.start).to("cpu")
    for edit in stage.edits:
        model = edit.apply(model, workshop)
    looks: list[dict[str, float]] = []
    pairs = 0
    if stage.training is not None:
        scratch = directory / "scratch" / "training"
        scratch.mkdir(parents=True, exist_ok=True)
        looks = train(model, stage, workshop, scratch)
        pairs = stage.training.steps * stage.training.batch_size
    save_student(model, directory / MODEL)
    (directory / "stage.json").write_text(json.dumps(stage.describe(), indent=1, ensure_ascii=False))
    return {
        "stage": stage.name,
        "pairs": pairs,
        "looks": looks,
        "peak_memory": peak_memory(),
    }


def _outcome(name: str, entry: Entry) -> StageOutcome:
    facts = entry.manifest.facts
    return StageOutcome.model_validate(
        {
            "name": name,
            "key": entry.manifest.key,
            "reused": entry.reused,
            "seconds": entry.manifest.seconds,
            **{field: facts[field] for field in ("peak_memory", "pairs", "looks")},
        }
    )
