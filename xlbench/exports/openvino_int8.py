"""The format ``openvino-int8``: tables in 8 bits, linear maps in integers, ranges calibrated on the corpus's sentences.

Unlike in ``onnx-int8``, activations have one scale for each map, measured beforehand: nothing is measured while a
sentence is encoded. Intel's NNCF moves outliers of activations into the weights first (SmoothQuant, Xiao et al., ICML
2023). What it chooses rests on the sentences, so they are of the student's languages and not of one.
"""

from __future__ import annotations

import logging
import os
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from xlbench.encoders.graph_runtimes import FACTS, ONNX, OPENVINO, TOKENIZER
from xlbench.exports.graph import IDS, MASK, Graph
from xlbench.exports.network import ByteTables
from xlbench.exports.onnx_float32 import graph_facts
from xlbench.exports.tokenizer import tokenizer_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import openvino
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

SUMMARY = (
    "An OpenVINO graph with pooling and normalisation inside. Tables are stored in 8 bits with a scale for each row. "
    "The linear maps of the layers are computed in integers, with ranges measured on sentences of its languages."
)
LIBRARY = "openvino"
TOLERANCE: float | None = None
LOSS = 0.01

USAGE = """\
import numpy as np
import openvino
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
encoder = openvino.compile_model("openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
rows = tokenizer.encode_batch(["A cat is sleeping.", "Eine Katze schläft."])
inputs = {"input_ids": np.array([row.ids for row in rows], np.int64),
          "attention_mask": np.array([row.attention_mask for row in rows], np.int64)}
vectors = encoder(inputs)["sentence_embedding"]
print(vectors.shape, vectors[0] @ vectors[1])
"""


def write(model: SentenceTransformer, directory: Path, sentences: Sequence[str]) -> None:
    """Write graph and tokenizer.

    Raises:
        XlbenchError: The encoder has a module that cannot be written.
    """
    import openvino

    tokenizer = tokenizer_text(model)
    (directory / TOKENIZER).write_text(tokenizer, "utf-8")
    graph = Graph()
    output = ByteTables(graph, 32).encoder(model)
    facts = graph_facts(model, graph, "openvino-int8")
    between = directory / ONNX.graph
    graph.save(output, facts.dimension, between, {})
    network = openvino.Core().read_model(between)
    network = _in_integers(network, _inputs(Tokenizer.from_str(tokenizer), sentences))
    network.set_rt_info(facts.model_dump_json(exclude_none=True), [FACTS])
    openvino.save_model(network, directory / OPENVINO.graph, compress_to_fp16=False)
    for path in directory.glob(ONNX.weights):
        path.unlink()


def usage() -> str:
    """Return the script of the card."""
    return USAGE


def _inputs(tokenizer: Tokenizer, sentences: Sequence[str]) -> list[dict[str, NDArray[np.int64]]]:
    """Return token ids and mask of each sentence, both int64 [1, tokens]."""
    rows = (tokenizer.encode(text) for text in sentences)
    return [{IDS: np.array([row.ids], np.int64), MASK: np.array([row.attention_mask], np.int64)} for row in rows]


def _in_integers(network: openvino.Model, inputs: list[dict[str, NDArray[np.int64]]]) -> openvino.Model:
    """Return a network whose linear maps are computed in integers; a static encoder has none and stays as it is."""
    products = [it for it in network.get_ops() if it.get_type_name() == "MatMul"]
    # Products of two activations, as in attention and in the mean over tokens, are a small part of the time.
    others = [it.get_friendly_name() for it in products if not _is_linear_map(it)]
    if len(others) == len(products) or not inputs:
        return network
    os.environ.setdefault("NNCF_CI", "1")  # it reports its use to its makers otherwise
    import nncf

    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(StringIO()):  # where it draws bars of its own
        return nncf.quantize(
            network,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=others),
        )


def _is_linear_map(product: openvino.Node) -> bool:
    return any(_is_constant(product.input_value(place).get_node()) for place in (0, 1))


def _is_constant(node: openvino.Node) -> bool:
    """Return whether a node gives the same for every input: a stored weight, maybe scaled or cast."""
    if node.get_type_name() == "Parameter":
        return False
    given = [node.input_value(place).get_node() for place in range(node.get_input_size())]
    return node.get_type_name() == "Constant" or (bool(given) and all(map(_is_constant, given)))
