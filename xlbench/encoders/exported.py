"""Exported encoders: a graph from token ids to the sentence vector, run by onnxruntime or OpenVINO."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from pydantic import Field, ValidationError
from sentence_transformers.base.modules import InputModule

from xlbench.encoders.graph_runtimes import EXAMPLES, FACTS, TOKENIZER, Runtime, open_session, runtime_of
from xlbench.errors import XlbenchError, first_line, shortened
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedTokenizerFast


INPUTS = ("input_ids", "attention_mask")
MOST_APART = 0.01  # 1 - cosine of an example's two vectors


class GraphFacts(Frozen):
    """What an export writes into the graph's metadata about the encoder: sizes that runtimes do not tell."""

    format: str = Field(description="What it was exported to, e.g. 'onnx-int8'.")
    parameters: int = Field(ge=0, description="Weights in the graph; those of looped layers are there once.")
    dimension: int = Field(ge=1)
    embedding_parameters: int | None = None
    encoder_parameters: int | None = None
    executed_parameters: int | None = None
    stored_layers: int | None = None
    executed_layers: int | None = None


class ExportedEncoder(InputModule):
    """The only module of an exported encoder's SentenceTransformer.

    Attributes:
        directory: Where it lies.
        runtime: What runs it.
        facts: What the graph says of itself.
        tokenizer: Of transformers, made of ``tokenizer.json``.
        max_seq_length: The most tokens of a sentence; None if they are not limited.
    """

    def __init__(self, path: Path, runtime: Runtime, threads: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.directory = path
        self.runtime = runtime
        self.session = open_session(path, runtime, threads)
        self.facts = _facts(path / runtime.graph, self.session.facts)
        self.tokenizer, self.max_seq_length = _tokenizer(path / TOKENIZER)

    def forward(self, features: dict[str, torch.Tensor], **kwargs: object) -> dict[str, torch.Tensor]:
        """Add the sentence vectors, float32 [sentences, dimension], to token ids and mask."""
        given = {name: features[name].cpu().numpy() for name in INPUTS}
        return {**features, "sentence_embedding": torch.from_numpy(self.session(given))}

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


def load_exported(path: Path, threads: int | None = None) -> SentenceTransformer:
    """Load an exported encoder.

    Args:
        path: Its directory.
        threads: With how many it runs; None: as many as torch.

    Raises:
        XlbenchError: Its runtime is not installed, the directory holds no encoder that xlbench exported, or graph and
            tokenizer do not give the vectors of its examples: one of the files is damaged, or another export's.
    """
    runtime = runtime_of(path)
    if runtime is None:
        raise XlbenchError(f"'{path}' holds no exported encoder.", "Give a directory that `xlbench export` wrote.")
    runtime.require([runtime.name], f"To run the exported encoder in '{path}'")
    from sentence_transformers import SentenceTransformer

    try:
        encoder = ExportedEncoder(path, runtime, threads or torch.get_num_threads())
    except XlbenchError:
        raise
    except Exception as error:  # the runtimes' errors derive from nothing narrower
        raise XlbenchError(
            f"The exported encoder in '{path}' cannot be loaded: {first_line(error)}", "Export it again."
        ) from error
    model = SentenceTransformer(modules=[encoder], device="cpu").eval()
    _check_examples(model, path)
    return model


def exported_encoder(model: SentenceTransformer) -> ExportedEncoder | None:
    """Return the exported encoder inside; None if the model is of another kind."""
    first = next(iter(model.children()), None)
    return first if isinstance(first, ExportedEncoder) else None


def _facts(graph: Path, text: str) -> GraphFacts:
    try:
        return GraphFacts.model_validate_json(text)
    except ValidationError:
        raise XlbenchError(
            f"'{graph}' was not written by `xlbench export`: its metadata lacks '{FACTS}'.",
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


class _Examples(Frozen):
    """Sentences, and the vectors that the export gave them when it was written."""

    tolerance: float
    sentences: tuple[str, ...]
    vectors: tuple[tuple[float, ...], ...]


def _check_examples(model: SentenceTransformer, path: Path) -> None:
    """Refuse an export that gives its example sentences other vectors; one without examples is believed.

    Integers round otherwise on CPUs without the instructions that an export was written with, so the bound is that of
    what an export may lose, and not the tolerance that the file states for the same CPU.
    """
    file = path / EXAMPLES
    if not file.exists():
        return
    remedy = "Export the encoder again, or fetch the directory again."
    try:
        examples = _Examples.model_validate_json(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise XlbenchError(f"'{file}' holds no examples as `xlbench export` writes them.", remedy) from error
    try:
        found = np.asarray(model.encode(list(examples.sentences), show_progress_bar=False), np.float64)
    except Exception as error:  # the runtimes' errors derive from nothing narrower
        raise XlbenchError(f"The exported encoder in '{path}' cannot encode: {first_line(error)}", remedy) from error
    wanted = np.asarray(examples.vectors, np.float64) if examples.vectors else found
    if found.shape != wanted.shape:
        raise XlbenchError(f"'{file}' is of another export: its vectors have another shape.", remedy)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    apart = 1 - np.where((found == wanted).all(axis=1), 1.0, (found * wanted).sum(axis=1) / np.maximum(lengths, 1e-300))
    if not (apart <= MOST_APART).all():
        sentence = examples.sentences[int(np.nan_to_num(apart, nan=2).argmax())]
        raise XlbenchError(
            f"The exported encoder in '{path}' does not give the vectors of its '{EXAMPLES}', first for "
            f"{shortened(sentence)}: a file is damaged, or of another export.",
            remedy,
        )
