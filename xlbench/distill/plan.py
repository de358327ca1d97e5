"""A plan: stages, each plain data, in the order in which they may run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator

from xlbench.distill.live import LiveObjective
from xlbench.distill.objectives import Level, MatchNeighbours, Objective, PullToTarget
from xlbench.errors import PartError, XlbenchError
from xlbench.fingerprint import Frozen, Json, fingerprint, meaning
from xlbench.students.shape import TRANSFORMERS, Shape

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sentence_transformers import SentenceTransformer

    from xlbench.distill.blend import Blend
    from xlbench.distill.context import StageContext
    from xlbench.distill.live import Layer
    from xlbench.distill.objectives import Target

ENGINE_VERSION = 1
"""Part of every stage's fingerprint: raised when the engine trains differently from the same settings."""

Trainable = Literal["all", "embeddings", "all-but-token-embeddings"]


@runtime_checkable
class Edit(Protocol):
    """A change to an encoder that is not gradient training: cutting, centring, trimming, averaging ...

    Frozen, typed data. It is checked on shapes before anything runs, applied inside a stage, and so cached and
    resumed like training. What it leaves may have another tokenizer, another size, or be no transformer.
    """

    def inputs(self) -> tuple[str, ...]:
        """Return other encoders that it reads, beside the stage's start."""
        ...

    def reshape(self, shape: Shape) -> Shape:
        """Return the shape after the edit; the engine refuses an encoder that has another one in the end.

        Raises:
            XlbenchError: The edit does not fit an encoder of this shape.
        """
        ...

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Return the edited encoder; may change ``model`` itself, which is on the CPU."""
        ...


class Training(Frozen):
    """Gradient training of one stage."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    objectives: tuple[SerializeAsAny[BaseModel], ...] = Field(min_length=1)
    pairs: int = Field(ge=1, description="Pairs seen, repetitions counted.")
    seed: int = Field(ge=0)
    english_share: float = Field(
        default=1.0, gt=0, le=1, description="Of a batch's pairs, those whose English side the student reads too."
    )
    level: Level = Field(default="sentence", description="'embeddings' runs no encoder layer (stage 2).")
    trainable: Trainable = "all"
    batch_size: int = Field(default=64, ge=2, description="Pairs in a step.")
    learning_rate: float = Field(default=1.6e-4, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    warmup: float = Field(default=0.1, ge=0, lt=1, description="Share of the steps.")
    clip: float = Field(default=1.0, gt=0, description="Largest gradient norm.")
    dropout: bool = Field(default=False, description="Keep the encoder's own dropout while training.")
    max_tokens: int = Field(default=128, ge=8, le=512)
    evaluations: int = Field(default=4, ge=1, le=100, description="Times that dev pairs are looked at.")

    @field_validator("objectives")
    @classmethod
    def _are_objectives(cls, objectives: tuple[BaseModel, ...]) -> tuple[BaseModel, ...]:
        for objective in objectives:
            if isinstance(objective, Objective) == isinstance(objective, LiveObjective):
                raise ValueError(f"{type(objective).__name__} has no loss() with either targets() or layers()")
        return objectives

    @property
    def terms(self) -> tuple[Objective, ...]:
        """The objectives on vectors of sentences, as such."""
        return tuple(objective for objective in self.objectives if isinstance(objective, Objective))

    @property
    def live_terms(self) -> tuple[LiveObjective, ...]:
        """The objectives on the states of every token, as such."""
        return tuple(objective for objective in self.objectives if isinstance(objective, LiveObjective))

    @property
    def steps(self) -> int:
        """Optimiser steps: pairs seen, in batches."""
        return max(1, round(self.pairs / self.batch_size))


@dataclass(frozen=True)
class Stage:
    """One step of a plan: what it starts from, how that is edited, how it is then trained.

    Attributes:
        name: Unique in its plan.
        start: ``teacher``, ``assistant`` or an earlier stage.
        edits: Applied in order before training.
        training: None for a stage that only edits.
    """

    name: str
    start: str
    edits: tuple[Edit, ...] = ()
    training: Training | None = None

    def inputs(self) -> tuple[str, ...]:
        """Return everything that it reads, each once: encoders, and what its targets are of."""
        return tuple(dict.fromkeys([*self.encoders(), *(target.encoder for target in self.targets())]))

    def encoders(self) -> tuple[str, ...]:
        """Return whose weights it reads: its start's, its edits' encoders', its layers'."""
        read = [self.start, *(encoder for edit in self.edits for encoder in edit.inputs())]
        if self.training is not None:
            layers = (layer for term in self.training.live_terms for layer in term.layers())
            read += [layer.encoder for layer in layers if layer.encoder is not None]
        return tuple(read)

    def targets(self) -> tuple[Target, ...]:
        """Return the targets of its training, one for each time that an objective names it."""
        terms = self.training.terms if self.training is not None else ()
        return tuple(target for term in terms for target in term.targets())

    def describe(self) -> dict[str, Json]:
        """Return the stage as data, with what identifies the code of its parts."""
        training: Json = None
        if self.training is not None:
            settings = self.training.model_dump(mode="json", exclude={"objectives"})
            training = {**settings, "objectives": [_describe(term) for term in self.training.objectives]}
        return {
            "start": self.start,
            "edits": [_describe(edit) for edit in self.edits],
            "training": training,
        }


PARTS = (Edit, Objective, LiveObjective)


def _describe(part: object) -> dict[str, Json]:
    if not isinstance(part, BaseModel):
        raise XlbenchError(
            f"{type(part).__name__} is no pydantic model, so a plan that holds it cannot be written down.",
            "Derive edits and objectives from xlbench.api.Frozen.",
        )
    settings: dict[str, Json] = part.model_dump(mode="json")
    # A part may hold another one, whose code enters the key as well.
    parts = {name: value for name in type(part).model_fields if isinstance(value := getattr(part, name), PARTS)}
    return {"tag": meaning(type(part)), "settings": settings | {name: _describe(it) for name, it in parts.items()}}


@dataclass(frozen=True)
class Plan:
    """Stages in an order in which they can run, and which encoders boards show.

    Attributes:
        stages: Each after all that it reads.
        result: The encoder that is the method's outcome.
        teacher: The encoder that taught, as it was used.
        assistant: The encoder that the result is compared with, as it was used.
        blends: Target spaces of several teachers, of encoders that are there from the start.
    """

    stages: tuple[Stage, ...]
    result: str
    teacher: str = "teacher"
    assistant: str = "assistant"
    blends: tuple[Blend, ...] = ()

    def stage(self, name: str) -> Stage | None:
        """Return a stage by name; None for an input encoder."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def below(self, encoder: str) -> frozenset[str]:
        """Return the names of the stages that an encoder rests on, its own included."""
        needed: set[str] = set()
        open_names = [encoder]
        while open_names:
            if (stage := self.stage(open_names.pop())) and stage.name not in needed:
                needed.add(stage.name)
                open_names += stage.inputs()
        return frozenset(needed)


def check_plan(plan: Plan, shapes: Mapping[str, Shape], widths: Mapping[str, int]) -> dict[str, Shape]:
    """Validate a whole plan before anything runs.

    Args:
        plan: The plan.
        shapes: Shapes of the encoders that are there from the start, as far as stages may be cut from them.
        widths: How wide the vectors of every encoder are that is there from the start.

    Returns:
        The shape of every encoder: as given, or as its stage's edits declare it.

    Raises:
        XlbenchError: A name is unknown or doubled, shapes do not chain, a stage trains what cannot be trained,
            or a target has another width than the student that is pulled to it.
    """
    shapes, widths = dict(shapes), dict(widths)  # those of stages are added in their order
    blended = {blend.name: blend.width(widths) for blend in plan.blends}
    for stage in plan.stages:
        if stage.name in widths or stage.name in blended:
            raise XlbenchError(f"Two encoders of the plan are called '{stage.name}'.", "Rename one of the stages.")
        _check_inputs(stage, {**widths, **blended})
        for blend in plan.blends:
            blend.check_read(stage.name, stage.encoders(), stage.targets())
        if stage.start not in shapes:
            raise XlbenchError(
                f"Stage '{stage.name}' starts from '{stage.start}', which is no BERT or XLM-R encoder.",
                "It can teach as it is (-o centre=false), but nothing can be cut from it.",
            )
        shape = shapes[stage.start]
        for edit in stage.edits:
            shape = declared_shape(stage, edit, shape)
        _check_training(stage, shape, shapes, {**widths, **blended})
        shapes[stage.name] = shape
        widths[stage.name] = shape.width
    for shown in (plan.result, plan.teacher, plan.assistant):
        if shown not in widths:
            raise XlbenchError(
                f"The plan shows '{shown}', which none of its stages makes.",
                f"It can show: {', '.join(widths)}.",
            )
    return shapes


def declared_shape(stage: Stage, edit: Edit, shape: Shape) -> Shape:
    """Return the shape that an edit of a stage says that it makes of a shape.

    Raises:
        XlbenchError: The edit does not fit an encoder of this shape, or says nothing.
    """
    try:
        declared = edit.reshape(shape)
    except XlbenchError as error:
        raise XlbenchError(f"Stage '{stage.name}': {error.problem}", error.remedy) from None
    if not isinstance(declared, Shape):
        raise PartError(
            f"Stage '{stage.name}': {type(edit).__name__}.reshape returned {type(declared).__name__}.",
            "It must return the Shape of the edited encoder.",
            type(edit).reshape,
        )
    return declared


def _check_inputs(stage: Stage, encoders: Collection[str]) -> None:
    for encoder in stage.inputs():
        if encoder not in encoders:
            raise XlbenchError(
                f"Stage '{stage.name}' reads '{encoder}', which no earlier stage makes.",
                f"It can read: {', '.join(encoders)}.",
            )


def _check_training(stage: Stage, shape: Shape, shapes: Mapping[str, Shape], widths: Mapping[str, int]) -> None:
    if stage.training is None:
        return
    try:
        shape.require_transformer("trained")
        for target in stage.targets():
            if target.level == "embeddings" and target.encoder in shapes:
                shapes[target.encoder].require_transformer("read at their embedding layer")
    except XlbenchError as error:
        raise XlbenchError(f"Stage '{stage.name}': {error.problem}", "Leave its training out.") from None
    width = shape.hidden if stage.training.level == "embeddings" else shape.width
    for term in stage.training.terms:
        if not isinstance(term, PullToTarget | MatchNeighbours):  # a matrix of cosines has no width
            continue
        encoder = term.target.encoder
        at_embeddings = term.target.level == "embeddings" and encoder in shapes
        target_width = shapes[encoder].hidden if at_embeddings else widths[encoder]
        if target_width != width:
            verb, with_ = ("pulls", "to") if isinstance(term, PullToTarget) else ("compares", "with")
            raise XlbenchError(
                f"Stage '{stage.name}' {verb} vectors of width {width} {with_} '{encoder}', whose width is"
                f" {target_width}.",
                "Choose a teacher as wide as the assistant (--teacher assistant always is), or bring it to that width"
                " (-o blend=1).",
            )
    try:
        _check_live(stage.training, shape, shapes)
    except XlbenchError as error:
        raise XlbenchError(f"Stage '{stage.name}': {error.problem}", error.remedy) from None


def _check_live(training: Training, shape: Shape, shapes: Mapping[str, Shape]) -> None:
    for term in training.live_terms:
        compared: dict[Layer, Shape] = {}
        for layer in term.layers():
            name = "the student" if layer.encoder is None else f"'{layer.encoder}'"
            read = shape if layer.encoder is None else shapes.get(layer.encoder)
            if read is None or read.architecture not in TRANSFORMERS:
                raise XlbenchError(f"{name} is no BERT or XLM-R, so its layers cannot be read.", "Leave that term out.")
            if training.level == "embeddings":
                raise XlbenchError("It trains without encoder layers, so none can be read.", "Leave that term out.")
            if not 1 <= abs(layer.number) <= read.executed_layers:
                raise XlbenchError(
                    f"Layer {layer.number} of {name} cannot be read, it runs {read.executed_layers}.",
                    "Layers count from 1 at the bottom, or from -1 at the top.",
                )
            # A trimmed vocabulary cuts the corpus's sentences as the whole one does.
            if read.vocabulary != shape.vocabulary and not (read.trimmed or shape.trimmed):
                raise XlbenchError(
                    f"{name} has a vocabulary of {read.vocabulary:,}, the student one of {shape.vocabulary:,}:"
                    " they cannot be compared token by token.",
                    "Choose an encoder with the student's tokenizer, e.g. the assistant.",
                )
            compared[layer] = read
        term.check(compared)


def stage_keys(plan: Plan, given: Mapping[str, str], data: str, precision: str) -> dict[str, str]:
    """Return the fingerprint of every encoder: given ones', and each stage's from all that decides it.

    Args:
        plan: A valid plan.
        given: Fingerprints of the encoders that are there from the start.
        data: Digest of the prepared corpus.
        precision: What the stages compute in.

    Raises:
        XlbenchError: A stage reads what neither is given nor comes before it.
    """
    keys = {**given, **{blend.name: blend.fingerprint(given) for blend in plan.blends}}
    for stage in plan.stages:
        _check_inputs(stage, keys)
        facts: Json = {
            "engine": ENGINE_VERSION,
            "stage": stage.describe(),
            # What each name in the stage stands for. The names are part of the key too: two plans share a stage
            # where they call its inputs the same.
            "encoders": {encoder: keys[encoder] for encoder in stage.inputs()},
            "data": data,
            "precision": precision,
        }
        keys[stage.name] = fingerprint(facts)
    return keys
