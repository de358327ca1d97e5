"""What is timed: pairs and sentences of the data root's corpora or the starter's, and the minilm-half student."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from xlbench.corpora.prepare import prepare
from xlbench.corpora.tokens import TokenTable, tokenise
from xlbench.distill.context import StageContext
from xlbench.distill.engine import input_encoders
from xlbench.distill.objectives import PullToTarget
from xlbench.distill.plan import Stage, Training
from xlbench.distill.stages import english_target
from xlbench.encoders.find import load_encoder
from xlbench.encoders.runtime import choose_device
from xlbench.fingerprint import fingerprint
from xlbench.runs.job import make_plan
from xlbench.runs.request import Request
from xlbench.runs.resolve import resolve
from xlbench.students.load import load_student, save_student
from xlbench.students.surgery import stock_encoder, transformer_shape

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.experiment import Experiment, Precision
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings
    from xlbench.students.shape import Shape

LANGUAGES = ("ar", "de", "es", "fr", "it", "nl", "tr")  # the paper's
MAX_TOKENS = 128
DEV_PAIRS = 210


@dataclass(frozen=True)
class TimedContext(StageContext):
    """A context with few pairs and the token counts of many.

    A trainer may leave out rows of the embedding table that no sentence of the corpus uses. With a few hundred pairs
    that would be nearly all of them, unlike with any real corpus: so the tokens are those of the whole corpus.

    Attributes:
        whole: The corpus that the pairs were taken from.
    """

    whole: PreparedCorpus = field(kw_only=True)

    def tokens(self, model: SentenceTransformer, max_tokens: int = MAX_TOKENS, *, prompted: bool = True) -> TokenTable:
        """Return the whole corpus's tokens; the benchmark's encoders have no prompt."""
        del prompted
        backend = fingerprint(model.tokenizer.backend_tokenizer.to_str())
        return tokenise(self.whole, model.tokenizer, backend, max_tokens, self.settings)


@dataclass(frozen=True)
class Material:
    """What several parts of the benchmark share.

    Attributes:
        settings: Paths and switches; the store is the benchmark's own.
        registry: What plugins provide.
        work: A directory for the benchmark's files.
        experiment: The single-stage one, whose student is minilm-half and whose teacher is the assistant.
        corpus: Up to 8,000 pairs of each language.
        source: Where the pairs come from, for readers.
        batch_size: Pairs in a step.
    """

    settings: Settings
    registry: Registry
    work: Path
    experiment: Experiment
    corpus: PreparedCorpus
    source: str
    batch_size: int

    @property
    def precision(self) -> Precision:
        """What this machine computes in."""
        return self.experiment.precision

    @cached_property
    def device(self) -> str:
        """Where everything runs."""
        return choose_device(self.settings)

    def assistant(self) -> SentenceTransformer:
        """Load multilingual-e5-small: 12 layers, H = 384; the teacher of all contenders too."""
        return load_encoder(self.experiment.assistant, self.registry.encoders, self.settings)

    @cached_property
    def student_path(self) -> Path:
        """Cut the student once; every repetition loads it anew."""
        path = self.work / "student"
        plan = make_plan(self.experiment, self.registry.methods[self.experiment.method])
        stage = plan.stage(plan.result)
        assert stage is not None
        model, context = self.assistant().to("cpu"), self.context(self.batch_size)
        for edit in stage.edits:
            model = edit.apply(model, context)
        save_student(model, path)
        return path

    def student(self) -> SentenceTransformer:
        """Load the student on the device, without dropout: the same mathematics for every contender."""
        from torch import nn

        model = load_student(self.student_path).to(self.device)
        for part in model.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        return model

    @cached_property
    def shape(self) -> Shape:
        """The student's shape."""
        return transformer_shape(stock_encoder(load_student(self.student_path)))

    def context(self, pairs: int) -> TimedContext:
        """Return a context with the first ``pairs`` pairs of the corpus, whose order mixes the languages."""
        whole = self.corpus
        step = max(1, len(whole.dev_pairs) // DEV_PAIRS)
        few = replace(
            whole,
            digest=fingerprint({"corpus": whole.digest, "pairs": pairs, "step": step}),
            pairs=whole.pairs[:pairs],
            languages=whole.languages[:pairs],
            dev_pairs=whole.dev_pairs[::step],
            dev_languages=whole.dev_languages[::step],
        )
        return TimedContext(
            corpus=few,
            settings=self.settings,
            precision=self.precision,
            keys=input_encoders(self.experiment),
            load=lambda _: self.assistant(),
            whole=whole,
        )

    def stage(self, pairs: int, seed: int = 0) -> Stage:
        """Return the stage that all contenders train: both sides pulled to the assistant's English vector."""
        taught = Training(
            objectives=(PullToTarget(target=english_target("teacher")),),
            pairs=pairs,
            seed=seed,
            batch_size=self.batch_size,
            learning_rate=3e-4,
            evaluations=1,
            max_tokens=MAX_TOKENS,
        )
        return Stage("student", "assistant", (), taught)

    def texts(self, pairs: NDArray[np.integer]) -> tuple[list[str], list[str]]:
        """Return the English and the other sides of some pairs."""
        sentences = self.corpus.sentences
        english_side, other = ([sentences[int(index)] for index in pairs[:, side]] for side in (0, 1))
        return english_side, other


def gather(settings: Settings, registry: Registry, work: Path, *, quick: bool) -> Material:
    """Prepare the pairs.

    Args:
        settings: The data root, if there is one.
        registry: What plugins provide.
        work: A directory for the benchmark's files.
        quick: Only enough to see that everything works.
    """
    corpora: tuple[str, ...] = ("starter",)
    languages: tuple[str, ...] = ()
    source = "the starter corpus"
    if parallel := parallel_corpora(settings):
        cap = "?cap=200" if quick else ""
        corpora = tuple(f"tsv:{path.name}{cap}" for path in parallel)
        languages = LANGUAGES
        source = f"{len(parallel)} corpora of the data root"
    request = Request(
        method="single-stage",
        corpus=corpora,
        languages=languages,
        budget="minutes",
        pairs_per_language=60 if quick else None,
        options={"centre": False},
    )
    (experiment,), opened = resolve(request, registry, settings)
    corpus = prepare(experiment.data, opened, partial(set[int]), settings)
    return Material(settings, registry, work, experiment, corpus, source, 8 if quick else 64)


def parallel_corpora(settings: Settings) -> list[Path]:
    """Return the directories of pairs under the data root."""
    root = settings.data_root
    return sorted(path for path in root.glob("parallel/*") if path.is_dir()) if root else []
