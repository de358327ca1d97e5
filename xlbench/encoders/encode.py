"""Encoding many sentences: batches of similar length, each with about the same number of padded tokens."""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np
import torch
from torch import nn

from xlbench.encoders.fitting import ENOUGH, fitted, room_of
from xlbench.encoders.modules import embedding_output, mean_pool, quick_attention, transformer_of
from xlbench.encoders.packing import packed_kernels
from xlbench.encoders.pipeline import Pipeline, pipeline_of
from xlbench.encoders.runtime import computing_in, half_dtype
from xlbench.errors import XlbenchError, encoding_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel

    from xlbench.encoders.fitting import Room
    from xlbench.experiment import Precision
    from xlbench.progress import Advance

Level: TypeAlias = Literal["sentence", "embeddings"]
Vectors: TypeAlias = "NDArray[np.floating]"

CHUNK = 16_384  # sentences tokenised and sorted at a time: bounds the memory and still fills batches
# Padded tokens of a batch. On a CPU a small batch stays in the caches, and from a few hundred tokens on matrix
# multiplication runs at full speed, so that a batch may end early where sentences get shorter. An accelerator needs
# large batches.
CPU_TOKENS, CPU_MIN_TOKENS, ACCELERATOR_TOKENS = 1536, 384, 16_384
SIMILAR = 0.95  # of the length of a batch's longest sentence: shorter ones may go into the next batch
FULL = 128  # tokens of a sentence with which a GPU's memory is measured: the longest that training reads by default
MEASURED = ("cuda",)  # kinds of devices whose memory is measured; a CPU's is not what limits it
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
    """Encode sentences, in the order given, with the encoder's own prompt and columns (:class:`Pipeline`).

    Args:
        model: Runs on the device it is on, and is left unchanged.
        texts: Sentences; read a chunk at a time, so that a lazy sequence will do.
        precision: In 'bfloat16' and 'float16' the transformer runs under autocast; pooling and what follows stay in
            float32.
        level: 'sentence' is the model's whole pipeline; 'embeddings' is the mean over the tokens of the embedding
            layer's output, before any encoder layer.
        max_tokens: The most tokens of a sentence, special tokens included; the model's own maximum holds as well.
        batch_tokens: The most padded tokens of a batch; a longer sentence makes a batch of its own. None: on a CPU
            1,536, or less where sentences get shorter; on a GPU, for many sentences, what is measured there as the
            fastest; else 16,384. A batch that the memory does not hold is halved.
        out: Array to write to, [n, dim] of any float dtype, e.g. a memory map; None allocates a float32 array.
        advance: Called after each batch with its number of sentences.

    Returns:
        ``out``, or float32 [n, dim]. In float32 equal to ``SentenceTransformer.encode`` within 1e-6.

    Raises:
        XlbenchError: ``level`` is 'embeddings' and the model has no stock transformer; or the encoder raises an error,
            or gives vectors of another number or width than it declares.
        ValueError: ``out`` has another shape than [n, dim].
    """
    shape = (len(texts), dimension(model, level))
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, the vectors have {shape}")
    pipeline = pipeline_of(model)
    on_cpu = model.device.type == "cpu"
    measures = batch_tokens is None and model.device.type in MEASURED and len(texts) >= ENOUGH
    min_tokens = CPU_MIN_TOKENS if on_cpu and batch_tokens is None else None
    batch_tokens = batch_tokens or (CPU_TOKENS if on_cpu else ACCELERATOR_TOKENS)
    room = room_of(model, precision, level)
    with encoding_mode(model, precision if level == "sentence" else "float32"):
        if measures and not pipeline.obstacle:
            full = partial(_run_full, model, pipeline, precision, level, pipeline.limit(max_tokens))
            batch_tokens = room.measured(full)
        for start in range(0, len(texts), CHUNK):
            chunk = list(texts[start : start + CHUNK])
            parts = (
                _encode_by_model(model, chunk, precision, max_tokens)
                if pipeline.obstacle and level == "sentence"
                else _encode_chunk(
                    model,
                    pipeline,
                    chunk,
                    precision=precision,
                    level=level,
                    max_tokens=max_tokens,
                    batch_tokens=batch_tokens,
                    min_tokens=min_tokens,
                    room=room,
                )
            )
            # Batches are sorted by length; collecting them first means that a memory map is written front to back.
            vectors = np.empty((len(chunk), shape[1]), np.float32)
            for positions, batch in _checked(parts, shape[1]):
                vectors[positions] = batch
                if advance is not None:
                    advance(len(positions))
            out[start : start + len(chunk)] = vectors
    return out


