"""Dropping the tokens that a corpus never uses, from the word table and from the tokenizer alike.

Source: Abdaoui et al. (2020), 'Load What You Need'; Ushio et al. (2023) for several languages at once. What is
kept is chosen by :mod:`xlbench.students.pieces`, so that every sentence that was counted still has the same tokens.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer

from xlbench.errors import XlbenchError
from xlbench.students.architecture import BottleneckEmbedding
from xlbench.students.vocabulary import Vocabulary, chosen_rows, embedding_table, set_token_embeddings, token_embeddings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import BertModel, PreTrainedTokenizerFast, XLMRobertaModel


def trim_tokenizer(
    tokenizer: PreTrainedTokenizerFast, kept: NDArray[np.int64]
) -> tuple[PreTrainedTokenizerFast, NDArray[np.int64]]:
    """Return the tokenizer with the kept tokens alone, and which old id each of its ids was.

    Args:
        tokenizer: Left as it is.
        kept: What :func:`xlbench.students.pieces.kept_tokens` returned.

    Raises:
        XlbenchError: The tokenizer is of another kind.
    """
    from transformers import PreTrainedTokenizerFast

    vocabulary = Vocabulary(tokenizer)
    wanted = set(kept.tolist())
    # Tokens that only were added follow those of the model, where `tokenizers` puts them.
    inner = sorted(number for number in vocabulary.pieces.values() if number in wanted)
    outer = sorted(set(vocabulary.added.values()) - set(vocabulary.pieces.values()))
    old = np.array([*inner, *outer], np.int64)
    new = {number: place for place, number in enumerate(old.tolist())}
    model, settings = vocabulary.model, vocabulary.settings
    if vocabulary.kind == "Unigram":
        model["vocab"] = [model["vocab"][number] for number in inner]
        model["unk_id"] = new[model["unk_id"]]
    else:
        model["vocab"] = {piece: new[number] for piece, number in vocabulary.pieces.items() if number in wanted}
    for token in settings["added_tokens"]:
        token["id"] = new[token["id"]]
    _renumber(settings["post_processor"], new)
    settings["truncation"] = settings["padding"] = None  # how it was called last; no part of what it is
    trimmed = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(json.dumps(settings)),
        **tokenizer.special_tokens_map,
        model_max_length=tokenizer.model_max_length,
        model_input_names=list(tokenizer.model_input_names),
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        clean_up_tokenization_spaces=False,
    )
    return trimmed, old


def _renumber(processor: dict[str, Any] | None, new: dict[int, int]) -> None:
    """Give the special tokens that a post-processor adds their new ids, in its description."""
    if processor is None:
        return
    for part in processor.get("processors") or ():  # a sequence of them
        _renumber(part, new)
    for end in ("sep", "cls"):  # BertProcessing, RobertaProcessing
        if end in processor:
            text, number = processor[end]
            processor[end] = [text, new[number]]
    if processor["type"] == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [new[number] for number in token["ids"]]


def keep_rows(model: BertModel | XLMRobertaModel, old: NDArray[np.int64]) -> None:
    """Leave the word table's rows of the old ids, in that order; ids in the configuration follow.

    Args:
        model: Stock or student, with or without a bottleneck; changed in place.
        old: Which token each new id was, int [tokens].

    Raises:
        XlbenchError: The table has no row for one of them.
    """
    table = embedding_table(model)
    if int(old.max()) >= table.num_embeddings:
        raise XlbenchError(
            f"The tokenizer has a token {old.max()}, beyond a word table of {table.num_embeddings} rows.",
            "Use the tokenizer that belongs to the encoder.",
        )
    new = {number: place for place, number in enumerate(old.tolist())}
    padding = None if table.padding_idx is None else new.get(table.padding_idx)
    kept = chosen_rows(token_embeddings(model), torch.as_tensor(old), padding)
    set_token_embeddings(model, kept)
    model.config.vocab_size = len(old)
    if isinstance(kept, BottleneckEmbedding):
        model.config.frequent = kept.frequent
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id"):
        number = getattr(model.config, name, None)
        if number is not None:
            setattr(model.config, name, new.get(number))
