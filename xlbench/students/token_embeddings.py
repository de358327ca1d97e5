"""Token embeddings: selecting rows of the table, and training on those rows alone that the corpus uses.

Most rows of a table of 250,037 are used by no sentence of the corpus, and an optimiser step over the whole table spends
most of its time on them. Training a table of the used rows alone gives those rows the same gradients. The unused rows
keep their values, and the full table is put back after training. All this holds for a static encoder's table as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

import torch
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import nn

from xlbench.students.architecture import BottleneckEmbedding

if TYPE_CHECKING:
    import numpy as np
    from transformers import BertModel, XLMRobertaModel


TokenEmbeddings: TypeAlias = "nn.Embedding | nn.EmbeddingBag | BottleneckEmbedding"
TableOwner: TypeAlias = "BertModel | XLMRobertaModel | StaticEmbedding"


def token_embeddings(model: TableOwner) -> TokenEmbeddings:
    """Return the module that maps token ids to embeddings."""
    if isinstance(model, StaticEmbedding):
        return model.embedding
    return cast("TokenEmbeddings", model.embeddings.word_embeddings)


def set_token_embeddings(model: TableOwner, embeddings: TokenEmbeddings) -> None:
    """Replace the module that maps token ids to embeddings; the model's configuration is not changed."""
    if isinstance(model, StaticEmbedding):
        model.set_submodule("embedding", embeddings)
    else:
        model.embeddings.set_submodule("word_embeddings", embeddings)


def embedding_table(model: TableOwner) -> nn.Embedding | nn.EmbeddingBag:
    """Return the table that token ids index: V x H, or V x B with a bottleneck."""
    return _table(token_embeddings(model))


def padding_id(model: TableOwner) -> int:
    """Return the id of the padding token; 0 where an encoder has none."""
    return 0 if isinstance(model, StaticEmbedding) else int(model.config.pad_token_id or 0)


def _table(embeddings: TokenEmbeddings) -> nn.Embedding | nn.EmbeddingBag:
    return embeddings.table if isinstance(embeddings, BottleneckEmbedding) else embeddings


def select_rows(embeddings: TokenEmbeddings, tokens: torch.Tensor, padding: int | None) -> TokenEmbeddings:
    """Return token embeddings for some of the tokens, with the same values.

    Args:
        embeddings: The embeddings of all tokens; not changed, but the result shares its B -> H map.
        tokens: Distinct token ids, int64 [U]; the token at position i gets the new id i.
        padding: New id of the padding token, whose gradient is zero; None if there is none.
    """
    values = _table(embeddings).weight.detach()[tokens]
    if isinstance(embeddings, nn.EmbeddingBag):
        return nn.EmbeddingBag.from_pretrained(values, freeze=False, mode=embeddings.mode, padding_idx=padding)
    table: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        values, freeze=False, padding_idx=padding
    )
    if not isinstance(embeddings, BottleneckEmbedding):
        return table
    places = tokens.new_zeros(len(tokens)) if embeddings.correction is None else embeddings.place[tokens].long()
    corrected = places.nonzero().flatten()
    rows, width = table.weight.shape
    selected = BottleneckEmbedding(rows, width, embeddings.up.out_features, padding, len(corrected))
    selected.table, selected.up = table, embeddings.up
    if embeddings.correction is not None:
        set_corrections(selected, corrected, embeddings.correction.weight[places[corrected]])
    return selected


def shrink_table(model: TableOwner, used: np.ndarray) -> TokenEmbeddings:
    """Keep only the embeddings of the ``used`` tokens, and return those of all tokens.

    Args:
        model: Changed in place; afterwards it takes positions in ``used`` instead of token ids.
        used: Distinct token ids, ascending, int [U]. They must include all ids up to the padding token's, so that the
            padding token keeps its id.

    Returns:
        The embeddings of all tokens, for :func:`restore_table`.
    """
    full = token_embeddings(model)
    tokens = torch.as_tensor(used, dtype=torch.long)
    set_token_embeddings(model, select_rows(full, tokens, _table(full).padding_idx))
    return full


def restore_table(model: TableOwner, full: TokenEmbeddings, used: np.ndarray) -> None:
    """Put the embeddings of all tokens back, with the trained rows in their places.

    Args:
        model: Changed in place; afterwards it takes token ids again.
        full: What :func:`shrink_table` returned.
        used: The token ids that :func:`shrink_table` was given.
    """
    trained, tokens = token_embeddings(model), torch.as_tensor(used, dtype=torch.long)
    with torch.no_grad():
        _table(full).weight[tokens] = _table(trained).weight.detach().cpu()
        if (
            isinstance(full, BottleneckEmbedding)
            and isinstance(trained, BottleneckEmbedding)
            and trained.correction is not None
        ):
            assert full.correction is not None
            # Tokens without a correction read row 0 in both modules, and write the zeros in it back to row 0.
            full.correction.weight[full.place[tokens].long()] = trained.correction(trained.place).detach().cpu()
    set_token_embeddings(model, full)


@torch.no_grad()
def set_corrections(embedding: BottleneckEmbedding, tokens: torch.Tensor, rows: torch.Tensor) -> None:
    """Set the tokens that have a correction, and their corrections; does nothing when F is 0.

    Args:
        embedding: Changed in place.
        tokens: Distinct token ids, int64 [F].
        rows: Their corrections, float [F, H].
    """
    if embedding.correction is None:
        return
    embedding.correction.weight[0] = 0
    embedding.correction.weight[1:] = rows
    embedding.place[tokens] = torch.arange(1, len(tokens) + 1, dtype=torch.int32)
