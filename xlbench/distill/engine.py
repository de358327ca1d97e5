"""The engine: runs the stages of a plan, and takes those from the store that were run before."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.disk import disk_errors
from xlbench.distill.check import check_names, check_plan, check_teachers, declared_shape
from xlbench.distill.context import StageContext
from xlbench.distill.plan import stage_keys
from xlbench.distill.stage_entry import FACTS, KIND, MODEL, check_stage, outcome_of, stored_stage
from xlbench.errors import PartError, XlbenchError
from xlbench.launch import launched
from xlbench.store import get_or_build

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.distill.outcome import StageOutcome
    from xlbench.distill.plan import Edit, Plan, Stage
    from xlbench.distill.ranks import Call
    from xlbench.experiment import EncoderRef, Experiment
    from xlbench.fingerprint import Json
    from xlbench.settings import Settings
    from xlbench.store import Entry
    from xlbench.students.shape import Shape


@dataclass(frozen=True)
class Distilled:
    """The result of a plan.

    Attributes:
        paths: SentenceTransformer directory of each stage that was wanted, by the stage's name.
        keys: Fingerprint of each encoder, inputs and stages, by its name in the plan.
        stages: Outcome and cost of each stage, in the plan's order.
    """

    paths: Mapping[str, Path]
    keys: Mapping[str, str]
    stages: tuple[StageOutcome, ...]


def input_encoders(experiment: Experiment) -> dict[str, str]:
    """Return the fingerprints of a plan's input encoders by their names: assistant, teacher, teacher:1 ..."""
    return {name: encoder.fingerprint for name, encoder in _inputs(experiment).items()}


def _inputs(experiment: Experiment) -> dict[str, EncoderRef]:
    return {"assistant": experiment.assistant, **experiment.named_teachers()}


def encoder_keys(plan: Plan, experiment: Experiment) -> dict[str, str]:
    """Return the fingerprint of every encoder of an experiment's plan: its inputs and what its stages leave.

    An invalid plan is refused here, whatever the store holds: only what shapes decide waits for a stage that runs.

    Raises:
        XlbenchError: A name in the plan is unknown or doubled.
    """
    given = input_encoders(experiment)
    try:
        check_names(plan, given)
        check_teachers(plan, {name: it.title for name, it in experiment.named_teachers().items()})
    except XlbenchError as error:
        raise XlbenchError(f"Method '{experiment.method}': {error.problem}", error.remedy) from None
    return stage_keys(plan, given, experiment.data.digest(), experiment.precision)


def run_plan(
    plan: Plan,
    keys: Mapping[str, str],
    experiment: Experiment,
    corpus: Callable[[], PreparedCorpus],
    load_input: Callable[[str], SentenceTransformer],
    settings: Settings,
    say: Callable[[str], None],
    *,
    only: Collection[str] | None = None,
) -> Distilled:
    """Run every stage of a plan that is not in the store yet.

    The whole plan is validated before its first stage runs; its names were when it got its keys.

    Args:
        plan: The plan.
        keys: Fingerprint of every encoder of the plan, as :func:`encoder_keys` gives them.
        experiment: The experiment that the plan belongs to.
        corpus: Prepares the pairs; called only if a stage has to run.
        load_input: Loads an input encoder by its name in the plan, a new object at each call.
        settings: Paths and switches.
        say: Called with a line for each stage: whether it runs or comes from the store, and the time that it took.
        only: Names of the only stages that are wanted; None for all.

    Raises:
        XlbenchError: The plan is not valid, or a stage cannot be trained.
    """
    run = _PlanRun(plan, keys, experiment, corpus, load_input, settings, say)
    wanted = [stage for stage in plan.stages if only is None or stage.name in only]
    if any(stored_stage(settings.home, keys[stage.name], only=()) is None for stage in wanted):
        run.check()
    for stage in wanted:
        run.ensure(stage)
    outcomes = tuple(outcome_of(stage.name, run.entries[stage.name]) for stage in wanted)
    return Distilled({name: entry.path / MODEL for name, entry in run.entries.items()}, keys, outcomes)


