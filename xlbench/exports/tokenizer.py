"""The tokenizer of an export: one file that truncates and pads by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def tokenizer_text(model: SentenceTransformer) -> str:
    """Return ``tokenizer.json`` with the encoder's truncation and padding in it, for the `tokenizers` library.

    Raises:
        XlbenchError: The encoder changes sentences before they are cut into tokens, or its tokenizer is of another
            kind.
    """
    first = next(iter(model.children()))
    if model.default_prompt_name is not None or model.truncate_dim is not None:
        raise XlbenchError(
            "An encoder with a default prompt or with truncated vectors cannot be written as ONNX.",
            "Take the prompt away, or export it to 'stock'.",
        )
    if isinstance(first, StaticEmbedding):
        tokenizer = Tokenizer.from_str(first.tokenizer.to_str())
        tokenizer.post_processor = None  # a static encoder is given no special tokens
        tokenizer.no_truncation()
        tokenizer.enable_padding(pad_id=0, pad_token=tokenizer.id_to_token(0))  # any token: the mask leaves it out
        return str(tokenizer.to_str())
    given = model.tokenizer
    if not isinstance(first, Transformer) or not isinstance(given, PreTrainedTokenizerFast):
        raise XlbenchError(
            f"A {type(given).__name__} cannot be written as tokenizer.json.", "Give the encoder a fast tokenizer."
        )
    tokenizer = Tokenizer.from_str(given.backend_tokenizer.to_str())
    tokenizer.enable_padding(
        direction=given.padding_side, pad_id=given.pad_token_id or 0, pad_token=given.pad_token or ""
    )
    tokenizer.no_truncation()
    if model.max_seq_length is not None:
        tokenizer.enable_truncation(model.max_seq_length, direction=given.truncation_side)
    return str(tokenizer.to_str())