def dimension(model: SentenceTransformer, level: Level = "sentence") -> int:
    """Return the width of the vectors that :func:`encode` gives.

    Raises:
        XlbenchError: ``level`` is 'embeddings' and the model has no stock transformer.
    """
    if level == "embeddings":
        return int(transformer_of(model).config.hidden_size)
    declared = model.get_embedding_dimension()
    return declared if declared is not None else int(model.encode(["."], show_progress_bar=False).shape[1])


@contextmanager
def encoding_mode(model: SentenceTransformer, precision: Precision) -> Iterator[None]:
    """Put a model into the state in which it encodes fastest; undone on leaving.

    :func:`encode` enters this state itself. Code that calls it often, with a few sentences each, should enter it once
    around all calls.

    In bfloat16 and float16 the weights of a transformer's layers, and the values between them, are held in that dtype
    meanwhile, instead of being cast for every batch. Measured on two cores in bfloat16, this is 1.1 times as fast as
    autocast over float32 weights. The embedding layer stays in float32: it has most of the weights but needs hardly any
    of the time.
    """
    with ExitStack() as undo:
        undo.callback(model.train, model.training)
        model.eval()
        try:
            transformer = transformer_of(model)
        except XlbenchError:  # another architecture, which is left as it is
            transformer = None
        if transformer is not None:
            if half := half_dtype(precision):
                undo.enter_context(_layers_in(transformer, half))
            undo.enter_context(quick_attention(transformer, model.device))
            undo.enter_context(packed_kernels(transformer))
        yield


