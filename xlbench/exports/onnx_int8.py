"""The format ``onnx-int8``: the tables in 8 bits, and the linear maps of the layers computed in integers.

Each token's activations have a scale of their own, so a vector does not depend on what else is in the batch, and one
token with large values does not cost the others their precision. Weights have a scale for each output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from transformers import BertModel, XLMRobertaModel

from xlbench.encoders.modules import inner_model
from xlbench.exports.graph import CONTRIBUTED, Graph, Weight
from xlbench.exports.network import ByteTables
from xlbench.exports.onnx_float32 import USAGE, write_graph
from xlbench.exports.tolerance import intolerant_maps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

SUMMARY = (
    "An ONNX graph for onnxruntime with pooling and normalisation inside. Tables are stored in 8 bits with a scale for "
    "each row, and the linear maps of the layers are computed in integers."
)
LIBRARY = "onnx"
TOLERANCE: float | None = None
LOSS = 0.01

STEPS = 127  # of an activation, on either side of zero
# On a CPU without VNNI onnxruntime adds two products in 16 bits: 255 x 64 x 2 fits, 255 x 127 x 2 does not.
WEIGHT_STEPS = 64


def write(model: SentenceTransformer, directory: Path, sentences: Sequence[str]) -> None:
    """Write graph and tokenizer.

    Raises:
        XlbenchError: The encoder has a module that cannot be written.
    """
    graph = Graph()
    floats = (
        intolerant_maps(model, _maps(model), sentences, rounded_inputs, rounded_weights) if sentences else frozenset()
    )
    output = ByteTables(graph, 32, IntegerKernel(floats)).encoder(model)
    write_graph(model, graph, output, directory, "onnx-int8")


def usage() -> str:
    """Return the script of the card."""
    return USAGE


def _maps(model: SentenceTransformer) -> dict[str, nn.Linear]:
    """Return the linear maps of the layers by the names that they have in the graph; none of a static encoder."""
    inner = inner_model(model)
    if not isinstance(inner, BertModel | XLMRobertaModel):
        return {}
    return {
        f"encoder.layer.{number}.{name}": part
        for number, layer in enumerate(dict.fromkeys(inner.encoder.layer))
        for name, part in layer.named_modules()
        if isinstance(part, nn.Linear)
    }


def rounded_inputs(values: torch.Tensor) -> torch.Tensor:
    """Return activations, float [..., inputs], as integers see them: in 127 steps on either side of zero."""
    size = (values.abs().amax(dim=-1, keepdim=True) / STEPS).clamp(min=1e-30)
    return (values / size).round() * size


def rounded_weights(matrix: torch.Tensor) -> torch.Tensor:
    """Return the weights of a linear map, float [outputs, inputs], as integers hold them."""
    weight = integers(matrix)
    assert weight.scale is not None
    return torch.from_numpy(weight.values.astype(np.float32).T * weight.scale.astype(np.float32)[:, None])


class IntegerKernel:
    """Multiplies in integers: activations with a scale for each token, weights with a scale for each output.

    Args:
        floats: Names of linear maps that are computed in floats.
    """

    def __init__(self, floats: frozenset[str] = frozenset()) -> None:
        self.floats = floats
        self._rounded: dict[str, tuple[str, str]] = {}

    def __call__(self, graph: Graph, values: str, name: str, linear: nn.Linear) -> str:
        """Add y = W x."""
        if name in self.floats:
            return graph.node("MatMul", values, graph.weight(name, Weight(linear.weight.detach().numpy().T)))
        steps, sizes = self._round(graph, values)
        weight = integers(linear.weight.detach())
        assert weight.scale is not None
        middle = graph.constant(np.array(STEPS + 1, np.uint8))
        scale = graph.weight(f"{name}.steps", Weight(weight.scale))
        graph.parameters -= weight.scale.size
        stored = graph.stored(name, weight)
        product = graph.node(
            "MatMulIntegerToFloat", steps, stored, graph.constant(1.0), scale, middle, domain=CONTRIBUTED
        )
        return graph.node("Mul", product, sizes)

    def _round(self, graph: Graph, values: str) -> tuple[str, str]:
        """Add the steps of each token's activations, uint8 with 128 for zero, and their size; once for each value."""
        if values not in self._rounded:
            gelu = graph.kind(values) == "Gelu"
            largest = graph.node("ReduceMax", values if gelu else graph.node("Abs", values), graph.constant([-1]))
            # Nothing below is larger: Gelu's least value is -0.17, and otherwise a token may have zeros only.
            largest = graph.node("Max", largest, graph.constant(0.17 if gelu else 1e-30))
            sizes = graph.node("Mul", largest, graph.constant(1 / STEPS))
            flat = graph.node("Squeeze", sizes, graph.constant([-1]))
            zeros = graph.node("Expand", graph.constant(np.array(STEPS + 1, np.uint8)), graph.node("Shape", flat))
            steps = graph.node("QuantizeLinear", values, flat, zeros, axis=0)
            self._rounded[values] = steps, sizes
        return self._rounded[values]


def integers(matrix: torch.Tensor) -> Weight:
    """Return the weights of a linear map, int8 [inputs, outputs], and the size of a step of each output, float32."""
    scale = (matrix.abs().amax(dim=1, keepdim=True) / WEIGHT_STEPS).clamp(min=1e-30)
    steps = (matrix / scale).round().to(torch.int8)
    return Weight(steps.numpy().T, scale.flatten().numpy())
