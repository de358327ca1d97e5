"""Writing an ONNX graph node by node; a tensor that several nodes read is stored once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

OPSET, IR_VERSION = 20, 10  # of ONNX 1.15, the first with Gelu; onnxruntime reads them from version 1.17 on
CONTRIBUTED = "com.microsoft"  # onnxruntime's own operators
LARGEST_FILE = 1_900_000_000  # bytes; protobuf ends at 2 GiB, and what is larger goes into a second file
EXTERNAL = "model.onnx_data"

IDS, MASK, OUTPUT = "input_ids", "attention_mask", "sentence_embedding"

Attribute = int | float | str | list[int]


class Weight(NamedTuple):
    """A stored weight: floats, or integers and the size of their steps.

    Attributes:
        values: float32, float16 or int8.
        scale: float16, broadcast against ``values``; None for floats.
    """

    values: NDArray[np.generic]
    scale: NDArray[np.generic] | None = None


class Graph:
    """An ONNX graph under construction: inputs are token ids and mask, the output is the sentence vector.

    Attributes:
        parameters: Weights stored, without the scales of integers.
    """

    def __init__(self) -> None:
        self.parameters = 0
        self._nodes: list[onnx.NodeProto] = []
        self._stored: dict[str, onnx.TensorProto] = {}
        self._floats: dict[str, str] = {}
        self._kinds: dict[str, str] = {}

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Attribute) -> str:
        """Add a node with one output, and return the name of that."""
        return self.nodes(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    def nodes(self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: Attribute) -> list[str]:
        """Add a node with several outputs, and return their names."""
        names = [f"v{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))  # type: ignore[arg-type]
        self._kinds.update(dict.fromkeys(names, kind))
        return names

    def kind(self, value: str) -> str:
        """Return the kind of the node that a value comes from; nothing for an input or a weight."""
        return self._kinds.get(value, "")

    def constant(self, values: NDArray[np.generic] | Sequence[int] | float) -> str:
        """Store a small constant of the graph; equal ones are stored once.

        Args:
            values: An array, a list of int64 or a float32.
        """
        array = np.asarray(values, {list: np.int64, float: np.float32}.get(type(values)))
        name = f"c_{array.dtype.name}_{'x'.join(map(str, array.shape))}_{array.tobytes().hex()[:48]}"
        return self._store(name, array)

    def weight(self, name: str, weight: Weight) -> str:
        """Return a weight as floats; it is stored, and turned into floats, once, however often it is asked for.

        onnxruntime turns stored float16 and int8 into floats when it loads the file.
        """
        if name not in self._floats:
            self._floats[name] = self._as_floats(self.stored(name, weight), weight, self._scale(name, weight))
        return self._floats[name]

    def rows(self, name: str, weight: Weight, ids: str) -> str:
        """Return rows of a table as floats, [..., columns]; only these are turned into floats."""
        taken = self.node("Gather", self.stored(name, weight), ids)
        scale = self._scale(name, weight)
        return self._as_floats(taken, weight, scale and self.node("Gather", scale, ids))

    def stored(self, name: str, weight: Weight) -> str:
        """Return the values of a weight as they are stored."""
        if name not in self._stored:
            self.parameters += weight.values.size
        return self._store(name, weight.values)

    def _scale(self, name: str, weight: Weight) -> str | None:
        return None if weight.scale is None else self._store(f"{name}.scale", weight.scale)

    def _as_floats(self, values: str, weight: Weight, scale: str | None) -> str:
        if weight.values.dtype != np.float32:
            values = self.node("Cast", values, to=TensorProto.FLOAT)
        if scale is not None:
            values = self.node("Mul", values, self.node("Cast", scale, to=TensorProto.FLOAT))
        return values

    def _store(self, name: str, array: NDArray[np.generic]) -> str:
        if name not in self._stored:
            self._stored[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def save(self, output: str, dimension: int, path: Path, facts: Mapping[str, str]) -> None:
        """Write the graph.

        Args:
            output: The value that is the sentence vector, float32 [sentences, dimension].
            dimension: Its width.
            path: The file; what would be larger than protobuf allows has its weights in a second file beside it.
            facts: Metadata of the file.
        """
        self._nodes.append(helper.make_node("Identity", [output], [OUTPUT]))
        given = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["sentences", "tokens"]) for name in (IDS, MASK)
        ]
        returned = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["sentences", dimension])]
        graph = helper.make_graph(self._nodes, "sentence encoder", given, returned, list(self._stored.values()))
        used = {node.domain for node in self._nodes}
        imports = [helper.make_opsetid(domain, 1 if domain else OPSET) for domain in sorted({"", *used})]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="xlbench")
        helper.set_model_props(model, dict(facts))
        large = model.ByteSize() > LARGEST_FILE
        onnx.save(model, path, save_as_external_data=large, location=EXTERNAL, size_threshold=1024)
