"""The edit that drops the tokens which the corpus never uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.tokens import TokenTable
    from xlbench.distill.context import StageContext
    from xlbench.students.shape import Shape

LONGEST = 512  # tokens; no BERT or XLM-R reads more
LANGUAGES = "languages"  # metadata: the languages that a trimmed encoder supports


class TrimVocabulary(Frozen):
    """Drop the tokens that no sentence of the corpus has, from the token embeddings and the tokenizer.

    With a ``min_count`` of 1 every sentence of the corpus, dev ones included, keeps its tokens and so its vector. Other
    languages are given up: the artifact's metadata ``languages`` says which ones it kept. Source: Abdaoui et al.
    (2020), 'Load What You Need'.
    """

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
        table = context.tokens(model, min(model.max_seq_length or LONGEST, LONGEST))
        kept = choose_tokens(
            tokenizer,
            _counts(table, Vocabulary(tokenizer).size()),
            least=self.min_count,
            characters=self.keep_characters,
            # XLM-R counts positions from the padding token's id on.
            below=(encoder.config.pad_token_id or 0) + 1 if isinstance(encoder, XLMRobertaModel) else 0,
        )
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
