"""What an encoder weighs: parameters, layers and bytes, stored and executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.encoders.modules import transformer_of
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

WEIGHT_SUFFIXES = frozenset({".safetensors", ".bin", ".pt", ".onnx", ".npy", ".npz"})


class Footprint(Frozen):
    """The size of an encoder. A tensor that several layers share counts once in what is stored."""

    parameters: int = Field(ge=0, description="All stored parameters, the unread pooler included.")
    embedding_parameters: int | None = Field(
        default=None,
        description="Of the embedding layer: word table, its map, positions, types, norm; None when unknown.",
    )
    encoder_parameters: int | None = Field(default=None, description="Of the transformer layers; None when unknown.")
    executed_parameters: int | None = Field(
        default=None,
        description="Of the layers as a forward pass meets them: repeats counted again; None when unknown.",
    )
    stored_layers: int | None = Field(default=None, description="Distinct layers; None when unknown.")
    executed_layers: int | None = Field(default=None, description="Layers of a forward pass; None when unknown.")
    vocabulary: int | None = Field(
        default=None, description="Tokens that its tokenizer knows; None when that cannot be counted."
    )
    dimension: int = Field(ge=1, description="Width of a sentence embedding.")
    weight_bytes: int | None = Field(
        default=None, description="Bytes of the weight files; None when it was never saved."
    )
    directory_bytes: int | None = Field(
        default=None, description="Bytes of all its files, the tokenizer's included; None when never saved."
    )


def measure_footprint(model: SentenceTransformer, path: Path | None) -> Footprint:
    """Measure an encoder.

    Args:
        model: The encoder, loaded.
        path: The directory it is saved in; None when there is none.

    Raises:
        XlbenchError: The model does not say how wide its embeddings are.
    """
    from xlbench.students.quantised import count_parameters

    dimension = model.get_embedding_dimension()
    if dimension is None:
        raise XlbenchError(
            "The encoder does not say how wide its sentence embeddings are.",
            "Its last module needs a get_embedding_dimension method.",
        )
    known = _known_parts(model)
    if (vocabulary := _vocabulary(model)) is not None:
        known["vocabulary"] = vocabulary
    if path is not None:
        known["weight_bytes"] = directory_size(path, WEIGHT_SUFFIXES)
        known["directory_bytes"] = directory_size(path)
    return Footprint(parameters=count_parameters(model), dimension=dimension, **known)


def directory_size(path: Path, suffixes: frozenset[str] | None = None) -> int:
    """Return the bytes of a directory's files, of those with one of ``suffixes`` if given."""
    return sum(
        file.stat().st_size
        for file in path.rglob("*")
        if file.is_file() and (suffixes is None or file.suffix in suffixes)
    )


def _vocabulary(model: SentenceTransformer) -> int | None:
    tokenizer = getattr(model, "tokenizer", None)
    # A static encoder has one of the library tokenizers, all others have transformers' own.
    count = getattr(tokenizer, "get_vocab_size", None) or getattr(tokenizer, "__len__", None)
    return None if count is None else int(count())


def _known_parts(model: SentenceTransformer) -> dict[str, int]:
    """Return what is known of the embedding layer and of the layers; nothing for other architectures."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from torch.nn import ModuleList

    from xlbench.students.quantised import count_parameters

    first = next(iter(model.children()), None)
    if isinstance(first, StaticEmbedding):  # a table and nothing else
        none = dict.fromkeys(("encoder_parameters", "executed_parameters", "stored_layers", "executed_layers"), 0)
        return {"embedding_parameters": count_parameters(first), **none}
    try:
        transformer = transformer_of(model)
    except XlbenchError:
        return {}
    # Iterated, not children(): `layer` may hold the same module several times, as a recurrent student does.
    layers = transformer.get_submodule("encoder.layer")
    assert isinstance(layers, ModuleList)
    return {
        "embedding_parameters": count_parameters(transformer.get_submodule("embeddings")),
        "encoder_parameters": count_parameters(transformer.get_submodule("encoder")),
        "executed_parameters": sum(count_parameters(layer) for layer in layers),
        "stored_layers": len(set(layers)),
        "executed_layers": len(list(layers)),
    }