def answer(
    call: Call,
    plan: Plan,
    keys: Mapping[str, str],
    experiment: Experiment,
    corpus: Callable[[], PreparedCorpus],
    load_input: Callable[[str], SentenceTransformer],
    settings: Settings,
) -> None:
    """Train a stage with the process that called this one: it keeps what is learnt, and has made all that is read.

    Args:
        call: The call.
        plan: As in :func:`run_plan`, and so are the others.
        keys: Likewise.
        experiment: Likewise.
        corpus: Likewise.
        load_input: Likewise.
        settings: Likewise.

    Raises:
        FailedTrainingError: Training diverged or collapsed, in all processes.
    """
    from xlbench.distill.training import train_stage
    from xlbench.students.load import load_student

    run = _PlanRun(plan, keys, experiment, corpus, load_input, settings, lambda _: None)
    stage = plan.stage(call.stage)
    assert stage is not None
    train_stage(load_student(Path(call.start)), stage, run.context_of(stage), Path(call.scratch), call)


@dataclass(frozen=True)
class _PlanRun:
    """The state of a plan while it runs.

    Attributes:
        entries: Store entries of the stages that are done, by the stage's name.
        prepared: The prepared corpus, once a stage has asked for it.
    """

    plan: Plan
    keys: Mapping[str, str]
    experiment: Experiment
    corpus: Callable[[], PreparedCorpus]
    load_input: Callable[[str], SentenceTransformer]
    settings: Settings
    say: Callable[[str], None]
    entries: dict[str, Entry] = field(default_factory=dict)
    prepared: list[PreparedCorpus] = field(default_factory=list)

    def check(self) -> None:
        """Validate the whole plan, on the shapes of its input encoders, and the corpus."""
        from xlbench.encoders.pipeline import pipeline_of
        from xlbench.students.shape import TRANSFORMERS
        from xlbench.students.surgery import encoder_shape

        shapes: dict[str, Shape] = {}
        first_with_key: dict[str, str] = {}
        for name, key in input_encoders(self.experiment).items():
            same = first_with_key.setdefault(key, name)  # one encoder may be teacher and assistant: load it once
            if same == name:
                model = self.load_input(name)
                shapes[name] = encoder_shape(model)
                if name == "assistant" and any(stage.training for stage in self.plan.stages):
                    pipeline_of(model).require_tokens("trained")
            else:
                shapes[name] = shapes[same]
        if shapes["assistant"].architecture in TRANSFORMERS and self.plan.stages:
            shapes["assistant"].cut(self.experiment.student)
        check_plan(self.plan, shapes, {name: shape.width for name, shape in shapes.items()})
        self.context()  # prepares the corpus, so that missing or insufficient data is an error before any training

    def context(self) -> StageContext:
        """Return what stages work with; the corpus is prepared at the first call."""
        if not self.prepared:
            self.prepared.append(self.corpus())
        names = {name: encoder.name for name, encoder in _inputs(self.experiment).items()}
        experiment = self.experiment
        return StageContext(
            self.prepared[0],
            self.settings,
            experiment.precision,
            self.keys,
            self.load,
            names=names,
            group=f"{experiment.method}/{experiment.student.name}, seed {experiment.seed}",
            blends={blend.name: blend for blend in self.plan.blends},
        )

    def context_of(self, stage: Stage) -> StageContext:
        """Return what one stage works with, beginning with the metadata of the encoder that it starts from."""
        context = self.context()
        given = context.names.get(stage.start)
        stages = self.plan.stages
        context = replace(
            context,
            start=f"{stage.start} '{given}'" if given else f"encoder of stage '{stage.start}'",
            place=f"{stages.index(stage) + 1} of {len(stages)}" if len(stages) > 1 else "",
        )
        start = self.plan.stage(stage.start)
        if start is not None:
            context.metadata.update(_metadata(self.ensure(start).path / MODEL))
        return context

    def load(self, encoder: str) -> SentenceTransformer:
        """Load an encoder of the plan, running the stage that leaves it if it has not run yet."""
        stage = self.plan.stage(encoder)
        if stage is None:
            return self.load_input(encoder)
        from xlbench.students.load import load_student

        return load_student(self.ensure(stage).path / MODEL)

    def ensure(self, stage: Stage) -> Entry:
        """Return a stage's store entry; the stage runs now if it has none, or if somebody has deleted it meanwhile."""
        if stage.name not in self.entries or not self.entries[stage.name].path.is_dir():
            self.entries[stage.name] = self._read_or_run(stage)
        return self.entries[stage.name]

    def _read_or_run(self, stage: Stage) -> Entry:
        key = self.keys[stage.name]
        entry = get_or_build(
            self.settings.home,
            KIND,
            key,
            lambda directory: _run_stage(stage, self.context_of(stage), directory, self.say),
            doing=f"running stage {stage.name}",
            quiet=self.settings.quiet,
            check=check_stage,
        )
        seconds = entry.manifest.seconds
        note = f"from the store (took {seconds:.0f} s)" if entry.reused else f"made in {seconds:.0f} s"
        self.say(f"stage {stage.name}: {note}")
        return entry


