"""The data and the encoders of one experiment."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from xlbench.corpora.folding import text_key
from xlbench.corpora.prepare import prepare
from xlbench.encoders.sources import load_encoder
from xlbench.scoring.tasks import evaluation_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.corpora.sources import OpenCorpus
    from xlbench.experiment import EncoderRef, Experiment
    from xlbench.plugins import Registry
    from xlbench.settings import Settings

SPEED_SAMPLE = 192  # sentences


class Session:
    """What a run loads at most once: its corpus, a sample of its suite, the encoders that it was given."""

    def __init__(
        self, experiment: Experiment, corpora: Sequence[OpenCorpus], registry: Registry, settings: Settings
    ) -> None:
        self.experiment = experiment
        self.registry = registry
        self.settings = settings
        self.corpora = corpora
        self.corpus = cache(self._corpus)
        self.sample = cache(self._sample)
        self.baseline = cache(partial(self.load_given, "assistant"))

    def _corpus(self) -> PreparedCorpus:
        def excluded() -> set[int]:
            return {text_key(text) for text in evaluation_texts(self.experiment.kept_out, self.settings)}

        return prepare(self.experiment.data, self.corpora, excluded, self.settings)

    def _sample(self) -> list[str]:
        """Return sentences of the suite, of mixed length, spread evenly over it."""
        texts = sorted(set(evaluation_texts((self.experiment.suite,), self.settings)))
        return texts[:: max(1, len(texts) // SPEED_SAMPLE)][:SPEED_SAMPLE]

    def load_given(self, source: str) -> SentenceTransformer:
        """Load an encoder that was given, anew: who asks may change it."""
        return load_encoder(self.reference(source), self.registry.encoders, self.settings)

    def reference(self, source: str) -> EncoderRef:
        """Return which encoder a source of the plan is."""
        if source == "assistant":
            return self.experiment.assistant
        return self.experiment.teachers[int(source.partition(":")[2] or 0)]
