"""The size of an encoder: parameters, layers and bytes, stored and executed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.encoders.directories import MANIFEST
from xlbench.encoders.modules import transformer_of
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WEIGHT_SUFFIXES = frozenset({".safetensors", ".bin", ".pt", ".onnx", ".onnx_data", ".npy", ".npz"})


class Footprint(Frozen):
    """The size of an encoder. A parameter that several layers share is stored once and counts once."""

    parameters: int = Field(ge=0, description="All stored parameters, including those of a pooler that is not used.")
    embedding_parameters: int | None = Field(
        default=None,
        description="Of the embedding layer: token embeddings and their projection, positions, types, LayerNorm; "
        "None if unknown.",
    )
    encoder_parameters: int | None = Field(default=None, description="Of the transformer layers; None if unknown.")
    executed_parameters: int | None = Field(
        default=None,
        description="Of the layers of a forward pass, repeated layers counted each time; None if unknown.",
    )
    stored_layers: int | None = Field(default=None, description="Distinct layers; None if unknown.")
    executed_layers: int | None = Field(default=None, description="Layers of a forward pass; None if unknown.")
    vocabulary: int | None = Field(default=None, description="Number of tokens of the tokenizer; None if unknown.")
    dimension: int = Field(ge=1, description="Width of a sentence embedding.")
    weight_bytes: int | None = Field(default=None, description="Bytes of the weight files; None if it is not saved.")
    directory_bytes: int | None = Field(
        default=None, description="Bytes of all files, those of the tokenizer included; None if it is not saved."
    )


def measure_footprint(model: SentenceTransformer, path: Path | None) -> Footprint:
    """Measure an encoder.

    Args:
        model: The encoder, loaded.
        path: The directory it is saved in; None if it is not saved.

    Raises:
        XlbenchError: The model does not say how wide its embeddings are.
    """
    from xlbench.encoders.exported import exported_encoder
    from xlbench.students.quantised import count_parameters

    dimension = model.get_embedding_dimension()
    if dimension is None:
        raise XlbenchError(
            "The encoder does not say how wide its sentence embeddings are.",
            "Give its last module a get_embedding_dimension method.",
        )
    counts = count_parts(model)
    if (vocabulary := _count_tokens(model)) is not None:
        counts["vocabulary"] = vocabulary
    if path is not None:
        counts["weight_bytes"] = directory_size(path, WEIGHT_SUFFIXES)
        counts["directory_bytes"] = directory_size(path)
    exported = exported_encoder(model)
    parameters = count_parameters(model) if exported is None else exported.facts.parameters
    return Footprint(parameters=parameters, dimension=dimension, **counts)


def directory_size(path: Path, suffixes: frozenset[str] | None = None) -> int:
    """Return the bytes of all files in a directory, or of those with one of ``suffixes``.

    What the store adds to an entry is no part of the encoder, and has a time in it, which is now longer, now shorter.
    """
    files = (file for file in path.rglob("*") if file.is_file() and file.relative_to(path) != Path(MANIFEST))
    return sum(file.stat().st_size for file in files if suffixes is None or file.suffix in suffixes)


def _count_tokens(model: SentenceTransformer) -> int | None:
    tokenizer = getattr(model, "tokenizer", None)
    # A static encoder has a tokenizer of the tokenizers library, others have one of transformers.
    count = getattr(tokenizer, "get_vocab_size", None) or getattr(tokenizer, "__len__", None)
    return None if count is None else int(count())


def count_parts(model: SentenceTransformer) -> dict[str, int]:
    """Return the counts of the embedding layer and the transformer layers; none for unknown architectures."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from torch.nn import ModuleList

    from xlbench.encoders.exported import exported_encoder
    from xlbench.students.quantised import count_parameters

    if (exported := exported_encoder(model)) is not None:
        return exported.facts.model_dump(exclude_none=True, exclude={"format", "parameters", "dimension"})
    first = next(iter(model.children()), None)
    if isinstance(first, StaticEmbedding):  # has token embeddings only
        zeros = dict.fromkeys(("encoder_parameters", "executed_parameters", "stored_layers", "executed_layers"), 0)
        return {"embedding_parameters": count_parameters(first), **zeros}
    try:
        transformer = transformer_of(model)
    except XlbenchError:
        return {}
    # children() would yield a layer once that a looped student holds several times.
    layers = transformer.get_submodule("encoder.layer")
    assert isinstance(layers, ModuleList)
    return {
        "embedding_parameters": count_parameters(transformer.get_submodule("embeddings")),
        "encoder_parameters": count_parameters(transformer.get_submodule("encoder")),
        "executed_parameters": sum(count_parameters(layer) for layer in layers),
        "stored_layers": len(set(layers)),
        "executed_layers": len(list(layers)),
    }
