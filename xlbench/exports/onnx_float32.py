"""The format ``onnx``: one file from token ids to the sentence vector, computed in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.encoders.encode import dimension
from xlbench.encoders.exported import GraphFacts
from xlbench.encoders.graph_runtimes import FACTS, ONNX, TOKENIZER
from xlbench.exports.graph import Graph
from xlbench.exports.network import Parts, stored_bits
from xlbench.exports.tokenizer import tokenizer_text
from xlbench.scoring.footprint import count_parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

SUMMARY = (
    "An ONNX graph with pooling and normalisation inside, computed in float32. Its weights are stored with the bits of "
    "the encoder, those of looped layers once."
)
LIBRARY = "onnx"
TOLERANCE: float | None = 1e-5
LOSS = 1e-6

USAGE = """\
import numpy as np
from onnxruntime import InferenceSession
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
session = InferenceSession("model.onnx")
rows = tokenizer.encode_batch(["A cat is sleeping.", "Eine Katze schläft."])
inputs = {"input_ids": np.array([row.ids for row in rows], np.int64),
          "attention_mask": np.array([row.attention_mask for row in rows], np.int64)}
vectors = session.run(["sentence_embedding"], inputs)[0]
print(vectors.shape, vectors[0] @ vectors[1])
"""


def write(model: SentenceTransformer, directory: Path, sentences: Sequence[str]) -> None:
    """Write graph and tokenizer.

    Raises:
        XlbenchError: The encoder has a module that cannot be written.
    """
    graph = Graph()
    output = Parts(graph, stored_bits(model)).encoder(model)
    write_graph(model, graph, output, directory, "onnx")


def usage() -> str:
    """Return the script of the card."""
    return USAGE


def write_graph(model: SentenceTransformer, graph: Graph, output: str, directory: Path, name: str) -> None:
    """Write a finished graph, with the sizes of the encoder as its metadata, and the tokenizer."""
    (directory / TOKENIZER).write_text(tokenizer_text(model), "utf-8")
    facts = graph_facts(model, graph, name)
    graph.save(output, facts.dimension, directory / ONNX.graph, {FACTS: facts.model_dump_json(exclude_none=True)})


def graph_facts(model: SentenceTransformer, graph: Graph, name: str) -> GraphFacts:
    """Return what the metadata of a graph in a format says of the encoder."""
    return GraphFacts(format=name, parameters=graph.parameters, dimension=dimension(model), **count_parts(model))
