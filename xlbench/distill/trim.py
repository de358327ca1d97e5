"""The edit that drops the tokens which the corpus never uses."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, Field

from xlbench.errors import XlbenchError, encoding_errors
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedTokenizerFast

    from xlbench.corpora.prepared import PreparedCorpus
    from xlbench.corpora.tokens import TokenTable
    from xlbench.distill.context import StageContext
    from xlbench.distill.plan import Edit, Plan
    from xlbench.fingerprint import Json
    from xlbench.students.shape import Shape
    from xlbench.students.trimming import Vocabulary

LONGEST = 512  # tokens; no BERT or XLM-R reads more
TEXT = "vocabulary_text"  # metadata: digest of a text in the store whose tokens were counted too
LANGUAGES = "languages"  # metadata: the languages that a trimmed encoder supports
LOSSES = "trimmed"  # metadata: how many tokens are kept, and what sentences that were not counted lose
FEW_PAIRS = 20_000  # of a language; with fewer, its corpus lacks too many of its words
WARN_ABOVE = 0.02  # share of the tokens of sentences that were not counted


class CountText(Frozen):
    """Name a text whose tokens the trimming that follows counts like the corpus's; it leaves the encoder as it is.

    An edit of its own, so that only stages with a text have it in their key.
    """

    tag: ClassVar[str] = "count-text/1"
    text: str = Field(description="Digest of a text in the store.")

    def inputs(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the same shape."""
        return shape

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Write the text's digest into the metadata, where trimming finds it."""
        context.annotate(TEXT, self.text)
        return model


