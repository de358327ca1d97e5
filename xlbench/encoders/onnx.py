"""Exported encoders: an ONNX graph from token ids to the sentence vector, run by onnxruntime."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

import torch
from pydantic import Field, ValidationError
from sentence_transformers.base.modules import InputModule

from xlbench.encoders.directories import GRAPH, INSTALL_ONNX, TOKENIZER
from xlbench.errors import XlbenchError, first_line
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedTokenizerFast

    from xlbench.settings import Settings

FACTS = "xlbench"  # metadata of the graph
RUNTIME = "onnxruntime"
INPUTS = ("input_ids", "attention_mask")


class GraphFacts(Frozen):
    """What an export writes into the graph's metadata about the encoder: sizes that onnxruntime does not tell."""

    format: str = Field(description="What it was exported to, e.g. 'onnx-int8'.")
    parameters: int = Field(ge=0, description="Weights in the graph; those of looped layers are there once.")
    dimension: int = Field(ge=1)
    embedding_parameters: int | None = None
    encoder_parameters: int | None = None
    executed_parameters: int | None = None
    stored_layers: int | None = None
    executed_layers: int | None = None


class OnnxEncoder(InputModule):
    """The only module of an exported encoder's SentenceTransformer.

    Attributes:
        directory: Where it lies.
        facts: What the graph says of itself.
        tokenizer: Of transformers, made of ``tokenizer.json``.
        max_seq_length: The most tokens of a sentence; None if they are not limited.
    """

    def __init__(self, path: Path, threads: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        import onnxruntime

        self.directory = path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only
        self.session = onnxruntime.InferenceSession(str(path / GRAPH), options, providers=["CPUExecutionProvider"])
        self.facts = _facts(path, self.session.get_modelmeta().custom_metadata_map.get(FACTS, ""))
        self.tokenizer, self.max_seq_length = _tokenizer(path / TOKENIZER)

    def forward(self, features: dict[str, torch.Tensor], **kwargs: object) -> dict[str, torch.Tensor]:
        """Add the sentence vectors, float32 [sentences, dimension], to token ids and mask."""
        given = {name: features[name].cpu().numpy() for name in INPUTS}
        (vectors,) = self.session.run(["sentence_embedding"], given)
        return {**features, "sentence_embedding": torch.from_numpy(vectors)}

    def preprocess(  # type: ignore[override]
        self, inputs: Sequence[str], prompt: str | None = None, **kwargs: object
    ) -> dict[str, torch.Tensor]:
        """Return token ids and mask of sentences, both int64 [sentences, tokens]."""
        limit = self.max_seq_length
        texts = [f"{prompt or ''}{text}" for text in inputs]
        tokenizer = cast("PreTrainedTokenizerFast", self.tokenizer)
        padded = tokenizer(texts, truncation=limit is not None, max_length=limit, padding=True, return_tensors="pt")
        return {name: padded[name] for name in INPUTS}

    def get_embedding_dimension(self) -> int:
        """Return the width of a sentence vector."""
        return self.facts.dimension

    def save(self, output_path: str, *args: object, safe_serialization: bool = True, **kwargs: object) -> None:
        """Refuse.

        Raises:
            XlbenchError: Always: an export is not changed.
        """
        raise XlbenchError("An exported encoder cannot be saved again.", "Copy its directory.")


def load_exported(path: Path, settings: Settings) -> SentenceTransformer:
    """Load an exported encoder.

    Args:
        path: Its directory.
        settings: Say with how many threads it runs.

    Raises:
        XlbenchError: onnxruntime is not installed, or the directory holds no encoder that xlbench exported.
    """
    if find_spec(RUNTIME) is None:
        raise XlbenchError(f"'{path}' is an exported encoder, and {RUNTIME} is not installed.", INSTALL_ONNX)
    from sentence_transformers import SentenceTransformer

    try:
        encoder = OnnxEncoder(path, settings.threads or torch.get_num_threads())
    except XlbenchError:
        raise
    except Exception as error:  # onnxruntime's errors derive from nothing narrower
        raise XlbenchError(
            f"The exported encoder in '{path}' cannot be loaded: {first_line(error)}", "Export it again."
        ) from error
    return SentenceTransformer(modules=[encoder], device="cpu").eval()


def exported_encoder(model: SentenceTransformer) -> OnnxEncoder | None:
    """Return the exported encoder inside; None if the model is of another kind."""
    first = next(iter(model.children()), None)
    return first if isinstance(first, OnnxEncoder) else None


def _facts(path: Path, text: str) -> GraphFacts:
    try:
        return GraphFacts.model_validate_json(text)
    except ValidationError:
        raise XlbenchError(
            f"'{path / GRAPH}' was not written by `xlbench export`: its metadata lacks '{FACTS}'.",
            "Export the encoder with xlbench, or give its SentenceTransformer directory.",
        ) from None


def _tokenizer(path: Path) -> tuple[PreTrainedTokenizerFast, int | None]:
    """Return the tokenizer, and the most tokens that it leaves of a sentence."""
    from transformers import PreTrainedTokenizerFast

    settings = json.loads(path.read_text("utf-8"))
    padding, truncation = settings["padding"], settings["truncation"]
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(path), pad_token=padding["pad_token"], padding_side=padding["direction"].lower()
    )
    return tokenizer, truncation and truncation["max_length"]
