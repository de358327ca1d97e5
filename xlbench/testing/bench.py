"""A directory with toy encoders, a toy corpus and a suite of canaries, and runs of methods on them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from xlbench.distill.engine import input_encoders
from xlbench.plugins.registry import load_registry
from xlbench.runs.job import make_plan
from xlbench.runs.request import make_request
from xlbench.runs.resolve import resolve
from xlbench.runs.session import Session
from xlbench.settings import Settings
from xlbench.testing.guard import Watch, watch
from xlbench.testing.toys import BUDGET, STUDENT, SUITE, save_toy_encoder, toy_pairs, write_toy_corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.distill.engine import Distilled
    from xlbench.distill.method import Method
    from xlbench.distill.plan import Plan
    from xlbench.experiment import Experiment
    from xlbench.plugins.registry import Registry
    from xlbench.students.shape import Shape

CANARIES = Path(__file__).parent / "data" / "canaries.tsv"
PAIRS = 192  # in the corpus, beside the planted canaries
PROBE = [text for pair in toy_pairs(24, seed=7) for text in pair]
"""Sentences that are encoded to examine an artifact."""
SHAPES: dict[str, Shape] = {}
"""Shapes of toys, by the fingerprint of their files."""


@dataclass(frozen=True)
class CompletedRun:
    """A plan that was run.

    Attributes:
        plan: The plan.
        distilled: Its artifacts.
        corpus: What it was trained on.
        vectors: Of PROBE, by stage key, as the encoder gave them before it was saved; float32 [n, dimension].
        notes: What the engine reported.
        seen: Its attempts to use the network or to open forbidden files.
    """

    plan: Plan
    distilled: Distilled
    corpus: PreparedCorpus
    vectors: Mapping[str, np.ndarray]
    notes: tuple[str, ...]
    seen: Watch

    @property
    def artifact(self) -> Path:
        """The SentenceTransformer directory of the result."""
        return self.distilled.paths[self.plan.result]


@dataclass(frozen=True)
class Bench:
    """Where the toys are, and which plugins are used beside the installed ones; can be passed to another process.

    Attributes:
        place: Directory with the encoders and the corpus.
        plugins: Plugins as single files.
        threads: Of torch.
    """

    place: Path
    plugins: tuple[Path, ...] = ()
    threads: int = 1

    def method(self, name: str) -> Method:
        """Return a method by name."""
        return self.registry.methods[name]

    @property
    def registry(self) -> Registry:
        """What plugins provide, with the toy suite and the toy budget."""
        registry = load_registry(self.plugins, strict=False)
        budgets = {**registry.budgets, BUDGET.name: BUDGET}
        return replace(registry, suites={**registry.suites, SUITE.name: SUITE}, budgets=budgets)

    def settings(self, home: Path) -> Settings:
        """Return settings with ``home`` as the store."""
        return Settings(home=home, offline=True, device="cpu", threads=self.threads, quiet=True, speed_rounds=0)

    def experiment(self, method: str, changes: Mapping[str, object]) -> tuple[Experiment, list[OpenCorpus]]:
        """Return the toy experiment of a method, with some settings of its request changed.

        Args:
            method: Its name.
            changes: Settings of the request; those of ``student`` are changes of the toy student, and those of
                ``teacher`` name 'assistant' and 'teacher', the toys.

        Raises:
            XlbenchError: A value does not fit.
        """
        student, teachers = changes.get("student"), changes.get("teacher")
        request: dict[str, object] = {
            "method": method,
            "assistant": str(self.place / "assistant"),
            "corpus": (f"tsv:{self.place / 'corpus'}",),
            "suite": SUITE.name,
            "budget": BUDGET.name,
            "precision": "float32",
            **changes,
            "student": STUDENT.model_copy(update=dict(student) if isinstance(student, Mapping) else {}),
        }
        if isinstance(teachers, list):  # toys are called by their directories
            request["teacher"] = [str(self.place / name) for name in teachers]
        experiments, corpora = resolve(make_request(request), self.registry, self.settings(self.place / "home"))
        return experiments[0], corpora

    def plan(self, experiment: Experiment) -> Plan:
        """Return the plan of an experiment: its method's, and the quantising of the student where it has fewer bits.

        Raises:
            XlbenchError: The method cannot do this experiment.
        """
        return make_plan(experiment, self.method(experiment.method))

    def load_input(self, experiment: Experiment, encoder: str) -> SentenceTransformer:
        """Load an input encoder of an experiment, by its name in plans."""
        return Session(experiment, (), self.registry, self.settings(self.place / "home")).load_input(encoder)

    def input_shapes(self, experiment: Experiment) -> dict[str, Shape]:
        """Return the shapes of an experiment's input encoders, by their names in plans; each is loaded once."""
        from xlbench.students.surgery import encoder_shape

        shapes = {}
        for name, key in input_encoders(experiment).items():
            if key not in SHAPES:
                SHAPES[key] = encoder_shape(self.load_input(experiment, name))
            shapes[name] = SHAPES[key]
        return shapes

    def run(
        self,
        method: str,
        home: Path,
        changes: Mapping[str, object] = {},
        say: Callable[[str], None] = lambda _: None,
    ) -> CompletedRun:
        """Carry out a method's plan with its store in ``home``, without a network.

        Raises:
            XlbenchError: The plan is not valid, or a stage cannot be made.
        """
        from xlbench.distill.engine import encoder_keys, run_plan
        from xlbench.runs.session import prepare_process

        settings = self.settings(home)
        prepare_process(settings)
        experiment, corpora = self.experiment(method, changes)
        plan = self.plan(experiment)
        # Outside of watch(): here the harness reads the canaries, to keep them out of the corpus.
        corpus = Session(experiment, corpora, self.registry, settings).corpus()
        notes: list[str] = []

        def report(note: str) -> None:
            notes.append(note)
            say(note)

        # The corpus's own files hold the planted canaries too: pairs come from the context.
        with watch(CANARIES, self.place / "corpus") as seen, vectors_at_saving() as vectors:
            keys = encoder_keys(plan, experiment)
            distilled = run_plan(
                plan,
                keys,
                experiment,
                lambda: corpus,
                lambda source: self.load_input(experiment, source),
                settings,
                report,
            )
        return CompletedRun(plan, distilled, corpus, vectors, tuple(notes), seen)


