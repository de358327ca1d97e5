"""Turning many sentences into vectors: batches of like length under a constant number of padded tokens."""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np
import torch
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import nn

from xlbench.encoders.modules import embedding_output, mean_pool, quick_attention, transformer_of
from xlbench.encoders.packing import packed_kernels
from xlbench.encoders.runtime import computing_in, half_dtype
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel

    from xlbench.experiment import Precision
    from xlbench.progress import Advance

Level: TypeAlias = Literal["sentence", "embeddings"]
Vectors: TypeAlias = "NDArray[np.floating]"

CHUNK = 16_384  # sentences tokenised and sorted at a time: memory stays flat, batches stay full
# Padded tokens in a batch. On a CPU small ones stay in its caches, and products are large enough from a few hundred
# rows on: a batch may end where sentences get shorter. An accelerator wants large products.
CPU_TOKENS, CPU_ENOUGH, ACCELERATOR_TOKENS = 1536, 384, 16_384
ALIKE = 0.95  # of a batch's longest sentence: shorter ones may begin the next batch
FALLBACK_BATCH = 64  # sentences, for encoders whose tokens cannot be counted


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    *,
    precision: Precision = "float32",
    level: Level = "sentence",
    max_tokens: int | None = None,
    batch_tokens: int | None = None,
    out: Vectors | None = None,
    advance: Advance | None = None,
) -> Vectors:
    """Encode sentences, in the order given.

    Args:
        model: Run on the device it is on; left as it was found.
        texts: Sentences; read a chunk at a time, so it may be a lazy sequence.
        precision: Anything but 'float32' runs the transformer under autocast; pooling and what follows stay in float32.
        level: 'sentence' is the model's whole pipeline; 'embeddings' is the mean over the tokens of the
            embedding layer's output, before any encoder layer.
        max_tokens: Cut sentences here, special tokens included, if the model does not cut them earlier.
        batch_tokens: Padded tokens in a batch; a single longer sentence makes a batch of its own. None: 1,536 on a
            CPU and less where sentences get shorter, 16,384 on anything else.
        out: Where to write, [n, dim] of any float dtype, e.g. a memory map; None makes a float32 array.
        advance: Told the number of sentences done, batch by batch.

    Returns:
        ``out``, or float32 [n, dim]. In float32 equal to ``SentenceTransformer.encode`` within 1e-6.

    Raises:
        XlbenchError: ``level`` is 'embeddings' and the model has no stock transformer.
        ValueError: ``out`` has another shape than [n, dim].
    """
    shape = (len(texts), dimension(model, level))
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, the vectors have {shape}")
    plain = level == "embeddings" or _is_plain(model)
    enough = None
    if batch_tokens is None:
        on_cpu = model.device.type == "cpu"
        batch_tokens, enough = (CPU_TOKENS, CPU_ENOUGH) if on_cpu else (ACCELERATOR_TOKENS, None)
    with ready(model, precision if level == "sentence" else "float32"):
        for start in range(0, len(texts), CHUNK):
            chunk = list(texts[start : start + CHUNK])
            parts = (
                _encode_chunk(
                    model,
                    chunk,
                    precision=precision,
                    level=level,
                    max_tokens=max_tokens,
                    batch_tokens=batch_tokens,
                    enough=enough,
                )
                if plain
                else _encode_otherwise(model, chunk, precision, max_tokens)
            )
            # Gathered first, so that a memory map is written from front to back.
            vectors = np.empty((len(chunk), shape[1]), np.float32)
            for places, batch in parts:
                vectors[places] = batch
                if advance is not None:
                    advance(len(places))
            out[start : start + len(chunk)] = vectors
    return out


def dimension(model: SentenceTransformer, level: Level = "sentence") -> int:
    """Return the width of the vectors.

    Raises:
        XlbenchError: ``level`` is 'embeddings' and the model has no stock transformer.
    """
    if level == "embeddings":
        return int(transformer_of(model).config.hidden_size)
    known = model.get_embedding_dimension()
    return known if known is not None else int(model.encode(["."], show_progress_bar=False).shape[1])


@contextmanager
def ready(model: SentenceTransformer, precision: Precision) -> Iterator[None]:
    """Put a model into the state in which it encodes fastest; :func:`encode` does so itself if nobody has.

    Whoever encodes a few sentences at a time does it once around all of them.

    In a precision of two bytes the weights of a stock transformer's layers are held in it meanwhile, not cast anew
    for every batch, and so are the values between them: measured on two cores in bfloat16, 1.1 times as fast as
    autocast over float32 weights. The embedding layer, most of the weights and hardly any of the work, stays in
    float32.
    """
    with ExitStack() as undo:
        undo.callback(model.train, model.training)
        model.eval()
        try:
            transformer = transformer_of(model)
        except XlbenchError:  # another architecture: as it is
            transformer = None
        if transformer is not None:
            if half := half_dtype(precision):
                undo.enter_context(_layers_in(transformer, half))
            undo.enter_context(quick_attention(transformer, model.device))
            undo.enter_context(packed_kernels(transformer))
        yield


