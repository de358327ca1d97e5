"""A session: the corpus, sample sentences and encoders of one experiment, each loaded at most once."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from xlbench.corpora.overlap import near_duplicates, text_key
from xlbench.corpora.prepare import prepare
from xlbench.encoders.find import load_encoder
from xlbench.errors import XlbenchError
from xlbench.fingerprint import fingerprint
from xlbench.progress import progress
from xlbench.scoring.data import require_data
from xlbench.scoring.tasks import evaluation_digest, evaluation_texts, task_texts
from xlbench.settings import check_writable
from xlbench.store import get_or_build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.corpora.facts import CorpusFacts
    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.experiment import EncoderRef, Experiment, Suite
    from xlbench.fingerprint import Json
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings
    from xlbench.store import Entry


def check_ready(suites: Iterable[Suite], settings: Settings) -> None:
    """Refuse work whose result could neither be scored nor kept.

    Raises:
        XlbenchError: The store cannot be written to, or the data of a suite is nowhere.
    """
    check_writable(settings.home, f"The store '{settings.home}' cannot be written", "Give --home another directory.")
    require_data(suites, settings)


def prepare_process(settings: Settings) -> None:
    """Set threads and memory, and register the student classes with transformers, so that it can load students.

    Raises:
        XlbenchError: Training cannot be compiled as is asked.
    """
    from xlbench.encoders.runtime import apply_threads, choose_device, explain_compile, keep_memory
    from xlbench.students.architecture import register

    if settings.compile_training:
        explain_compile(choose_device(settings), "bfloat16", settings)  # fail before any work if it cannot be compiled
    apply_threads(settings)
    keep_memory()
    register()


KIND, VERSION = "near-duplicates", 1  # of the store entry; raise the version when the meaning of the shares changes
NEAR_DUPLICATES = "looking for near-duplicates of test sentences"  # title of the progress bar
SPEED_SAMPLE = 192  # sentences


def say_pairs(facts: CorpusFacts, say: Callable[[str], None]) -> None:
    """Tell what became of the pairs that were read, and what looks wrong with them."""
    say(facts.summary())
    for warning in facts.warnings:
        say(warning)


def tested_keys(suites: Iterable[Suite], settings: Settings) -> set[int]:
    """Return the keys of all sentences of some suites, on which nothing is trained and nothing is chosen.

    Raises:
        XlbenchError: A task cannot be found or read.
    """
    return {text_key(text) for text in evaluation_texts(suites, settings)}


def speed_sample(suite: Suite, settings: Settings) -> list[str]:
    """Return sentences of a suite for the measurement of speed, of mixed lengths."""
    texts = sorted(set(evaluation_texts((suite,), settings)))
    return texts[:: max(1, len(texts) // SPEED_SAMPLE)][:SPEED_SAMPLE]


class Session:
    """Loads the corpus, a sample of the suite's sentences and the encoders of a run, each at most once."""

    def __init__(
        self,
        experiment: Experiment,
        corpora: Sequence[OpenCorpus],
        registry: Registry,
        settings: Settings,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.say = say
        self.experiment = experiment
        self.registry = registry
        self.settings = settings
        self.corpora = corpora
        self.corpus = cache(self._corpus)
        self.facts = cache(self._facts)
        self.sample = cache(partial(speed_sample, experiment.suite, settings))
        self.baseline = cache(partial(self.load_input, "assistant"))

    def _corpus(self) -> PreparedCorpus:
        excluded = partial(tested_keys, self.experiment.kept_out, self.settings)
        prepared = prepare(self.experiment.data, self.corpora, excluded, self.settings)
        say_pairs(prepared.facts, self.say)
        return prepared

    def _facts(self) -> CorpusFacts:
        """Return the facts about the corpus for a record, with the share of near-duplicates of test sentences."""
        corpus, suite = self.corpus(), self.experiment.suite
        key: Json = {"corpus": corpus.digest, "suite": evaluation_digest((suite,), self.settings), "version": VERSION}

        def build(directory: Path) -> dict[str, Json]:
            tested = {task.name: task_texts(task, self.settings) for task in suite.tasks}
            total = len(corpus.sentences)
            with progress(NEAR_DUPLICATES, total, quiet=self.settings.quiet, unit="sentences") as advance:
                return {"shares": near_duplicates(tested, corpus.sentences, advance)}

        home, quiet = self.settings.home, self.settings.quiet
        name = fingerprint(key)
        entry = get_or_build(home, KIND, name, build, doing=NEAR_DUPLICATES, quiet=quiet, check=_shares)
        return corpus.facts.model_copy(update={"near_duplicates": _shares(entry)})

    def load_input(self, encoder: str) -> SentenceTransformer:
        """Load a teacher or the assistant as a new copy, which the caller may change."""
        return load_encoder(self.reference(encoder), self.registry.encoders, self.settings)

    def reference(self, encoder: str) -> EncoderRef:
        """Return the encoder that the plan calls by this name, e.g. 'teacher:1'."""
        if encoder == "assistant":
            return self.experiment.assistant
        return self.experiment.teachers[int(encoder.partition(":")[2] or 0)]


def _shares(entry: Entry) -> dict[str, float]:
    """Return the shares of near-duplicates by task that an entry of the store keeps.

    Raises:
        XlbenchError: It keeps none.
    """
    shares = entry.manifest.facts.get("shares")
    if not isinstance(shares, dict):
        raise XlbenchError("it holds no shares", "Run again: it is then made anew.")
    found = {name: float(share) for name, share in shares.items() if isinstance(share, int | float)}
    if len(found) < len(shares):
        raise XlbenchError("its shares are no numbers", "Run again: it is then made anew.")
    return found
