"""A plan: stages, each plain data, in the order in which they may run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator

from xlbench.distill.live import LiveObjective
from xlbench.distill.objectives import Level, Objective
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen, Json, fingerprint, meaning

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sentence_transformers import SentenceTransformer

    from xlbench.distill.blend import Blend
    from xlbench.distill.context import StageContext
    from xlbench.distill.objectives import Target
    from xlbench.students.shape import Shape

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


def check_inputs(stage: Stage, encoders: Collection[str]) -> None:
    """Refuse a stage that reads another encoder than those that are there by then.

    Raises:
        XlbenchError: It does.
    """
    for encoder in stage.inputs():
        if encoder not in encoders:
            raise XlbenchError(
                f"Stage '{stage.name}' reads '{encoder}', which no earlier stage makes.",
                f"It can read: {', '.join(encoders)}.",
            )


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
        check_inputs(stage, keys)
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
