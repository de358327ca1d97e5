"""The student architectures: BERT and XLM-R with some of their parts replaced.

A student may have a factorised embedding table (bottleneck), looped layers, low-rank linear maps and 8-bit weights.
Each is a module in the place of a stock one, so transformers' own forward pass runs unchanged.

A copy of this file lies beside the weights of each student that has such parts, so that it loads where xlbench is not
installed, with ``trust_remote_code=True``. Therefore it imports torch and transformers only. xlbench itself never runs
a copy. Licence: Apache-2.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from transformers import BertConfig, BertModel, PreTrainedModel, XLMRobertaConfig, XLMRobertaModel

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

Bits = Literal[8, 16, 32]
LoopOrder = Literal["cycle", "adjacent"]
LARGEST = 127  # step of a matrix in 8 bits
RANK_MULTIPLE = 8  # matrix products of other widths are slow


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


class LowRankLinear(nn.Module):
    """y = U D x + b in the place of y = W x + b, where D is r x I and U is O x r.

    Args:
        inputs: Number I of inputs.
        outputs: Number O of outputs.
        rank: Rank r, the width between the two factors.
        bias: Whether to add a bias b.
    """

    def __init__(self, inputs: int, outputs: int, rank: int, *, bias: bool) -> None:
        super().__init__()
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=bias)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the outputs, float [..., O], for inputs, float [..., I]."""
        outputs: torch.Tensor = self.up(self.down(values))
        return outputs


def linear_maps(layers: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear maps of an encoder's layers by name, without those that are factorised already."""
    return {name: module for name, module in layers.named_modules() if type(module) is nn.Linear}


def replace_linear_maps(layers: nn.Module, share: float) -> None:
    """Replace every linear map by a low-rank one with ``share`` of its parameters and initial weights only."""
    for name, linear in linear_maps(layers).items():
        layers.set_submodule(name, empty_low_rank(linear, share))


def empty_low_rank(linear: nn.Linear, share: float) -> LowRankLinear:
    """Return a low-rank map in the place of a linear map, with initial weights only."""
    rank = rank_for_share(linear.in_features, linear.out_features, share)
    return LowRankLinear(linear.in_features, linear.out_features, rank, bias=linear.bias is not None)


def rank_for_share(inputs: int, outputs: int, share: float) -> int:
    """Return the rank at which the factors of an I x O map have ``share`` of its parameters, in eights, at least 1."""
    rank = int(share * inputs * outputs / (inputs + outputs))
    return rank - rank % RANK_MULTIPLE if rank >= RANK_MULTIPLE else max(1, rank)


class QuantisedMatrix(nn.Module):
    """A matrix W of R rows and C columns, W[r, c] = scale[r] x steps[r, c].

    Attributes:
        steps: int8 [R, C]. A buffer and not a parameter, since transformers takes the dtype of a model's first
            parameter for the dtype of the model.
        scale: Size of one step in each row, float16 [R, 1].
        like: An empty tensor that is not saved. Its dtype is the one that the model computes in, because
            ``model.to(dtype)`` casts it together with the other floats.
    """

    steps: torch.Tensor
    scale: torch.Tensor
    like: torch.Tensor

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(rows, columns, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(rows, 1, dtype=torch.float16))
        self.register_buffer("like", torch.empty(0), persistent=False)

    def quantise(self, matrix: torch.Tensor) -> None:
        """Set this matrix to the nearest one to a float matrix, [R, C].

        The largest value of a row becomes step 127 or -127; every value moves by at most half a step.

        Raises:
            OverflowError: The matrix has a value that is not finite, or beyond 127 x 65,504 (float16's largest number).
        """
        scale = (matrix.float().abs().amax(dim=1, keepdim=True) / LARGEST).half()
        if not torch.isfinite(scale).all():
            raise OverflowError("A weight is too large to be stored in 8 bits.")
        # The scale is 0 for a row of zeros, and for one whose values float16 rounds to zero.
        self.scale = torch.where(scale == 0, 1, scale)
        self.steps = (matrix.float() / self.scale.float()).round().clamp(-LARGEST, LARGEST).to(torch.int8)

    @property
    def weight(self) -> torch.Tensor:
        """The matrix as floats, [R, C], computed at each call."""
        return self._dequantise(self.steps, self.scale)

    def _dequantise(self, steps: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return (steps.float() * scale.float()).to(self.like.dtype)


class QuantisedEmbedding(QuantisedMatrix):
    """A table of R vectors of width C, in the place of an ``nn.Embedding``."""

    @property
    def num_embeddings(self) -> int:
        """Rows R."""
        return len(self.steps)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the rows, float [..., C], of ids, int [...]."""
        return self._dequantise(self.steps[ids], self.scale[ids])


class QuantisedLinear(QuantisedMatrix):
    """The stored form of a linear map with C inputs and R outputs; its bias is not quantised."""

    def __init__(self, rows: int, columns: int, bias: nn.Parameter | None) -> None:
        super().__init__(rows, columns)
        self.bias = bias

    def dequantise(self) -> nn.Linear:
        """Return the linear map as a float module."""
        rows, columns = self.steps.shape
        linear = nn.Linear(columns, rows, bias=self.bias is not None, device="meta")
        linear.weight = nn.Parameter(self.weight)
        if self.bias is not None:
            linear.bias = nn.Parameter(self.bias.detach().to(self.like.dtype))
        return linear


def replace_matrices(encoder: nn.Module) -> None:
    """Replace every embedding table and linear map by a quantised one that holds no weights yet, for loading."""
    for name, _, quantised in _quantised_parts(encoder):
        encoder.set_submodule(name, quantised)


def quantise_matrices(encoder: nn.Module) -> None:
    """Quantise every embedding table and linear map of an encoder in place; those that are quantised already stay."""
    for name, original, quantised in _quantised_parts(encoder):
        quantised.quantise(original.weight.detach())
        quantised.like = quantised.like.to(original.weight.dtype)
        encoder.set_submodule(name, quantised)


def dequantise_linear_maps(encoder: nn.Module) -> None:
    """Replace the quantised linear maps of an encoder by float ones, which run at full speed."""
    for name, part in list(encoder.named_modules()):
        if isinstance(part, QuantisedLinear):
            encoder.set_submodule(name, part.dequantise())


def _quantised_parts(
    encoder: nn.Module,
) -> list[tuple[str, nn.Linear | nn.Embedding, QuantisedEmbedding | QuantisedLinear]]:
    """Return the name of every table and linear map, the module itself and an empty quantised one of its size."""
    parts: list[tuple[str, nn.Linear | nn.Embedding, QuantisedEmbedding | QuantisedLinear]] = []
    for name, part in encoder.named_modules():
        if type(part) is nn.Linear:
            rows, columns = part.weight.shape
            parts.append((name, part, QuantisedLinear(rows, columns, part.bias)))
        elif type(part) is nn.Embedding:
            parts.append((name, part, QuantisedEmbedding(*part.weight.shape)))
    return parts


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
    """Replace the parts that a student's configuration names by new ones, whose weights are loaded or copied later."""
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
