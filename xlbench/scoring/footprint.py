"""What an encoder weighs: parameters, layers and bytes, stored and executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.encoders.anatomy import transformer_of
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer
    from torch import nn

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
    dimension = model.get_embedding_dimension()
    if dimension is None:
        raise XlbenchError(
            "The encoder does not say how wide its sentence embeddings are.",
            "Its last module needs a get_embedding_dimension method.",
        )
    parts = _parts(model)
    known: dict[str, int] = {}
    if parts is not None:
        embedding, encoder, layers = parts
        known = {
            "embedding_parameters": count(embedding),
            "encoder_parameters": count(encoder),
            "executed_parameters": sum(count(layer) for layer in layers),
            "stored_layers": len(set(layers)),
            "executed_layers": len(layers),
        }
    if path is not None:
        known["weight_bytes"] = directory_size(path, WEIGHT_SUFFIXES)
        known["directory_bytes"] = directory_size(path)
    return Footprint(parameters=count(model), dimension=dimension, **known)


def count(module: nn.Module) -> int:
    """Return how many parameters a module stores: shared ones once, frozen ones too."""
    return sum(parameter.numel() for parameter in module.parameters())


def directory_size(path: Path, suffixes: frozenset[str] | None = None) -> int:
    """Return the bytes of a directory's files, of those with one of ``suffixes`` if given."""
    return sum(
        file.stat().st_size
        for file in path.rglob("*")
        if file.is_file() and (suffixes is None or file.suffix in suffixes)
    )


def _parts(model: SentenceTransformer) -> tuple[nn.Module, nn.Module, list[nn.Module]] | None:
    """Return the embedding layer, the encoder and its layers as they run; nothing for other architectures."""
    try:
        transformer = transformer_of(model)
    except XlbenchError:
        return None
    from torch.nn import ModuleList

    # Iterated, not children(): `layer` may hold the same module several times, as a recurrent student does.
    layers = transformer.get_submodule("encoder.layer")
    assert isinstance(layers, ModuleList)
    return transformer.get_submodule("embeddings"), transformer.get_submodule("encoder"), list(layers)