def batches(
    lengths: NDArray[np.integer], batch_tokens: int, min_tokens: int | None = None
) -> Iterator[NDArray[np.intp]]:
    """Yield, for each batch, the positions of its sentences, the longest sentences first.

    Args:
        lengths: Number of tokens of each sentence, [n].
        batch_tokens: The most padded tokens of a batch: its number of sentences times its longest length.
        min_tokens: A batch with that many padded tokens ends before a sentence that is shorter than :data:`SIMILAR` of
            its longest one. None fills every batch.

    Yields:
        intp [sentences of the batch].
    """
    order = np.argsort(-lengths, kind="stable")
    descending = -lengths[order]
    start = 0
    while start < len(order):
        longest = max(1, -int(descending[start]))
        size = max(1, batch_tokens // longest)
        if min_tokens is not None:
            similar = int(np.searchsorted(descending[start:], -SIMILAR * longest, side="right"))
            size = min(size, max(similar, math.ceil(min_tokens / longest)))
        yield order[start : start + size]
        start += size


def pad(
    rows: Sequence[Sequence[int] | NDArray[np.int64]], filler: int, *, left: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask, both int64 [rows, longest row].

    Args:
        rows: Token ids of each sentence, special tokens included.
        filler: Id of the padding token.
        left: Pad before the tokens instead of after them.
    """
    width = max(1, *(len(row) for row in rows))
    ids = torch.full((len(rows), width), filler)
    mask = torch.zeros((len(rows), width), dtype=torch.int64)
    for number, row in enumerate(rows):
        span = slice(width - len(row), width) if left else slice(len(row))
        ids[number, span] = torch.as_tensor(row, dtype=torch.int64)
        mask[number, span] = 1
    return ids, mask


def _encode_chunk(
    model: SentenceTransformer,
    pipeline: Pipeline,
    texts: list[str],
    *,
    precision: Precision,
    level: Level,
    max_tokens: int | None,
    batch_tokens: int,
    min_tokens: int | None,
    room: Room,
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Yield, for each batch, the positions of its sentences in ``texts`` and their vectors."""
    limit = pipeline.limit(max_tokens)
    tokens = model.tokenizer(pipeline.texts(texts), truncation=limit is not None, max_length=limit)["input_ids"]
    lengths = np.array([len(row) for row in tokens])

    def run(positions: NDArray[np.intp]) -> NDArray[np.float32]:
        rows = [tokens[position] for position in positions]
        ids, mask = pad(rows, model.tokenizer.pad_token_id or 0, left=model.tokenizer.padding_side == "left")
        return _run(model, pipeline, ids, mask, precision, level)

    yield from fitted(batches(lengths, batch_tokens, min_tokens), lengths, room, run)


def _run(
    model: SentenceTransformer,
    pipeline: Pipeline,
    ids: torch.Tensor,
    mask: torch.Tensor,
    precision: Precision,
    level: Level,
) -> NDArray[np.float32]:
    with torch.inference_mode():
        vectors = _forward(model, pipeline, ids.to(model.device), mask.to(model.device), precision, level)
    return vectors.float().cpu().numpy()


def _run_full(
    model: SentenceTransformer, pipeline: Pipeline, precision: Precision, level: Level, longest: int | None, tokens: int
) -> None:
    """Encode a batch of a number of tokens without padding, to see whether it fits and how long it takes."""
    width = min(longest or FULL, FULL)
    ids = torch.full((max(1, tokens // width), width), model.tokenizer.unk_token_id or 0)
    _run(model, pipeline, ids, torch.ones_like(ids), precision, level)


def _checked(
    parts: Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]], width: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Yield what is encoded; name the encoder as the cause where its modules fail or give something else."""
    while True:
        with encoding_errors():
            part = next(parts, None)
        if part is None:
            return
        positions, batch = part
        if batch.shape != (len(positions), width):
            raise XlbenchError(
                f"The encoder declares vectors of {width} numbers, and gives an array of shape {list(batch.shape)} for"
                f" {len(positions)} sentences.",
                "Correct the module that gives them, or its get_embedding_dimension.",
            )
        yield positions, batch


def _forward(
    model: SentenceTransformer,
    pipeline: Pipeline,
    ids: torch.Tensor,
    mask: torch.Tensor,
    precision: Precision,
    level: Level,
) -> torch.Tensor:
    first, *rest = model.children()
    with computing_in(precision, model.device):
        if level == "embeddings":
            return mean_pool(embedding_output(transformer_of(model), ids, mask), mask)
        features = cast("dict[str, torch.Tensor]", first(pipeline.features(ids, mask)))
    if precision != "float32":
        features = {
            name: value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
            for name, value in features.items()
        }
    for module in rest:
        features = module(features)
    return pipeline.cut(features["sentence_embedding"])


def _encode_by_model(
    model: SentenceTransformer, texts: list[str], precision: Precision, max_tokens: int | None
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Do the same as :func:`_encode_chunk` with the model's own ``encode``, for models that are not plain."""
    before = model.max_seq_length  # infinite for encoders that do not count tokens
    cut = max_tokens is not None and isinstance(before, int) and max_tokens < before
    if cut:
        model.max_seq_length = max_tokens
    try:
        for start in range(0, len(texts), FALLBACK_BATCH):
            positions = np.arange(start, min(start + FALLBACK_BATCH, len(texts)))
            with computing_in(precision, model.device):
                vectors = model.encode(
                    texts[start : start + FALLBACK_BATCH],
                    batch_size=FALLBACK_BATCH,
                    show_progress_bar=False,
                    convert_to_tensor=True,
                )
            yield positions, vectors.float().cpu().numpy()
    finally:
        if cut:
            model.max_seq_length = before


@contextmanager
def _layers_in(transformer: PreTrainedModel, dtype: torch.dtype) -> Iterator[None]:
    """Hold the float32 weights outside the embedding layer in another dtype; undone on leaving."""
    embeddings = transformer.get_submodule("embeddings")
    embedding_weights = {id(parameter) for parameter in embeddings.parameters()}
    before = [
        (parameter, parameter.data)
        for parameter in transformer.parameters()
        if parameter.dtype == torch.float32 and id(parameter) not in embedding_weights
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


def _cast(dtype: torch.dtype, module: nn.Module, inputs: object, embedded: torch.Tensor) -> torch.Tensor:
    """Cast the output of the embedding layer; a forward hook."""
    return embedded.to(dtype)
