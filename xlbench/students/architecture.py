"""BERT and XLM-R with a bottleneck under the word table and layers that run more than once.

Only parts are exchanged; no forward pass is written again. Importing this module teaches transformers the two
architectures, after which ``SentenceTransformer(path)`` loads a saved student like any other model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class BottleneckEmbedding(nn.Module):
    """A V x B word table and a B -> H map without bias, in the place of a V x H table.

    Source: Ding et al. (2022), stage 2; the factorisation is ALBERT's (Lan et al., 2020).

    Args:
        vocabulary: Rows V of the table.
        width: Columns B of the table.
        hidden: Hidden size H.
        padding: Token whose row gets no gradient, as in ``nn.Embedding``.
    """

    def __init__(self, vocabulary: int, width: int, hidden: int, padding: int | None) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, width, padding_idx=padding)
        self.up = nn.Linear(width, hidden, bias=False)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings, [..., H], of token ids, [...]."""
        up: torch.Tensor = self.up(self.table(input_ids))
        return up

    @property
    def weight(self) -> torch.Tensor:
        """The V x H table that this one stands for, computed anew at each call."""
        return self.table.weight @ self.up.weight.T


class LoopedLayers(nn.ModuleList):
    """K stored layers that iterate R times in the order 1..K, 1..K, ...

    An encoder runs its layers by iterating over them, so nothing else need know. The state dict holds each
    layer once.
    """

    def __init__(self, layers: Iterable[nn.Module], repeats: int) -> None:
        super().__init__(layers)
        self.repeats = repeats

    def __iter__(self) -> Iterator[nn.Module]:
        """Yield the layers in the order in which they run, K * R in all."""
        for _ in range(self.repeats):
            yield from super().__iter__()


class StudentBertConfig(BertConfig):  # type: ignore[no-untyped-call]
    """BERT's configuration, the bottleneck's width (None: full table) and how often the layers run."""

    model_type = "xlbench-bert"
    bottleneck: int | None = None
    repeats: int = 1


class StudentXLMRobertaConfig(XLMRobertaConfig):  # type: ignore[no-untyped-call]
    """XLM-R's configuration, the bottleneck's width (None: full table) and how often the layers run."""

    model_type = "xlbench-xlm-roberta"
    bottleneck: int | None = None
    repeats: int = 1


class StudentBertModel(BertModel):  # type: ignore[no-untyped-call]
    """BERT with a student's parts."""

    config_class = StudentBertConfig

    def __init__(self, config: StudentBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        exchange_parts(self, config.bottleneck, config.repeats)


class StudentXLMRobertaModel(XLMRobertaModel):  # type: ignore[no-untyped-call]
    """XLM-R with a student's parts."""

    config_class = StudentXLMRobertaConfig

    def __init__(self, config: StudentXLMRobertaConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        exchange_parts(self, config.bottleneck, config.repeats)


StudentModel = StudentBertModel | StudentXLMRobertaModel
StudentConfig = StudentBertConfig | StudentXLMRobertaConfig


def exchange_parts(model: BertModel | XLMRobertaModel, bottleneck: int | None, repeats: int) -> None:
    """Put a bottleneck table and looped layers, both without trained weights, into a stock encoder."""
    if bottleneck is not None:
        table: nn.Embedding = model.embeddings.word_embeddings
        narrow = BottleneckEmbedding(table.num_embeddings, bottleneck, table.embedding_dim, table.padding_idx)
        model.embeddings.set_submodule("word_embeddings", narrow)
    if repeats > 1:
        model.encoder.layer = LoopedLayers(list(model.encoder.layer), repeats)


def register() -> None:
    """Teach transformers' Auto classes the student architectures; calling it again changes nothing."""
    AutoConfig.register(StudentBertConfig.model_type, StudentBertConfig, exist_ok=True)
    AutoConfig.register(StudentXLMRobertaConfig.model_type, StudentXLMRobertaConfig, exist_ok=True)
    AutoModel.register(StudentBertConfig, StudentBertModel, exist_ok=True)
    AutoModel.register(StudentXLMRobertaConfig, StudentXLMRobertaModel, exist_ok=True)


register()
