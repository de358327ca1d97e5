"""Methods that each break one promise, and one that keeps them all; given to the conformance kit as a plugin file.

Except for what is wrong with it, each is the same: the student is cut from the assistant and not trained.
"""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.api import Bottleneck, Frozen, Loop, Method, Options, Plan, Shape, Stage, hookimpl, stock_encoder
from xlbench.scoring.tasks import load_task, read_data

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch.nn import LayerNorm

    from xlbench.api import Edit, Experiment, StageContext

HIDDEN = {"scale": 0.0}
MEMORY: list[float] = []
Fault = Literal[
    "none", "network", "suite", "sources", "hidden option", "noise", "memory", "hook", "collapse", "nan", "size"
]


class Spoil(Frozen):
    """Does what its fault says, beside nothing."""

    fault: Fault
    where: str = ""
    reads: tuple[str, ...] = ()

    def inputs(self) -> tuple[str, ...]:
        """Return what it reads beside its start."""
        return self.reads

    def reshape(self, shape: Shape) -> Shape:
        """Return the same shape, or a lie."""
        return shape.model_copy(update={"positions": shape.positions + 1}) if self.fault == "size" else shape

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Spoil the model or the manners."""
        getattr(self, f"_{self.fault.replace(' ', '_')}")(model, context)
        return model

    def _none(self, model: SentenceTransformer, context: StageContext) -> None:
        assert context.english_sample(4)

    def _network(self, model: SentenceTransformer, context: StageContext) -> None:
        with contextlib.suppress(OSError):
            socket.create_connection(("example.org", 80), timeout=1)

    def _suite(self, model: SentenceTransformer, context: StageContext) -> None:
        from xlbench.testing.toys import SUITE

        read_data(load_task(SUITE.tasks[0], context.settings), SUITE.tasks[0], context.settings)

    def _sources(self, model: SentenceTransformer, context: StageContext) -> None:
        next(Path(self.where).glob("*.tsv")).read_text("utf-8")

    def _hidden_option(self, model: SentenceTransformer, context: StageContext) -> None:
        stock_encoder(model).embeddings.LayerNorm.bias.data += HIDDEN["scale"]

    def _noise(self, model: SentenceTransformer, context: StageContext) -> None:
        stock_encoder(model).embeddings.LayerNorm.bias.data += 0.1 * (time.time() % 1.0)

    def _memory(self, model: SentenceTransformer, context: StageContext) -> None:
        bias = stock_encoder(model).embeddings.LayerNorm.bias.data
        if self.where == "first":
            MEMORY[:] = [0.125]
        else:
            bias += sum(MEMORY)

    def _hook(self, model: SentenceTransformer, context: StageContext) -> None:
        last_norm(model).register_forward_hook(lambda _module, _inputs, output: output.flip(-1) ** 2)

    def _collapse(self, model: SentenceTransformer, context: StageContext) -> None:
        last_norm(model).weight.data.zero_()
        last_norm(model).bias.data.fill_(1.0)

    def _nan(self, model: SentenceTransformer, context: StageContext) -> None:
        last_norm(model).bias.data[0] = float("nan")

    def _size(self, model: SentenceTransformer, context: StageContext) -> None:
        pass


def last_norm(model: SentenceTransformer) -> LayerNorm:
    """Return what gives the transformer's output."""
    from torch.nn import LayerNorm

    parts = stock_encoder(model).named_modules()
    norm = [part for name, part in parts if name.endswith("output.LayerNorm") and "attention" not in name][-1]
    assert isinstance(norm, LayerNorm)
    return norm


class HiddenOptions(Options):
    """An option that a stage does not hold."""

    scale: float = Field(default=0.0, ge=0, description="Added to a bias.")


class SilentOptions(Options):
    """An option that says nothing of itself."""

    scale: float = Field(default=1.0, ge=0)


