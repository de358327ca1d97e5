"""Training on the rows of the word table that the corpus uses, and putting them back.

A step over a 250,037-row table spends most of its optimiser time on rows that no sentence of the corpus touches.
Training a table of the used rows alone gives the same gradients; the untouched rows keep their values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

import torch
from torch import nn

from xlbench.students.architecture import BottleneckEmbedding

if TYPE_CHECKING:
    import numpy as np
    from transformers import BertModel, XLMRobertaModel

Words: TypeAlias = "nn.Embedding | BottleneckEmbedding"


def words_of(model: BertModel | XLMRobertaModel) -> Words:
    """Return what gives token ids their embeddings."""
    return cast("Words", model.embeddings.word_embeddings)


def set_words(model: BertModel | XLMRobertaModel, words: Words) -> None:
    """Exchange what gives token ids their embeddings; the configuration is not touched."""
    model.embeddings.set_submodule("word_embeddings", words)


def word_table(model: BertModel | XLMRobertaModel) -> nn.Embedding:
    """Return the table that token ids index: V x H, or V x B under a bottleneck."""
    return _table(words_of(model))


def _table(words: Words) -> nn.Embedding:
    return words.table if isinstance(words, BottleneckEmbedding) else words


def chosen_rows(words: Words, tokens: torch.Tensor, padding: int | None) -> Words:
    """Return what gives some of the tokens the same embeddings.

    Args:
        words: Of all tokens; left as it is, but its B -> H map is shared.
        tokens: Distinct token ids, int64 [U]; their positions are the new ids.
        padding: The new id whose gradient stays zero, if any.
    """
    table: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        _table(words).weight.detach()[tokens], freeze=False, padding_idx=padding
    )
    if not isinstance(words, BottleneckEmbedding):
        return table
    places = tokens.new_zeros(len(tokens)) if words.correction is None else words.place[tokens].long()
    corrected = places.nonzero().flatten()
    rows, width = table.weight.shape
    few = BottleneckEmbedding(rows, width, words.up.out_features, padding, len(corrected))
    few.table, few.up = table, words.up
    if words.correction is not None:
        few.correct(corrected, words.correction.weight[places[corrected]])
    return few


def shrink_table(model: BertModel | XLMRobertaModel, used: np.ndarray) -> Words:
    """Leave only the rows of the ``used`` token ids, in that order, and return what was there.

    Args:
        model: Changed in place; from now on it takes positions in ``used`` instead of token ids.
        used: Distinct token ids, ascending, int [U]; all ids up to the padding token's, which so stays itself.

    Returns:
        The words as they were, for :func:`restore_table`.
    """
    full = words_of(model)
    set_words(model, chosen_rows(full, torch.as_tensor(used, dtype=torch.long), _table(full).padding_idx))
    return full


def restore_table(model: BertModel | XLMRobertaModel, full: Words, used: np.ndarray) -> None:
    """Undo :func:`shrink_table`, with the trained rows in their places."""
    few, tokens = words_of(model), torch.as_tensor(used, dtype=torch.long)
    with torch.no_grad():
        _table(full).weight[tokens] = _table(few).weight.detach().cpu()
        if (
            isinstance(full, BottleneckEmbedding)
            and isinstance(few, BottleneckEmbedding)
            and few.correction is not None
        ):
            assert full.correction is not None
            # Of tokens without a correction it is row 0 in both, which is zero.
            full.correction.weight[full.place[tokens].long()] = few.correction(few.place).detach().cpu()
    set_words(model, full)
