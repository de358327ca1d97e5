"""Cutting a student out of an assistant: bottleneck, kept layers, centre; weights are carried over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch.nn import LayerNorm
from transformers import BertModel, XLMRobertaModel

from xlbench.encoders.modules import inner_model, transformer_of
from xlbench.errors import XlbenchError
from xlbench.students.architecture import (
    BottleneckEmbedding,
    LoopedLayers,
    StudentBertConfig,
    StudentBertModel,
    StudentXLMRobertaConfig,
    StudentXLMRobertaModel,
)
from xlbench.students.int8 import pack_int8, unpack_maps
from xlbench.students.shape import Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentence_transformers import SentenceTransformer
    from torch import nn

    from xlbench.students.architecture import LoopOrder, StudentModel

Choice = Literal["spaced", "first", "last"]


def stock_encoder(model: SentenceTransformer) -> BertModel | XLMRobertaModel:
    """Return the BERT or XLM-R inside, stock or student.

    Raises:
        XlbenchError: There is none: such an encoder can teach, but nothing can be cut from it.
    """
    inner = transformer_of(model)
    if not isinstance(inner, BertModel | XLMRobertaModel):
        raise XlbenchError(
            f"A student cannot be cut from a {type(inner).__name__}.", "The assistant must be a BERT or an XLM-R."
        )
    return inner


def build_student(model: SentenceTransformer) -> StudentModel:
    """Turn the encoder inside into a student model with the same weights, and return it."""
    student = as_student(stock_encoder(model))
    model[0].model = student
    return student


def shape_of(model: BertModel | XLMRobertaModel) -> Shape:
    """Return the shape of an encoder, stock or student."""
    config = model.config
    return Shape(
        architecture="bert" if isinstance(model, BertModel) else "xlm-roberta",
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        positions=config.max_position_embeddings,
        types=config.type_vocab_size,
        layers=config.num_hidden_layers,
        repeats=getattr(config, "repeats", 1),
        rank_share=getattr(config, "rank_share", 1.0),
        bottleneck=getattr(config, "bottleneck", None),
        frequent=getattr(config, "frequent", 0),
        pooler=model.pooler is not None,
        bits=getattr(config, "bits", 32),
    )


def shape_in(model: SentenceTransformer, width: int) -> Shape:
    """Return the shape of a whole SentenceTransformer: its encoder's, and what follows it.

    Args:
        model: Any; of one that is neither BERT, XLM-R nor static only the size as a whole is known.
        width: How wide its vectors are.
    """
    first, *rest = model.children()
    inner = inner_model(model)
    if isinstance(inner, BertModel | XLMRobertaModel):
        shape = shape_of(inner)
    elif isinstance(first, StaticEmbedding):
        rows, columns = first.embedding.weight.shape
        shape = Shape(architecture="static", vocabulary=rows, hidden=columns, pooler=False)
    else:
        # Read from the tokenizer, as there is no table that is known to be the word table.
        tokens = getattr(getattr(first, "tokenizer", None), "vocab_size", 0)
        shape = Shape(architecture="other", vocabulary=tokens, hidden=width, pooler=False)
        rest = [model]
    return shape.model_copy(
        update={
            "head": sum(parameter.numel() for part in rest for parameter in part.parameters()),
            "dimension": width if width != shape.hidden else None,
        }
    )


def as_student(model: BertModel | XLMRobertaModel) -> StudentModel:
    """Return the encoder as a student model with the same weights (a student is returned as it is)."""
    if isinstance(model, StudentBertModel | StudentXLMRobertaModel):
        return model
    settings = model.config.to_dict()
    settings.pop("model_type", None)
    student: StudentModel
    if isinstance(model, BertModel):
        student = StudentBertModel(StudentBertConfig(**settings), add_pooling_layer=model.pooler is not None)
    else:
        student = StudentXLMRobertaModel(
            StudentXLMRobertaConfig(**settings), add_pooling_layer=model.pooler is not None
        )
    student.load_state_dict(model.state_dict(), strict=True)
    student.train(model.training)
    return student


def chosen_layers(available: int, kept: int, choice: Choice) -> list[int]:
    """Return the 0-based indices of the layers that a student keeps, ascending.

    ``spaced`` spreads them over the depth, first and last included (6 of 12: 0 2 4 7 9 11), ``first`` and
    ``last`` take them from one end.
    """
    if choice == "first":
        return list(range(kept))
    if choice == "last":
        return list(range(available - kept, available))
    return [round(index) for index in np.linspace(0, available - 1, kept)]


def keep_layers(student: StudentModel, layers: int, repeats: int, choice: Choice, order: LoopOrder = "cycle") -> None:
    """Keep ``layers`` of the layers and run them ``repeats`` times, in turns (``cycle``) or each at once.

    Raises:
        XlbenchError: There are not that many layers.
    """
    shape_of(student).with_layers(layers, repeats)
    stored = list(student.encoder.layer)
    kept: list[nn.Module] = [stored[index] for index in chosen_layers(len(stored), layers, choice)]
    student.encoder.layer = LoopedLayers(kept, repeats, order)
    student.config.num_hidden_layers = layers
    student.config.repeats = repeats
    student.config.loop_order = order


def cut_bottleneck(
    student: StudentModel,
    width: int,
    weights: np.ndarray | None,
    generator: torch.Generator | None = None,
    frequent: Sequence[int] | np.ndarray = (),
) -> None:
    """Exchange the word table for a V x ``width`` one and a map back to the hidden size.

    With ``weights`` the two are the best rank-``width`` factors of the old table E in the weighted least-squares
    sense: the eigenvectors of sum_t w_t e_t e_t' with the largest eigenvalues (Eckart & Young, 1936, on rows
    scaled by the square roots of the weights). Without, both are random as in the paper.

    Args:
        student: Changed in place.
        width: Columns of the new table.
        weights: How much each of the V tokens counts, float [V], not negative; None for a random start.
        generator: Source of the random start.
        frequent: Distinct ids of the tokens that get a correction, and so keep their rows as they are, int [F]; they
            count nothing in the choice of the factors.

    Raises:
        XlbenchError: The width does not fit.
    """
    shape_of(student).with_bottleneck(width)
    old = student.embeddings.word_embeddings
    table = old.weight.detach()
    ids = torch.tensor(frequent, dtype=torch.int64)
    new = BottleneckEmbedding(table.shape[0], width, table.shape[1], old.padding_idx, len(ids))
    with torch.no_grad():
        if weights is None:
            deviation = student.config.initializer_range
            new.table.weight.normal_(0.0, deviation, generator=generator)
            new.up.weight.normal_(0.0, deviation, generator=generator)
        else:
            rows = table.double()
            scale = torch.tensor(weights, dtype=torch.float64)
            scale[ids] = 0
            moment = rows.T @ (rows * (scale / scale.sum()).unsqueeze(1))
            # eigh sorts ascending; the sign of an eigenvector is arbitrary, fixed here for determinism.
            basis = torch.linalg.eigh(moment).eigenvectors.flip(1)[:, :width]
            basis *= basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()
            new.table.weight.copy_(rows @ basis)
            new.up.weight.copy_(basis)
        new.correct(ids, table[ids] - new.table.weight[ids] @ new.up.weight.T)
    student.embeddings.set_submodule("word_embeddings", new)
    student.config.bottleneck = width
    student.config.frequent = len(ids)


def quantise(model: SentenceTransformer, bits: Literal[8, 16]) -> None:
    """Have an encoder saved with ``bits`` of each weight, and round it now to what will be saved.

    In 16 bits all of it, and what was a stock encoder stays one. In 8 bits its tables and linear maps: biases and norms
    are a hundredth, and of what follows the encoder not much is known.

    Raises:
        XlbenchError: A weight is too large for it.
    """
    if bits == 16:
        for name, weight in model.named_parameters():
            if not torch.isfinite(weight.half()).all():
                raise XlbenchError(f"Weights '{name}' are too large for 16 bits.", "Store the student in 32.")
            with torch.no_grad():
                weight.copy_(weight.half())
        stock_encoder(model).config.bits = bits
    else:
        student = build_student(model)
        pack_int8(student)
        unpack_maps(student)
        student.config.bits = bits


def shift_output(model: BertModel | XLMRobertaModel, shift: np.ndarray) -> None:
    """Add a constant, float [H], to every token's output, and so to the mean-pooled sentence embedding.

    It goes into the bias of the last layer's LayerNorm: no parameter is added. Only for layers that run once.

    Raises:
        XlbenchError: The layers are looped, so that the last one also runs earlier.
    """
    if shape_of(model).repeats > 1:
        raise XlbenchError("The output of looped layers cannot be shifted.", "Centre the assistant before looping it.")
    norm = list(model.encoder.layer)[-1].get_submodule("output.LayerNorm")
    assert isinstance(norm, LayerNorm)
    with torch.no_grad():
        norm.bias.add_(torch.as_tensor(shift, dtype=norm.bias.dtype))