def _run_stage(stage: Stage, context: StageContext, directory: Path, say: Callable[[str], None]) -> dict[str, Json]:
    """Edit and train a stage's encoder, save it in ``directory``, and return the facts that the store keeps of it."""
    from xlbench.distill.outcome import peak_memory
    from xlbench.distill.training import train_stage
    from xlbench.encoders.modules import saved_directory
    from xlbench.encoders.unknown import METADATA, unknown_text
    from xlbench.students.load import save_student
    from xlbench.students.surgery import encoder_shape

    say(f"stage {stage.name}: running")
    # Edits run on the CPU, where they give the same on every machine; the trainer moves the model to the device.
    model = context.load(stage.start).to("cpu")
    loaded_from = saved_directory(model)
    if not context.metadata and loaded_from is not None:  # an input encoder may be an earlier result of xlbench
        context.metadata.update(_metadata(loaded_from))
    shape = encoder_shape(model)
    for edit in stage.edits:
        declared = declared_shape(stage, edit, shape)
        model = _apply_edit(stage, edit, model, context)
        shape = _check_shape(stage, edit, declared, model)
    evaluations: list[dict[str, float]] = []
    pairs, processes = 0, 1
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    if stage.training is not None:
        scratch = directory / "scratch" / "training"
        # A checkpoint has the weights and two moments of each; the best one and the last are kept.
        with disk_errors(f"the checkpoints of stage {stage.name}", scratch, needed=6 * size, store=True):
            scratch.mkdir(parents=True, exist_ok=True)
            evaluations = train_stage(model, stage, context, scratch)
        pairs = stage.training.steps * stage.training.batch_size
        processes = launch.processes if (launch := launched()) else 1
        if shares := context.metadata.get(METADATA):
            assert isinstance(shares, dict)
            say(f"stage {stage.name}: its tokenizer does not know {unknown_text(shares)} of the corpus's tokens")
    shutil.rmtree(directory / MODEL, ignore_errors=True)  # half a model, if an earlier attempt was killed here
    with disk_errors(f"the encoder of stage {stage.name}", directory, needed=size, store=True):
        save_student(model, directory / MODEL)
    facts = {"shape": shape.model_dump(mode="json"), "metadata": context.metadata}
    (directory / MODEL / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False), "utf-8")
    (directory / "stage.json").write_text(json.dumps(stage.describe(), indent=1, ensure_ascii=False))
    return {
        "stage": stage.name,
        "pairs": pairs,
        "processes": processes,
        "evaluations": evaluations,
        "peak_memory": peak_memory(),
        "targets": list(dict.fromkeys(context.targets_used)),
        **facts,
    }


def _metadata(directory: Path) -> dict[str, Json]:
    """Return the metadata saved in an encoder's directory; empty if xlbench did not write the directory."""
    try:
        metadata = json.loads((directory / FACTS).read_text("utf-8"))["metadata"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _apply_edit(stage: Stage, edit: Edit, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
    """Return the edited encoder, on the CPU."""
    from sentence_transformers import SentenceTransformer

    edited = edit.apply(model, context)
    if not isinstance(edited, SentenceTransformer):
        raise PartError(
            f"Stage '{stage.name}': {type(edit).__name__}.apply returned {type(edited).__name__}.",
            "It must return a SentenceTransformer, the one it was given or another.",
            type(edit).apply,
        )
    return edited.to("cpu")


def _check_shape(stage: Stage, edit: Edit, declared: Shape, model: SentenceTransformer) -> Shape:
    """Return the shape of an edited encoder.

    Raises:
        XlbenchError: It differs from the shape that the edit declared, or from the parameters counted in the encoder.
    """
    from xlbench.students.quantised import count_parameters
    from xlbench.students.surgery import encoder_shape

    actual = encoder_shape(model)
    counted = count_parameters(model)
    name = type(edit).__name__
    if not declared.admits(actual):
        fields = [it for it in type(actual).model_fields if getattr(actual, it) != getattr(declared, it)]
        differing = ", ".join(f"{it} {getattr(actual, it)} instead of {getattr(declared, it)}" for it in fields)
        problem = f"{name} left an encoder of another shape than its reshape declares: {differing}."
    elif actual.parameters != counted:
        problem = f"{name} left {counted:,} parameters, but its shape has {actual.parameters:,}."
    else:
        return actual
    raise PartError(f"Stage '{stage.name}': {problem}", "Correct reshape or apply of that edit.", type(edit).apply)