class TrimVocabulary(Frozen):
    """Drop the tokens that no sentence of the corpus has, from the token embeddings and the tokenizer.

    With a ``min_count`` of 1 every sentence of the corpus, dev ones included, keeps its tokens and so its vector. A
    corpus says little of the tokens that other sentences need: of a language with less than :data:`FEW_PAIRS` training
    pairs the tokens of its frequent words stay too. The artifact's metadata ``trimmed`` says what dev pairs would lose
    if they had not been counted. Other languages are given up: the metadata ``languages`` says which ones it kept.
    Source: Abdaoui et al. (2020), 'Load What You Need'.
    """

    # The version is still 1: languages with FEW_PAIRS or more are trimmed as before.
    tag: ClassVar[str] = "trim-vocabulary/1"
    min_count: int = Field(default=1, ge=1, description="Tokens that occur less often are dropped.")
    keep_characters: bool = Field(default=True, description="Keep single characters of the scripts that are used.")

    def inputs(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the shape with a vocabulary that the corpus decides."""
        return shape.with_trimmed_vocabulary()

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Trim the tokenizer and the token embeddings."""
        import numpy as np
        from sentence_transformers.sentence_transformer.modules import Transformer
        from transformers import XLMRobertaModel

        from xlbench.students.surgery import stock_encoder
        from xlbench.students.trimming import (
            Vocabulary,
            choose_tokens,
            pieces_before_unknown,
            trim_embeddings,
            trim_tokenizer,
        )

        encoder, tokenizer = stock_encoder(model), model.tokenizer
        vocabulary = Vocabulary(tokenizer)
        table = context.tokens(model, min(model.max_seq_length or LONGEST, LONGEST))
        added = _text_counts(tokenizer, vocabulary.size(), context)
        # XLM-R counts positions from the padding token's id on.
        below = (encoder.config.pad_token_id or 0) + 1 if isinstance(encoder, XLMRobertaModel) else 0
        floor = _floor(tokenizer, vocabulary, _counts(table, vocabulary.size()), context.corpus)

        def choose(counts: NDArray[np.int64]) -> NDArray[np.int64]:
            kept = choose_tokens(
                tokenizer, counts + added, least=self.min_count, characters=self.keep_characters, below=below
            )
            return np.union1d(kept, floor)

        kept = choose(_counts(table, vocabulary.size()))
        context.annotate(LOSSES, _losses(tokenizer, choose(table.counts(vocabulary.size())), len(kept), table))
        unclear = (context.corpus.sentences[int(row)] for row in _rows_with(table, tokenizer.unk_token_id))
        kept = np.union1d(kept, np.array(sorted(pieces_before_unknown(tokenizer, unclear)), np.int64))
        first = model[0]
        assert isinstance(first, Transformer)
        first.processor, old = trim_tokenizer(tokenizer, kept)
        trim_embeddings(encoder, old)
        context.annotate(LANGUAGES, ["en", *context.corpus.facts.languages])
        return model


def _counts(table: TokenTable, size: int) -> NDArray[np.int64]:
    """Return how often each token occurs in all sentences, int64 [size]."""
    import numpy as np

    counts = np.zeros(size, np.int64)
    for low in range(0, len(table.ids), 1 << 22):
        counts += np.bincount(table.ids[low : low + (1 << 22)], minlength=size)
    return counts


def _rows_with(table: TokenTable, token: int | None) -> NDArray[np.int64]:
    """Return the sentences that a token occurs in, ascending, int64."""
    import numpy as np

    places = np.flatnonzero(table.ids == token) if token is not None else np.empty(0, np.int64)
    return np.unique(np.searchsorted(table.offsets, places, side="right") - 1)


def _text_counts(tokenizer: PreTrainedTokenizerFast, size: int, context: StageContext) -> NDArray[np.int64]:
    """Return how often each token occurs in the text that :class:`CountText` named, int64 [size]; zeros without one."""
    import numpy as np

    from xlbench.corpora.text import read_text

    counts = np.zeros(size, np.int64)
    digest = context.metadata.get(TEXT)
    for lines in read_text(str(digest), context.settings) if digest is not None else ():
        with encoding_errors():
            rows = tokenizer(lines, add_special_tokens=False)["input_ids"]
        for row in rows:
            np.add.at(counts, row, 1)
    return counts


def _floor(
    tokenizer: PreTrainedTokenizerFast, vocabulary: Vocabulary, counts: NDArray[np.int64], corpus: PreparedCorpus
) -> NDArray[np.int64]:
    """Return the tokens that stay whatever the corpus holds: those of frequent words of languages with few pairs."""
    import numpy as np

    from xlbench.students.frequent_words import frequent_words, probable_pieces, word_tokens
    from xlbench.students.trimming import used_scripts

    sizes = {"en": len(corpus.english_ids()), **corpus.facts.train}
    kept: set[int] = set()
    for language in sorted(language for language, pairs in sizes.items() if pairs < FEW_PAIRS):
        words = frequent_words(language)
        kept |= (
            word_tokens(tokenizer, words) if words else probable_pieces(vocabulary, used_scripts(vocabulary, counts))
        )
    return np.array(sorted(kept), np.int64)


def _losses(
    tokenizer: PreTrainedTokenizerFast, kept: NDArray[np.int64], tokens: int, table: TokenTable
) -> dict[str, Json]:
    """Return what dev sentences would lose had they not been counted, by language.

    Args:
        tokenizer: Before trimming.
        kept: The tokens that would be kept without the dev pairs, int64.
        tokens: How many are kept with them.
        table: The tokens of all sentences.
    """
    import numpy as np

    from xlbench.students.trimming import trim_tokenizer

    corpus = table.corpus
    trimmed, _ = trim_tokenizer(tokenizer, kept)
    sides = {"en": np.unique(corpus.dev_pairs[:, 0])}
    for number, language in enumerate(corpus.facts.languages):
        sides[language] = np.unique(corpus.dev_pairs[corpus.dev_languages == number, 1])
    found: dict[str, Json] = {}
    for language, sentences in sides.items():
        texts = [corpus.sentences[int(sentence)] for sentence in sentences]
        with encoding_errors():
            before = tokenizer(texts, add_special_tokens=False)["input_ids"]
            after = trimmed(texts, add_special_tokens=False)["input_ids"]
        ids = np.array([token for row in before for token in row], np.int64)
        words = max(1, sum(len(text.split()) for text in texts))
        found[language] = {
            "lost": float(1 - np.isin(ids, kept).mean()) if len(ids) else 0.0,
            "pieces_before": len(ids) / words,
            "pieces_after": sum(map(len, after)) / words,
        }
    return {"tokens": tokens, "of": len(tokenizer), "dev": found}


def describe_losses(metadata: Mapping[str, Json]) -> str | None:
    """Return a line on what trimming lost, from a stage's metadata; None for an encoder that was not trimmed."""
    losses = metadata.get(LOSSES)
    if not isinstance(losses, dict):
        return None
    dev = losses["dev"]
    worst = max(dev, key=lambda language: float(dev[language]["lost"]))
    lost, before, after = (float(dev[worst][name]) for name in ("lost", "pieces_before", "pieces_after"))
    line = (
        f"vocabulary: {losses['tokens']:,} of {losses['of']:,} tokens kept; sentences that were not counted lose"
        f" {100 * lost:.1f} % of their tokens in '{worst}', the worst language: {before:.2f} pieces per word before,"
        f" {after:.2f} after (on dev pairs)"
    )
    if lost <= WARN_ABOVE:
        return line
    return f"warning: {line}; count more text with --vocabulary-text FILE, or train on more pairs"


def with_text(plan: Plan, digest: str) -> Plan:
    """Return a plan whose trimming also counts the tokens of a text.

    Raises:
        XlbenchError: Nothing in the plan trims a vocabulary.
    """
    count = CountText(text=digest)
    stages = tuple(
        dataclasses.replace(stage, edits=(count, *stage.edits)) if any(map(_trims, stage.edits)) else stage
        for stage in plan.stages
    )
    if stages == plan.stages:
        raise XlbenchError(
            "A vocabulary text was given, but this method and its options trim no vocabulary.",
            "Add -o trim=true, or choose the method vocab-trim.",
        )
    return dataclasses.replace(plan, stages=stages)


def _trims(edit: Edit) -> bool:
    """Return whether an edit trims a vocabulary, itself or by one that it holds."""
    if isinstance(edit, TrimVocabulary):
        return True
    held = (getattr(edit, name) for name in type(edit).model_fields) if isinstance(edit, BaseModel) else ()
    return any(isinstance(it, TrimVocabulary) for it in held)
