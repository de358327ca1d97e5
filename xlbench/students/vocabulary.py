"""Training on the rows of the word table that the corpus uses, and putting them back.

A step over a 250,037-row table spends most of its optimiser time on rows that no sentence of the corpus touches.
Training a table of the used rows alone gives the same gradients; the untouched rows keep their values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from xlbench.students.architecture import BottleneckEmbedding

if TYPE_CHECKING:
    import numpy as np
    from transformers import BertModel, XLMRobertaModel


def word_table(model: BertModel | XLMRobertaModel) -> nn.Embedding:
    """Return the table that token ids index: V x H, or V x B under a bottleneck."""
    words = model.embeddings.word_embeddings
    table: nn.Embedding = words.table if isinstance(words, BottleneckEmbedding) else words
    return table


def set_word_table(model: BertModel | XLMRobertaModel, rows: torch.Tensor, padding: int | None) -> None:
    """Exchange the table that token ids index; its width stays.

    Args:
        model: Changed in place.
        rows: Float [tokens, width], of which the table takes possession.
        padding: The row whose gradient stays zero, if any.
    """
    table: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        rows.detach(), freeze=False, padding_idx=padding
    )
    words = model.embeddings.word_embeddings
    if isinstance(words, BottleneckEmbedding):
        words.table = table
    else:
        model.embeddings.word_embeddings = table


def shrink_table(model: BertModel | XLMRobertaModel, used: np.ndarray) -> torch.Tensor:
    """Leave only the rows of the ``used`` token ids, in that order, and return the full table.

    Args:
        model: Changed in place; from now on it takes positions in ``used`` instead of token ids.
        used: Distinct token ids, ascending, int [U]; all ids up to the padding token's, which so stays itself.

    Returns:
        The table as it was, float32 [V, width], for :func:`restore_table`.
    """
    old = word_table(model)
    rows = torch.as_tensor(used, dtype=torch.long)
    set_word_table(model, old.weight[rows], old.padding_idx)
    return old.weight.detach()


def restore_table(model: BertModel | XLMRobertaModel, full: torch.Tensor, used: np.ndarray) -> None:
    """Undo :func:`shrink_table`, with the trained rows in their places."""
    small = word_table(model)
    rows = full.clone()
    rows[torch.as_tensor(used, dtype=torch.long)] = small.weight.detach().cpu()
    set_word_table(model, rows, small.padding_idx)