class InertOptions(Options):
    """One option that the plan uses, one that it uses now and then, and one that it never does."""

    where: Literal["start", "end"] = Field(default="start", description="Enters the plan.")
    depth: int = Field(default=1, ge=1, le=3, description="Enters the plan where the edit is at the end.")
    speed: float = Field(default=0.5, gt=0, description="Promises what it does not do.")


def cut(experiment: Experiment) -> tuple[Edit, ...]:
    """Return what every one of these methods does rightly."""
    spec = experiment.student
    return (Bottleneck(width=spec.bottleneck or 8), Loop(layers=spec.layers, repeats=spec.repeats))


def method(name: str, fault: Fault) -> Method:
    """Return a method of one stage that spoils it in one way."""

    def plan(experiment: Experiment, options: Options) -> Plan:
        if fault == "hidden option":
            assert isinstance(options, HiddenOptions)
            HIDDEN["scale"] = options.scale
        where = ""
        if fault == "sources":
            where = experiment.data.corpora[0].reference.partition(":")[2]
        if fault == "memory":
            first = Stage("first", "assistant", (*cut(experiment), Spoil(fault=fault, where="first")))
            return Plan((first, Stage("student", "first", (Spoil(fault=fault, where="second"),))), "student")
        return Plan((Stage("student", "assistant", (*cut(experiment), Spoil(fault=fault, where=where))),), "student")

    return Method(name, f"wrong: {fault}", plan, HiddenOptions if fault == "hidden option" else Options)


def inert(experiment: Experiment, options: InertOptions) -> Plan:
    """Leave an option out."""
    where = options.where if options.where == "start" else f"{options.where} {options.depth}"
    label = Spoil(fault="none", where=where)
    return Plan((Stage("student", "assistant", (*cut(experiment), label)),), "student")


def unordered(experiment: Experiment, options: Options) -> Plan:
    """Plan in the order of a set."""
    names = {f"name-{number}" for number in range(40)}
    labels = tuple(Spoil(fault="none", where=name) for name in names)
    return Plan((Stage("student", "assistant", (*cut(experiment), *labels)),), "student")


def unchained(experiment: Experiment, options: Options) -> Plan:
    """Start from a stage that there is not."""
    return Plan((Stage("student", "alined", cut(experiment)),), "student")


def clashing(experiment: Experiment, options: Options) -> Plan:
    """Call a stage as the one is called that quantises a student."""
    return Plan((Stage("quantised", "assistant", cut(experiment)),), "quantised")


def named(experiment: Experiment, options: Options) -> Plan:
    """Let the student's name into a stage."""
    label = Spoil(fault="none", where=experiment.student.name)
    return Plan((Stage("student", "assistant", (*cut(experiment), label)),), "student")


def reading(experiment: Experiment, options: Options) -> Plan:
    """Read the assistant while planning."""
    Path(experiment.assistant.name, "modules.json").read_text("utf-8")
    return Plan((Stage("student", "assistant", cut(experiment)),), "student")


@hookimpl
def xlbench_methods() -> list[Method]:
    """Register them."""
    half_used = Method("inert", "wrong: an option that changes nothing", inert, InertOptions)
    return [
        method("right", "none"),
        method("networker", "network"),
        method("suite-reader", "suite"),
        method("source-reader", "sources"),
        method("hidden-option", "hidden option"),
        method("noisy", "noise"),
        method("forgetful", "memory"),
        method("hooked", "hook"),
        method("collapsed", "collapse"),
        method("not-a-number", "nan"),
        method("liar", "size"),
        half_used,
        Method("silent", "wrong: an option without description", lambda *_: method("", "none").plan(*_), SilentOptions),
        Method("unordered", "wrong: the order of a set", unordered, Options),
        Method("unchained", "wrong: no such start", unchained, Options),
        Method("clashing", "wrong: the name of the stage that quantises", clashing, Options),
        Method("named", "wrong: a name in a stage", named, Options),
        Method("reading", "wrong: reads while planning", reading, Options),
    ]