@contextmanager
def _layers_in(transformer: PreTrainedModel, dtype: torch.dtype) -> Iterator[None]:
    """Hold the float32 weights behind the embedding layer in another dtype, if they are not in it already."""
    embeddings = transformer.get_submodule("embeddings")
    looked_up = {id(parameter) for parameter in embeddings.parameters()}
    before = [
        (parameter, parameter.data)
        for parameter in transformer.parameters()
        if parameter.dtype == torch.float32 and id(parameter) not in looked_up
    ]
    hook = embeddings.register_forward_hook(partial(_cast, dtype)) if before else None
    try:
        for parameter, data in before:
            parameter.data = data.to(dtype)
        yield
    finally:
        for parameter, data in before:
            parameter.data = data
        if hook is not None:
            hook.remove()


def _cast(dtype: torch.dtype, module: nn.Module, given: object, embedded: torch.Tensor) -> torch.Tensor:
    return embedded.to(dtype)


def _is_plain(model: SentenceTransformer) -> bool:
    """Return whether texts go through a tokenizer and the modules, and nothing else happens to them."""
    first = next(iter(model.children()), None)
    return (
        isinstance(first, Transformer)
        and first.tokenizer is not None
        and set(first.modality_config) == {"text"}
        and not first.processing_kwargs
        and not first.can_flatten_inputs
        and model.default_prompt_name is None
        and model.truncate_dim is None
    )


def _encode_chunk(
    model: SentenceTransformer,
    texts: list[str],
    *,
    precision: Precision,
    level: Level,
    max_tokens: int | None,
    batch_tokens: int,
    enough: int | None,
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Yield the places of a batch's sentences among ``texts`` and their vectors."""
    limits = [limit for limit in (max_tokens, model.max_seq_length) if limit is not None]
    tokens = model.tokenizer(texts, truncation=bool(limits), max_length=min(limits, default=None))["input_ids"]
    lengths = np.array([len(row) for row in tokens])
    for places in batches(lengths, batch_tokens, enough):
        rows = [tokens[place] for place in places]
        ids, mask = pad(rows, model.tokenizer.pad_token_id or 0, left=model.tokenizer.padding_side == "left")
        with torch.inference_mode():
            vectors = _forward(model, ids.to(model.device), mask.to(model.device), precision, level)
        yield places, vectors.float().cpu().numpy()


def batches(lengths: NDArray[np.integer], batch_tokens: int, enough: int | None = None) -> Iterator[NDArray[np.intp]]:
    """Yield the places of sentences that make a batch, the longest first.

    Args:
        lengths: Tokens of each sentence.
        batch_tokens: What a batch's number of sentences times its longest length may not exceed.
        enough: With that many padded tokens a batch ends where sentences get shorter than :data:`ALIKE` of its longest;
            None: it is filled.
    """
    order = np.argsort(-lengths, kind="stable")
    shortening = -lengths[order]
    start = 0
    while start < len(order):
        longest = max(1, -int(shortening[start]))
        size = max(1, batch_tokens // longest)
        if enough is not None:
            alike = int(np.searchsorted(shortening[start:], -ALIKE * longest, side="right"))
            size = min(size, max(alike, math.ceil(enough / longest)))
        yield order[start : start + size]
        start += size


def pad(
    rows: Sequence[Sequence[int] | NDArray[np.int64]], filler: int, *, left: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask, both int64 [rows, longest row].

    Args:
        rows: Token ids, special tokens included.
        filler: The padding token's id.
        left: Pad before the tokens instead of after them.
    """
    width = max(1, *(len(row) for row in rows))
    ids = torch.full((len(rows), width), filler)
    mask = torch.zeros((len(rows), width), dtype=torch.int64)
    for place, row in enumerate(rows):
        span = slice(width - len(row), width) if left else slice(len(row))
        ids[place, span] = torch.as_tensor(row, dtype=torch.int64)
        mask[place, span] = 1
    return ids, mask


def _forward(
    model: SentenceTransformer, ids: torch.Tensor, mask: torch.Tensor, precision: Precision, level: Level
) -> torch.Tensor:
    first, *rest = model.children()
    with computing_in(precision, model.device):
        if level == "embeddings":
            return mean_pool(embedding_output(transformer_of(model), ids, mask), mask)
        features = cast("dict[str, torch.Tensor]", first({"input_ids": ids, "attention_mask": mask}))
    if precision != "float32":
        features = {
            name: value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
            for name, value in features.items()
        }
    for module in rest:
        features = module(features)
    return features["sentence_embedding"]


def _encode_otherwise(
    model: SentenceTransformer, texts: list[str], precision: Precision, max_tokens: int | None
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Do as :func:`_encode_chunk` through the model's own ``encode``, for models that are not plain."""
    before = model.max_seq_length  # infinity where tokens are not counted
    cut = max_tokens is not None and isinstance(before, int) and max_tokens < before
    if cut:
        model.max_seq_length = max_tokens
    try:
        for start in range(0, len(texts), FALLBACK_BATCH):
            places = np.arange(start, min(start + FALLBACK_BATCH, len(texts)))
            with computing_in(precision, model.device):
                vectors = model.encode(
                    texts[start : start + FALLBACK_BATCH],
                    batch_size=FALLBACK_BATCH,
                    show_progress_bar=False,
                    convert_to_tensor=True,
                )
            yield places, vectors.float().cpu().numpy()
    finally:
        if cut:
            model.max_seq_length = before
