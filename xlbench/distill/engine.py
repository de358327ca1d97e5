"""The engine: makes a plan's result, taking every stage from the store that is there already."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlbench.distill.context import StageContext
from xlbench.distill.outcome import StageOutcome
from xlbench.distill.plan import check_plan, stage_keys
from xlbench.errors import XlbenchError
from xlbench.store import get_or_build, read_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.distill.plan import Edit, Plan, Stage
    from xlbench.experiment import Experiment
    from xlbench.fingerprint import Json
    from xlbench.settings import Settings
    from xlbench.store import Entry
    from xlbench.students.shape import Shape

MODEL = "model"  # where in a stage's entry the SentenceTransformer directory is
FACTS = "xlbench.json"  # beside the weights: the artifact's shape and metadata, which it keeps wherever it goes


@dataclass(frozen=True)
class Distilled:
    """What a plan made.

    Attributes:
        paths: The SentenceTransformer directory that each stage left.
        keys: Fingerprint of every encoder.
        stages: What each stage took, in the plan's order.
    """

    paths: Mapping[str, Path]
    keys: Mapping[str, str]
    stages: tuple[StageOutcome, ...]


def given_encoders(experiment: Experiment) -> dict[str, str]:
    """Return the names that a plan may start from and their fingerprints."""
    given = {"assistant": experiment.assistant.fingerprint}
    for number, teacher in enumerate(experiment.teachers):
        given["teacher" if number == 0 else f"teacher:{number}"] = teacher.fingerprint
    return given


def encoder_keys(plan: Plan, experiment: Experiment) -> dict[str, str]:
    """Return the fingerprint of every encoder of an experiment's plan.

    Raises:
        XlbenchError: A stage reads what neither is given nor comes before it.
    """
    return stage_keys(plan, given_encoders(experiment), experiment.data.digest(), experiment.precision)


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
    keys = encoder_keys(plan, experiment)
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
        from xlbench.students.shape import TRANSFORMERS
        from xlbench.students.surgery import encoder_shape

        shapes: dict[str, Shape] = {}
        widths: dict[str, int] = {}
        seen: dict[str, str] = {}
        for name, key in given_encoders(self.experiment).items():
            twin = seen.setdefault(key, name)
            if twin == name:
                model = self.load_given(name)
                widths[name] = dimension(model)
                shapes[name] = encoder_shape(model)
            else:
                widths[name] = widths[twin]
                shapes[name] = shapes[twin]
        if shapes["assistant"].architecture in TRANSFORMERS and self.plan.stages:
            shapes["assistant"].cut(self.experiment.student)
        check_plan(self.plan, shapes, widths)
        self.context()  # the data must suffice too, before anything trains

    def context(self) -> StageContext:
        """Return what stages work with, the corpus prepared once."""
        if not self.prepared:
            self.prepared.append(self.corpus())
        return StageContext(self.prepared[0], self.settings, self.experiment.precision, self.keys, self.load)

    def context_of(self, stage: Stage) -> StageContext:
        """Return what one stage works with: its artifact has the metadata of what it starts from."""
        context = self.context()
        start = self.plan.stage(stage.start)
        if start is not None:
            context.metadata.update(_metadata(self.ensure(start).path / MODEL))
        return context

    def load(self, encoder: str) -> SentenceTransformer:
        """Load an encoder of the plan."""
        stage = self.plan.stage(encoder)
        if stage is None:
            return self.load_given(encoder)
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
            lambda directory: _make(stage, self.context_of(stage), directory, self.say),
            waiting=lambda: self.say(f"stage {stage.name}: another process is making it; waiting"),
        )
        seconds = entry.manifest.seconds
        note = f"from the store (took {seconds:.0f} s when made)" if entry.reused else f"made in {seconds:.0f} s"
        self.say(f"stage {stage.name}: {note}")
        return entry


def _make(stage: Stage, context: StageContext, directory: Path, say: Callable[[str], None]) -> dict[str, Json]:
    from xlbench.distill.outcome import peak_memory
    from xlbench.distill.trainer import train
    from xlbench.encoders.modules import saved_directory
    from xlbench.students.load import save_student
    from xlbench.students.surgery import encoder_shape

    say(f"stage {stage.name}: making it")
    # Cut on the CPU, where it is exact and the same everywhere; the Trainer moves it to the device.
    model = context.load(stage.start).to("cpu")
    given = saved_directory(model)
    if not context.metadata and given is not None:  # an artifact of xlbench may be an assistant
        context.metadata.update(_metadata(given))
    shape = encoder_shape(model)
    for edit in stage.edits:
        declared = edit.reshape(shape)
        model = _edited(stage, edit, model, context)
        shape = _checked(stage, edit, declared, model)
    evaluations: list[dict[str, float]] = []
    pairs = 0
    if stage.training is not None:
        scratch = directory / "scratch" / "training"
        scratch.mkdir(parents=True, exist_ok=True)
        evaluations = train(model, stage, context, scratch)
        pairs = stage.training.steps * stage.training.batch_size
    shutil.rmtree(directory / MODEL, ignore_errors=True)  # what a killed process left
    save_student(model, directory / MODEL)
    facts = {"shape": shape.model_dump(mode="json"), "metadata": context.metadata}
    (directory / MODEL / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False), "utf-8")
    (directory / "stage.json").write_text(json.dumps(stage.describe(), indent=1, ensure_ascii=False))
    return {
        "stage": stage.name,
        "pairs": pairs,
        "evaluations": evaluations,
        "peak_memory": peak_memory(),
        "targets": list(dict.fromkeys(context.targets_used)),
        **facts,
    }


def _metadata(directory: Path) -> dict[str, Json]:
    """Return the metadata of an artifact by its directory; none of an encoder that xlbench did not make."""
    try:
        metadata = json.loads((directory / FACTS).read_text("utf-8"))["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _edited(stage: Stage, edit: Edit, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    edited = edit.apply(model, context)
    if not isinstance(edited, SentenceTransformer):
        raise XlbenchError(
            f"Stage '{stage.name}': {type(edit).__name__}.apply returned {type(edited).__name__}.",
            "It must return a SentenceTransformer, the one it was given or another.",
        )
    return edited.to("cpu")


def _checked(stage: Stage, edit: Edit, declared: Shape, model: SentenceTransformer) -> Shape:
    """Return the shape of an edited encoder, which must be the one that its edit declared.

    Raises:
        XlbenchError: It is another one, or its parameters are not those that the shape stands for.
    """
    from xlbench.students.quantised import count_parameters
    from xlbench.students.surgery import encoder_shape

    made = encoder_shape(model)
    counted = count_parameters(model)
    if not declared.admits(made):
        names = [name for name in type(made).model_fields if getattr(made, name) != getattr(declared, name)]
        differing = ", ".join(f"{name} {getattr(made, name)} and not {getattr(declared, name)}" for name in names)
        problem = f"{type(edit).__name__} left another encoder than its reshape declares: {differing}."
    elif made.parameters != counted:
        problem = f"{type(edit).__name__} left {counted:,} parameters, its shape has {made.parameters:,}."
    else:
        return made
    raise XlbenchError(f"Stage '{stage.name}': {problem}", "Mend reshape or apply of that edit.")


def _outcome(name: str, entry: Entry) -> StageOutcome:
    facts = entry.manifest.facts
    return StageOutcome.model_validate(
        {
            "name": name,
            "key": entry.manifest.key,
            "reused": entry.reused,
            "seconds": entry.manifest.seconds,
            **{field: facts[field] for field in ("peak_memory", "pairs", "evaluations")},
            # Stages of earlier versions have none.
            **{field: facts[field] for field in ("shape", "metadata") if field in facts},
        }
    )
