"""The stage context: the corpus, the other encoders of the plan and their targets, for edits and training."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xlbench.corpora.tokens import tokenise
from xlbench.distill.blended_targets import KNOWN, blended_table
from xlbench.distill.targets import TargetTable, target_table
from xlbench.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.corpora.tokens import TokenTable
    from xlbench.distill.blend import Blend
    from xlbench.distill.objectives import Target
    from xlbench.experiment import Precision
    from xlbench.fingerprint import Json
    from xlbench.settings import Settings


@dataclass(frozen=True)
class StageContext:
    """Everything that a stage may use besides its own settings.

    Attributes:
        corpus: Prepared pairs, with the dev pairs apart.
        settings: Paths and switches.
        precision: Number type that encoders compute in.
        keys: Fingerprint of every encoder of the plan, by name.
        load: Loads an encoder of the plan by name, a new object at each call.
        metadata: What readers of boards must know about the encoder that the stage leaves; at first the metadata of the
            encoder that it starts from. Changed by :meth:`annotate`.
        targets_used: Store keys of the targets that the stage has read.
        names: What the user called the input encoders, by their names in the plan.
        start: What the encoder is called that the stage starts from, for errors.
        group: What trackers call the stages of one student together.
        place: Which of the plan's stages this is: '2 of 5'.
        blends: The plan's blends of teachers, by name.
    """

    corpus: PreparedCorpus
    settings: Settings
    precision: Precision
    keys: Mapping[str, str]
    load: Callable[[str], SentenceTransformer]
    metadata: dict[str, Json] = field(default_factory=dict)
    targets_used: list[str] = field(default_factory=list)
    names: Mapping[str, str] = field(default_factory=dict)
    start: str = "encoder"
    group: str = "xlbench"
    place: str = ""
    blends: Mapping[str, Blend] = field(default_factory=dict)

    def annotate(self, name: str, value: Json) -> None:
        """Add metadata that readers of boards must know about the encoder, e.g. the languages that it kept.

        It is saved with the encoder, taken over by later stages that start from it, and written to records.

        Args:
            name: Name of the entry; an earlier value is replaced.
            value: Any value that can be written as JSON.
        """
        self.metadata[name] = value

    def tokens(self, model: SentenceTransformer, max_tokens: int = 128, *, prompted: bool = True) -> TokenTable:
        """Return the corpus as the token ids that ``model`` reads, computed once per tokenizer and kept in the store.

        Args:
            model: The encoder whose tokenizer, prompt and longest sentence are used.
            max_tokens: Longer sentences are cut to this many tokens, prompt and special tokens included.
            prompted: Whether its prompt stands before the sentences.
        """
        from tokenizers import Tokenizer

        from xlbench.encoders.pipeline import pipeline_of
        from xlbench.students.static import static_tokenizer

        pipeline, tokenizer = pipeline_of(model), model.tokenizer
        if isinstance(tokenizer, Tokenizer):
            tokenizer = static_tokenizer(tokenizer)
        # The lengths of the tokenizer's last call are part of its description, but must not change the key.
        backend = {**json.loads(tokenizer.backend_tokenizer.to_str()), "truncation": None, "padding": None}
        limit, prompt = pipeline.limit(max_tokens) or max_tokens, pipeline.prompt if prompted else ""
        return tokenise(self.corpus, tokenizer, fingerprint(backend), limit, self.settings, prompt)

    def targets(
        self, target: Target, max_tokens: int = 128, sentences: NDArray[np.integer] | None = None
    ) -> TargetTable:
        """Return the vectors of a target, computed once per encoder and corpus and kept in the store.

        What is known of a blend of teachers is added to the metadata.

        Args:
            target: The encoder, side and level of the vectors.
            max_tokens: Longer sentences are cut to this many tokens.
            sentences: Ids of the sentences that will be looked up, int [n], ascending; None for all of the corpus.
        """
        if (blend := self.blends.get(target.encoder)) is not None:
            return self._blended(blend, max_tokens)
        table = target_table(
            target,
            key=self.keys[target.encoder],
            load=lambda: self.load(target.encoder),
            corpus=self.corpus,
            sentences=sentences,
            precision=self.precision,
            max_tokens=max_tokens,
            settings=self.settings,
            name=self.names.get(target.encoder, ""),
        )
        self.targets_used.append(table.key)
        return table

    def _blended(self, blend: Blend, max_tokens: int) -> TargetTable:
        table, facts = blended_table(
            blend,
            keys=self.keys,
            table_of=lambda target, sentences: self.targets(target, max_tokens, sentences),
            corpus=self.corpus,
            sample=np.array(_evenly_spaced(self.corpus.english_ids(), blend.sample)),
            precision=self.precision,
            max_tokens=max_tokens,
            settings=self.settings,
        )
        read = facts["targets"]
        assert isinstance(read, list)
        self.targets_used.extend(map(str, [*read, table.key]))
        self.annotate(blend.name, {name: facts[name] for name in KNOWN})
        return table

    def english_sample(self, size: int) -> list[str]:
        """Return up to ``size`` English training sentences, evenly spaced over the corpus."""
        return [self.corpus.sentences[index] for index in _evenly_spaced(self.corpus.english_ids(), size)]

    def sample(self, size: int) -> list[int]:
        """Return the ids of up to ``size`` training sentences of both sides, evenly spaced over the corpus."""
        return _evenly_spaced(self.corpus.training_ids(), size)


def _evenly_spaced(ids: NDArray[np.integer], size: int) -> list[int]:
    chosen = np.linspace(0, len(ids) - 1, min(size, len(ids))).astype(int)
    return [int(index) for index in ids[chosen]]
