"""The share of tokens that a tokenizer does not know: where it is high, an encoder reads nothing that tells apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.errors import encoding_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sentence_transformers import SentenceTransformer

METADATA = "unknown tokens"  # name of these shares in the metadata of a stage, of the corpus's languages
HIGH = 0.1  # of a language's tokens; more is told
SAMPLE = 1000  # sentences of a language, evenly spaced


def unknown_shares(model: SentenceTransformer, sentences: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return the share of unknown tokens of each language in which it is above :data:`HIGH`, 0 to 1.

    Args:
        model: Its tokenizer is asked; one without an unknown token knows everything.
        sentences: Sentences of each language, of which at most :data:`SAMPLE` are read.
    """
    found: dict[str, float] = {}
    for language, texts in sentences.items():
        share = _unknown_share(model.tokenizer, texts[:: max(1, len(texts) // SAMPLE)])
        if share > HIGH:
            found[language] = share
    return found


def _unknown_share(tokenizer: object, texts: Sequence[str]) -> float:
    from transformers import PreTrainedTokenizerBase

    if not isinstance(tokenizer, PreTrainedTokenizerBase) or tokenizer.unk_token_id is None or not texts:
        return _unknown_share_of_static(tokenizer, texts)
    with encoding_errors():
        rows = tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,  # nothing but the ids is used, and the rest takes time too
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
    total = sum(map(len, rows))
    return sum(row.count(tokenizer.unk_token_id) for row in rows) / total if total else 0.0


def _unknown_share_of_static(tokenizer: object, texts: Sequence[str]) -> float:
    """Return the share for a tokenizer of the tokenizers library, which static encoders have."""
    from tokenizers import Tokenizer

    unknown = getattr(getattr(tokenizer, "model", None), "unk_token", None)
    if not isinstance(tokenizer, Tokenizer) or not isinstance(unknown, str) or not texts:
        return 0.0
    with encoding_errors():
        rows = [row.tokens for row in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    total = sum(map(len, rows))
    return sum(row.count(unknown) for row in rows) / total if total else 0.0


def unknown_text(shares: Mapping[str, float]) -> str:
    """Return the shares in words, the highest first: 'ko 71 %, ar 12 %'."""
    ordered = sorted(shares.items(), key=lambda it: (-it[1], it[0]))
    return ", ".join(f"{language} {100 * share:.0f} %" for language, share in ordered)
