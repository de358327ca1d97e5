"""What edits and training work with: the corpus, the encoders that came before, and their targets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xlbench.corpora.tokens import tokenise
from xlbench.distill.targets import TargetTable, target_table
from xlbench.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.corpora.tokens import TokenTable
    from xlbench.distill.objectives import Target
    from xlbench.experiment import Precision
    from xlbench.fingerprint import Json
    from xlbench.settings import Settings


@dataclass(frozen=True)
class StageContext:
    """Everything a stage may use beside its own settings.

    Attributes:
        corpus: Prepared pairs, dev pairs apart.
        settings: Paths and switches.
        precision: What encoders compute in.
        keys: Fingerprint of every encoder.
        load: Loads an encoder by name.
        metadata: What is to be known of the artifact that is being made; at first that of its start.
        targets_used: Keys of the targets that were asked for.
    """

    corpus: PreparedCorpus
    settings: Settings
    precision: Precision
    keys: Mapping[str, str]
    load: Callable[[str], SentenceTransformer]
    metadata: dict[str, Json] = field(default_factory=dict)
    targets_used: list[str] = field(default_factory=list)

    def annotate(self, name: str, value: Json) -> None:
        """Note what a reader of boards must know of the artifact, e.g. the languages that it kept.

        It is kept with the artifact, with all that later stages make of it, and in records.
        """
        self.metadata[name] = value

    def tokens(self, model: SentenceTransformer, max_tokens: int = 128) -> TokenTable:
        """Return the corpus in ``model``'s token ids, encoded once for all that share its tokenizer."""
        # What a call last cut or padded to is a state of the tokenizer, and no part of what it is.
        backend = {**json.loads(model.tokenizer.backend_tokenizer.to_str()), "truncation": None, "padding": None}
        return tokenise(self.corpus, model.tokenizer, fingerprint(backend), max_tokens, self.settings)

    def targets(
        self, target: Target, max_tokens: int = 128, sentences: NDArray[np.integer] | None = None
    ) -> TargetTable:
        """Return the vectors of a target, computed once per encoder and corpus.

        Args:
            target: Which vectors.
            max_tokens: Where sentences are cut.
            sentences: Ids of the sentences that will be looked up, ascending; None: all of the corpus.
        """
        table = target_table(
            target,
            key=self.keys[target.encoder],
            load=lambda: self.load(target.encoder),
            corpus=self.corpus,
            sentences=sentences,
            precision=self.precision,
            max_tokens=max_tokens,
            settings=self.settings,
        )
        self.targets_used.append(table.key)
        return table

    def english_sample(self, size: int) -> list[str]:
        """Return up to ``size`` English training sentences, spread evenly over the corpus."""
        return [self.corpus.sentences[index] for index in _spread(self.corpus.english_ids(), size)]

    def sample(self, size: int) -> list[int]:
        """Return up to ``size`` ids of training sentences of both sides, spread evenly over the corpus."""
        return _spread(self.corpus.training_ids(), size)


def _spread(ids: NDArray[np.integer], size: int) -> list[int]:
    chosen = np.linspace(0, len(ids) - 1, min(size, len(ids))).astype(int)
    return [int(index) for index in ids[chosen]]