@contextmanager
def vectors_at_saving() -> Iterator[dict[str, np.ndarray]]:
    """Encode PROBE with every stage's encoder just before it is saved; yields the vectors by stage key."""
    from xlbench.students import load

    vectors: dict[str, np.ndarray] = {}
    save = load.save_student

    def keep(model: SentenceTransformer, path: Path) -> None:
        vectors[path.parent.name.removeprefix("stages-")] = model.encode(PROBE)
        save(model, path)

    with mock.patch.object(load, "save_student", keep):
        yield vectors


def make_bench(place: Path, plugins: tuple[Path, ...] = ()) -> Bench:
    """Write toy encoders and a toy corpus with canaries planted into an empty directory."""
    import torch

    # Weights large enough for sentences to differ: the students are hardly trained.
    # As in real ones, most of an assistant's parameters are token embeddings, and most of those are never read.
    save_toy_encoder(place / "assistant", scale=1.0, rows=1000)
    save_toy_encoder(place / "teacher", seed=1, scale=1.0, rows=1000)
    write_toy_corpus(place / "corpus", PAIRS)
    planted = [line.rpartition("\t")[0] + "\n" for line in CANARIES.read_text("utf-8").splitlines()]
    with (place / "corpus" / "en-de.tsv").open("a", encoding="utf-8") as stream:
        stream.writelines(planted)
    return Bench(place, plugins, torch.get_num_threads())
