"""BERT and XLM-R with a bottleneck under the word table, looped layers, maps of low rank and weights of few bits.

Only parts are exchanged; no forward pass is written again. Importing this module teaches transformers the two
architectures, after which ``SentenceTransformer(path)`` loads a saved student like any other model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertModel,
    PreTrainedModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from xlbench.experiment import Bits  # noqa: TC001 - configurations resolve it at run time
from xlbench.students.int8 import empty_int8, pack_int8, unpack_maps
from xlbench.students.low_rank import exchange_maps

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator


LoopOrder = Literal["cycle", "adjacent"]


class BottleneckEmbedding(nn.Module):
    """A V x B word table and a B -> H map without bias, in the place of a V x H table.

    Frequent tokens may have a correction of full width each, added to what the map gives. Source: Ding et al. (2022),
    stage 2; the factorisation is ALBERT's (Lan et al., 2020), more width for frequent tokens that of Baevski & Auli
    (ICLR 2019), whose tiers have tables of their own.

    Args:
        vocabulary: Rows V of the table.
        width: Columns B of the table.
        hidden: Hidden size H.
        padding: Token whose row gets no gradient, as in ``nn.Embedding``.
        frequent: Tokens F that have a correction.

    Attributes:
        correction: (F + 1) x H; row 0, of the tokens that have none, stays zero. None without frequent tokens.
        place: Each token's row in it, int32 [V].
    """

    place: torch.Tensor

    def __init__(self, vocabulary: int, width: int, hidden: int, padding: int | None, frequent: int = 0) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, width, padding_idx=padding)
        self.up = nn.Linear(width, hidden, bias=False)
        self.correction = nn.Embedding(frequent + 1, hidden, padding_idx=0) if frequent else None
        if frequent:
            self.register_buffer("place", torch.zeros(vocabulary, dtype=torch.int32))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings, [..., H], of token ids, [...]."""
        up: torch.Tensor = self.up(self.table(input_ids))
        return up if self.correction is None else up + self.correction(self.place[input_ids])

    @torch.no_grad()
    def correct(self, tokens: torch.Tensor, rows: torch.Tensor) -> None:
        """Say which tokens have a correction, and which: F distinct ids, int64 [F], and float [F, H]."""
        if self.correction is None:
            return
        self.correction.weight[0] = 0
        self.correction.weight[1:] = rows
        self.place[tokens] = torch.arange(1, len(tokens) + 1, dtype=torch.int32)

    @property
    def frequent(self) -> int:
        """Tokens F that have a correction."""
        return 0 if self.correction is None else self.correction.num_embeddings - 1

    @property
    def weight(self) -> torch.Tensor:
        """The V x H table that this one stands for, computed anew at each call."""
        up = self.table.weight @ self.up.weight.T
        return up if self.correction is None else up + self.correction(self.place)


class LoopedLayers(nn.ModuleList):
    """K stored layers that iterate R times each.

    An encoder runs its layers by iterating over them, so nothing else need know. The state dict holds each
    layer once.

    Args:
        layers: The K layers.
        repeats: How often each runs, R.
        order: ``cycle`` runs 1..K, 1..K, ... (Ding et al., 2022), ``adjacent`` 1, 1, 2, 2, ... (the block-wise
            sharing of MobileLLM, Liu et al., ICML 2024).
    """

    def __init__(self, layers: Iterable[nn.Module], repeats: int, order: LoopOrder = "cycle") -> None:
        super().__init__(layers)
        self.repeats = repeats
        self.order = order

    def __iter__(self) -> Iterator[nn.Module]:
        """Yield the layers in the order in which they run, K * R in all."""
        stored = list(super().__iter__())
        if self.order == "adjacent":
            yield from (layer for layer in stored for _ in range(self.repeats))
        else:
            yield from stored * self.repeats


class StudentBertConfig(BertConfig):  # type: ignore[no-untyped-call]
    """BERT's configuration, and a student's: the bottleneck's width (None: full table), how many tokens it corrects.

    Further how often the layers run, in which order, the share of parameters that maps of low rank have, and the bits
    of a weight on disk.
    """

    model_type = "xlbench-bert"
    bottleneck: int | None = None
    frequent: int = 0
    rank_share: float = 1.0
    repeats: int = 1
    loop_order: LoopOrder = "cycle"
    bits: Bits = 32


class StudentXLMRobertaConfig(XLMRobertaConfig):  # type: ignore[no-untyped-call]
    """XLM-R's configuration, and a student's, as :class:`StudentBertConfig` has it."""

    model_type = "xlbench-xlm-roberta"
    bottleneck: int | None = None
    frequent: int = 0
    rank_share: float = 1.0
    repeats: int = 1
    loop_order: LoopOrder = "cycle"
    bits: Bits = 32


class _Stored(PreTrainedModel):  # type: ignore[no-untyped-call]
    """How the weights of a student of 8 bits are written and read."""

    @classmethod
    def from_pretrained(cls, *place: object, **settings: object) -> object:  # type: ignore[override]
        """Load as any model; tables stay as they are stored, maps become float."""
        loaded = super().from_pretrained(*place, **settings)  # type: ignore[arg-type]
        unpack_maps(loaded[0] if isinstance(loaded, tuple) else loaded)
        return loaded

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | os.PathLike[str], **settings: object
    ) -> None:
        """Save as any model."""
        if self.config.bits == 8:
            pack_int8(self)
        try:
            super().save_pretrained(save_directory, **settings)  # type: ignore[arg-type]
        finally:
            unpack_maps(self)  # whoever catches a full disk goes on with a model that computes


class StudentBertModel(_Stored, BertModel):  # type: ignore[no-untyped-call]
    """BERT with a student's parts."""

    config_class = StudentBertConfig

    def __init__(self, config: StudentBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        exchange_parts(self, config)


class StudentXLMRobertaModel(_Stored, XLMRobertaModel):  # type: ignore[no-untyped-call]
    """XLM-R with a student's parts."""

    config_class = StudentXLMRobertaConfig

    def __init__(self, config: StudentXLMRobertaConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        exchange_parts(self, config)


StudentModel = StudentBertModel | StudentXLMRobertaModel
StudentConfig = StudentBertConfig | StudentXLMRobertaConfig


def exchange_parts(model: BertModel | XLMRobertaModel, config: StudentConfig) -> None:
    """Put a bottleneck table, narrow maps, looped layers and int8 parts, all without weights, into a stock encoder."""
    if config.bottleneck is not None:
        table: nn.Embedding = model.embeddings.word_embeddings
        rows, hidden = table.num_embeddings, table.embedding_dim
        narrow = BottleneckEmbedding(rows, config.bottleneck, hidden, table.padding_idx, config.frequent)
        model.embeddings.set_submodule("word_embeddings", narrow)
    if config.rank_share < 1:
        exchange_maps(model.encoder.layer, config.rank_share)
    if config.repeats > 1:
        model.encoder.layer = LoopedLayers(list(model.encoder.layer), config.repeats, config.loop_order)
    if config.bits == 8:
        empty_int8(model)


def register() -> None:
    """Teach transformers' Auto classes the student architectures; calling it again changes nothing."""
    AutoConfig.register(StudentBertConfig.model_type, StudentBertConfig, exist_ok=True)
    AutoConfig.register(StudentXLMRobertaConfig.model_type, StudentXLMRobertaConfig, exist_ok=True)
    AutoModel.register(StudentBertConfig, StudentBertModel, exist_ok=True)
    AutoModel.register(StudentXLMRobertaConfig, StudentXLMRobertaModel, exist_ok=True)


register()
