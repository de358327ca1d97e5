"""The student architectures: BERT and XLM-R with some of their parts replaced.

A student may have a factorised embedding table (bottleneck), looped layers, low-rank linear maps and 8-bit weights.
Each is a module in the place of a stock one, so transformers' own forward pass runs unchanged. Importing this module
registers both architectures with transformers, after which ``SentenceTransformer(path)`` loads a saved student like
any other model.
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
from xlbench.students.low_rank import replace_linear_maps
from xlbench.students.quantised import dequantise_linear_maps, quantise_matrices, replace_matrices

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator


LoopOrder = Literal["cycle", "adjacent"]


class BottleneckEmbedding(nn.Module):
    """A V x B embedding table and a B -> H linear map without bias, in the place of a V x H table.

    Each of the F most frequent tokens may have a correction of full width H, which is added to the map's output, so
    that these tokens lose nothing to the factorisation. References: stage 2 of Ding et al. (2022); ALBERT (Lan et al.,
    ICLR 2020) for the factorisation; Baevski & Auli (ICLR 2019) for more width for frequent tokens (their tiers have
    separate tables, here all tokens share one).

    Args:
        vocabulary: Rows V of the table.
        width: Columns B of the table.
        hidden: Hidden size H.
        padding: Token whose row gets no gradient, as in ``nn.Embedding``.
        frequent: Number F of tokens with a correction.

    Attributes:
        correction: Embedding of F + 1 rows and H columns; row 0 belongs to the tokens without a correction and stays
            zero. None when F is 0.
        place: Row of each token in ``correction``, int32 [V]; absent when F is 0.
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
        """Return the token embeddings, float [..., H], of token ids, int [...]."""
        up: torch.Tensor = self.up(self.table(input_ids))
        return up if self.correction is None else up + self.correction(self.place[input_ids])

    @torch.no_grad()
    def set_corrections(self, tokens: torch.Tensor, rows: torch.Tensor) -> None:
        """Set the tokens that have a correction, and their corrections; does nothing when F is 0.

        Args:
            tokens: Distinct token ids, int64 [F].
            rows: Their corrections, float [F, H].
        """
        if self.correction is None:
            return
        self.correction.weight[0] = 0
        self.correction.weight[1:] = rows
        self.place[tokens] = torch.arange(1, len(tokens) + 1, dtype=torch.int32)

    @property
    def frequent(self) -> int:
        """Number F of tokens with a correction."""
        return 0 if self.correction is None else self.correction.num_embeddings - 1

    @property
    def weight(self) -> torch.Tensor:
        """The V x H table that the factors and corrections amount to, computed at each call."""
        up = self.table.weight @ self.up.weight.T
        return up if self.correction is None else up + self.correction(self.place)


class LoopedLayers(nn.ModuleList):
    """K stored layers, each of which runs R times.

    transformers runs an encoder's layers by iterating over this list, so the repetition is all in ``__iter__``. The
    state dict holds each layer once.

    Args:
        layers: The K layers.
        repeats: Times R that each runs.
        order: ``cycle`` runs 1..K, 1..K, ... (Ding et al., 2022); ``adjacent`` runs 1, 1, 2, 2, ... (the block-wise
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
    """BERT's configuration with the settings of a student's parts; saved as its ``config.json``.

    Attributes:
        bottleneck: Width B of the embedding table; None for a full table.
        frequent: Number F of tokens with a full-width correction.
        rank_share: Share of the parameters that the layers' low-rank linear maps keep; 1 for full maps.
        repeats: Times R that each layer runs.
        loop_order: Order in which looped layers run, see :class:`LoopedLayers`.
        bits: Bits of a stored weight.
    """

    model_type = "xlbench-bert"
    bottleneck: int | None = None
    frequent: int = 0
    rank_share: float = 1.0
    repeats: int = 1
    loop_order: LoopOrder = "cycle"
    bits: Bits = 32


class StudentXLMRobertaConfig(XLMRobertaConfig):  # type: ignore[no-untyped-call]
    """XLM-R's configuration with the settings of a student's parts, as in :class:`StudentBertConfig`."""

    model_type = "xlbench-xlm-roberta"
    bottleneck: int | None = None
    frequent: int = 0
    rank_share: float = 1.0
    repeats: int = 1
    loop_order: LoopOrder = "cycle"
    bits: Bits = 32


class _Int8Checkpoint(PreTrainedModel):  # type: ignore[no-untyped-call]
    """Saving and loading of a student whose weights are stored in 8 bits."""

    @classmethod
    def from_pretrained(cls, *args: object, **kwargs: object) -> object:  # type: ignore[override]
        """Load as transformers does, then turn 8-bit linear maps into float ones; 8-bit tables stay quantised."""
        loaded = super().from_pretrained(*args, **kwargs)  # type: ignore[arg-type]
        dequantise_linear_maps(loaded[0] if isinstance(loaded, tuple) else loaded)
        return loaded

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | os.PathLike[str], **kwargs: object
    ) -> None:
        """Save as transformers does; if ``config.bits`` is 8, the matrices are quantised to 8 bits first."""
        if self.config.bits == 8:
            quantise_matrices(self)
        try:
            super().save_pretrained(save_directory, **kwargs)  # type: ignore[arg-type]
        finally:
            dequantise_linear_maps(self)  # the model must still be usable after a failed save, e.g. on a full disk


class StudentBertModel(_Int8Checkpoint, BertModel):  # type: ignore[no-untyped-call]
    """BERT with a student's parts, as its configuration says."""

    config_class = StudentBertConfig

    def __init__(self, config: StudentBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        replace_parts(self, config)


class StudentXLMRobertaModel(_Int8Checkpoint, XLMRobertaModel):  # type: ignore[no-untyped-call]
    """XLM-R with a student's parts, as its configuration says."""

    config_class = StudentXLMRobertaConfig

    def __init__(self, config: StudentXLMRobertaConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        replace_parts(self, config)


StudentModel = StudentBertModel | StudentXLMRobertaModel
StudentConfig = StudentBertConfig | StudentXLMRobertaConfig


def replace_parts(model: BertModel | XLMRobertaModel, config: StudentConfig) -> None:
    """Replace parts of a stock encoder by those that a student's configuration asks for.

    The new parts are initialised only: their weights are loaded or copied afterwards.
    """
    if config.bottleneck is not None:
        table: nn.Embedding = model.embeddings.word_embeddings
        rows, hidden = table.num_embeddings, table.embedding_dim
        factorised = BottleneckEmbedding(rows, config.bottleneck, hidden, table.padding_idx, config.frequent)
        model.embeddings.set_submodule("word_embeddings", factorised)
    if config.rank_share < 1:
        replace_linear_maps(model.encoder.layer, config.rank_share)
    if config.repeats > 1:
        model.encoder.layer = LoopedLayers(list(model.encoder.layer), config.repeats, config.loop_order)
    if config.bits == 8:
        replace_matrices(model)


def register() -> None:
    """Register the student architectures with transformers' Auto classes; repeated calls change nothing."""
    AutoConfig.register(StudentBertConfig.model_type, StudentBertConfig, exist_ok=True)
    AutoConfig.register(StudentXLMRobertaConfig.model_type, StudentXLMRobertaConfig, exist_ok=True)
    AutoModel.register(StudentBertConfig, StudentBertModel, exist_ok=True)
    AutoModel.register(StudentXLMRobertaConfig, StudentXLMRobertaModel, exist_ok=True)


register()
