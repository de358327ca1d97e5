"""Building a student from an assistant, whose weights it keeps: bottleneck, kept and looped layers, centring, bits.

Every function but the first few changes the encoder that it is given in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch.nn import LayerNorm
from transformers import BertModel, XLMRobertaModel

from xlbench.encoders.encode import dimension
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
from xlbench.students.quantised import dequantise_linear_maps, quantise_matrices
from xlbench.students.shape import Shape
from xlbench.students.token_embeddings import set_corrections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentence_transformers import SentenceTransformer
    from torch import nn

    from xlbench.students.architecture import LoopOrder, StudentModel
    from xlbench.students.token_embeddings import TableOwner

LayerChoice = Literal["spaced", "first", "last"]


def stock_encoder(model: SentenceTransformer) -> BertModel | XLMRobertaModel:
    """Return the BERT or XLM-R inside a SentenceTransformer; it may be stock or a student already.

    Raises:
        XlbenchError: The encoder is of another architecture: it can teach, but no student can be cut from it.
    """
    inner = transformer_of(model)
    if not isinstance(inner, BertModel | XLMRobertaModel):
        raise XlbenchError(
            f"A student cannot be cut from a {type(inner).__name__}.", "The assistant must be a BERT or an XLM-R."
        )
    return inner


def table_owner(model: SentenceTransformer) -> TableOwner:
    """Return the part of an encoder that holds its token table: the BERT or XLM-R inside, or the whole static encoder.

    Raises:
        XlbenchError: The encoder is of another architecture.
    """
    first = next(iter(model.children()), None)
    return first if isinstance(first, StaticEmbedding) else stock_encoder(model)


def build_student(model: SentenceTransformer) -> StudentModel:
    """Replace the BERT or XLM-R inside a SentenceTransformer by a student model with its weights, and return that.

    Raises:
        XlbenchError: The encoder is of another architecture.
    """
    student = as_student(stock_encoder(model))
    model[0].model = student
    return student


def transformer_shape(model: BertModel | XLMRobertaModel) -> Shape:
    """Return the shape of a BERT or XLM-R, stock or student, by its configuration."""
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


def encoder_shape(model: SentenceTransformer) -> Shape:
    """Return the shape of a whole SentenceTransformer: of its encoder, and of the modules after it.

    Of one that is neither a BERT, an XLM-R nor a static encoder, only the width and the number of parameters are known.
    """
    width = dimension(model)
    first, *rest = model.children()
    inner = inner_model(model)
    if isinstance(inner, BertModel | XLMRobertaModel):
        shape = transformer_shape(inner)
    elif isinstance(first, StaticEmbedding):
        rows, columns = first.embedding.weight.shape
        shape = Shape(architecture="static", vocabulary=rows, hidden=columns, pooler=False)
    else:
        # Which of its tables holds the token embeddings is unknown, so the tokenizer is asked.
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
    """Return a student model with the weights of an encoder; an encoder that is a student is returned itself."""
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


def choose_layers(available: int, kept: int, choice: LayerChoice) -> list[int]:
    """Return the 0-based indices of the layers that a student keeps, ascending.

    Args:
        available: Layers of the assistant.
        kept: Layers of the student.
        choice: ``spaced`` spreads the layers evenly over the depth, with the first and the last one (6 of 12: 0 2 4 7 9
            11); ``first`` and ``last`` take them from one end.
    """
    if choice == "first":
        return list(range(kept))
    if choice == "last":
        return list(range(available - kept, available))
    return [round(index) for index in np.linspace(0, available - 1, kept)]


def keep_layers(
    student: StudentModel, layers: int, repeats: int, choice: LayerChoice, order: LoopOrder = "cycle"
) -> None:
    """Drop all but some layers, and loop those.

    Args:
        student: Changed in place.
        layers: Number K of layers to keep.
        repeats: Times R that each runs.
        choice: Which layers are kept, see :func:`choose_layers`.
        order: Order in which looped layers run, see :class:`~xlbench.students.architecture.LoopedLayers`.

    Raises:
        XlbenchError: The student has fewer layers, or its layers are looped already.
    """
    transformer_shape(student).with_layers(layers, repeats)
    stored = list(student.encoder.layer)
    kept: list[nn.Module] = [stored[index] for index in choose_layers(len(stored), layers, choice)]
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
    """Replace the V x H embedding table by a V x ``width`` one and a linear map back to the hidden size H.

    With ``weights`` w_t the two are the best factors of the old table E, with rows e_t, in the weighted least-squares
    sense: the map holds the eigenvectors of sum_t w_t e_t e_t' with the largest eigenvalues (Eckart & Young, 1936, on
    rows scaled by the square roots of the weights). Without weights both are random, as in Ding et al. (2022).

    Args:
        student: Changed in place.
        width: Columns of the new table.
        weights: Weight of each token, float [V], not negative; None for random factors.
        generator: Generator of the random factors; None for torch's global one.
        frequent: Distinct ids of the tokens that get a correction and so keep their rows exactly, int [F]; they have no
            weight in the choice of the factors.

    Raises:
        XlbenchError: The encoder is not wider than ``width``, or has a bottleneck already.
    """
    transformer_shape(student).with_bottleneck(width)
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
            # eigh sorts ascending. The sign of an eigenvector is arbitrary; it is fixed so that every machine agrees.
            basis = torch.linalg.eigh(moment).eigenvectors.flip(1)[:, :width]
            basis *= basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()
            new.table.weight.copy_(rows @ basis)
            new.up.weight.copy_(basis)
        set_corrections(new, ids, table[ids] - new.table.weight[ids] @ new.up.weight.T)
    student.embeddings.set_submodule("word_embeddings", new)
    student.config.bottleneck = width
    student.config.frequent = len(ids)


def quantise(model: SentenceTransformer, bits: Literal[8, 16]) -> None:
    """Quantise an encoder's weights, which will also be saved with that many bits.

    With 16 bits every weight is rounded to float16, and a stock encoder stays one. With 8 bits the embedding tables and
    the linear maps of the BERT or XLM-R inside are quantised. Its biases and norms, about a hundredth of the weights,
    and the modules after it stay float32.

    Raises:
        XlbenchError: A weight is too large for the type.
    """
    if bits == 16:
        for name, weight in model.named_parameters():
            if not torch.isfinite(weight.half()).all():
                raise XlbenchError(f"Weights '{name}' are too large for 16 bits.", "Store the student in 32 bits.")
            with torch.no_grad():
                weight.copy_(weight.half())
        stock_encoder(model).config.bits = bits
    else:
        student = build_student(model)
        quantise_matrices(student)
        dequantise_linear_maps(student)
        student.config.bits = bits


def shift_output(model: BertModel | XLMRobertaModel, shift: np.ndarray) -> None:
    """Add a constant vector to every token's output, and so to the mean-pooled sentence embedding.

    The vector is added to the bias of the last layer's LayerNorm, so the encoder gets no further parameters.

    Args:
        model: Changed in place.
        shift: The constant vector, float [H].

    Raises:
        XlbenchError: The layers are looped: the last one also runs earlier, where its output must not change.
    """
    if transformer_shape(model).repeats > 1:
        raise XlbenchError("The output of looped layers cannot be shifted.", "Centre the assistant before looping it.")
    norm = list(model.encoder.layer)[-1].get_submodule("output.LayerNorm")
    assert isinstance(norm, LayerNorm)
    with torch.no_grad():
        norm.bias.add_(torch.as_tensor(shift, dtype=norm.bias.dtype))
