"""An encoder as an ONNX graph, from token ids to the sentence vector.

transformers' forward pass is written out here once more, since tracing it loses what a student is: looped layers become
copies, and 8-bit tables something that no runtime loads. Every export is compared with the encoder that it was made
from, so a difference between the two forward passes cannot go unnoticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling, StaticEmbedding
from torch import nn
from transformers import BertModel, XLMRobertaModel

from xlbench.encoders.modules import inner_model
from xlbench.errors import XlbenchError
from xlbench.exports.graph import IDS, MASK, Graph, Weight
from xlbench.students.architecture import BottleneckEmbedding
from xlbench.students.low_rank import LowRankLinear
from xlbench.students.quantised import QuantisedEmbedding, QuantisedMatrix, overflow_refused

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Bits

FEW = 1e-9  # sentence-transformers' least number of tokens to divide by
TINY = 1e-12  # torch's least length to divide by
ACTIVATIONS = {nn.Identity: "", nn.Tanh: "Tanh"}  # that a Dense may have, and their operators
MASKED = float(np.finfo(np.float32).min)


class LinearKernel(Protocol):
    """How the linear maps of the layers are computed: in floats or in integers."""

    def __call__(self, graph: Graph, values: str, name: str, linear: nn.Linear) -> str:
        """Add y = W x to the graph; the bias is added afterwards.

        Args:
            graph: Where to add it.
            values: x, float32 [..., inputs].
            name: Of the linear map in the encoder.
            linear: The map.
        """
        ...


class Parts:
    """Adds the modules of an encoder to a graph.

    Args:
        graph: Where to add them.
        bits: Of a stored weight.
        kernel: For the linear maps of the layers; None for floats.
    """

    def __init__(self, graph: Graph, bits: Bits, kernel: LinearKernel | None = None) -> None:
        self.graph = graph
        self.bits = bits
        self.kernel = kernel or self.float_kernel

    def encoder(self, model: SentenceTransformer) -> str:
        """Add a whole encoder, and return its sentence vector.

        Raises:
            XlbenchError: It has a module that has no counterpart here.
        """
        first, *rest = model.children()
        inner = inner_model(model)
        if isinstance(inner, BertModel | XLMRobertaModel):
            value = self.transformer(inner)
        elif isinstance(first, StaticEmbedding):
            table = first.embedding
            value = self.mean(self.graph.rows("embedding", self.table(table.weight), IDS))
        else:
            raise _unknown(first if inner is None else inner)
        for number, module in enumerate(rest, 1):
            value = self.after(value, str(number), module)
        return value

    def transformer(self, model: BertModel | XLMRobertaModel) -> str:
        """Add a BERT or XLM-R, stock or student, and return its last hidden states [sentences, tokens, H]."""
        config, graph = model.config, self.graph
        if getattr(config, "is_decoder", False) or config.hidden_act != "gelu":
            raise XlbenchError(
                f"This {type(model).__name__} is a decoder or has the activation '{config.hidden_act}'.",
                "An encoder with the activation 'gelu' can be exported.",
            )
        embeddings = model.embeddings
        words = self.tokens("embeddings.word_embeddings", embeddings.word_embeddings)
        types = Weight(_rows(embeddings.token_type_embeddings)[0].numpy())
        hidden = graph.node("Sum", words, graph.weight("embeddings.token_type_embeddings", types))
        places = self.positions(padding=config.pad_token_id if isinstance(model, XLMRobertaModel) else None)
        positions = self.embedding("embeddings.position_embeddings", embeddings.position_embeddings, places)
        hidden = self.norm(graph.node("Sum", hidden, positions), "embeddings.LayerNorm", embeddings.LayerNorm)
        shown = graph.node("Cast", graph.node("Unsqueeze", MASK, graph.constant([1, 2])), to=1)
        masked = graph.node("Mul", graph.node("Sub", graph.constant(1.0), shown), graph.constant(MASKED))
        # A row for each token of the batch from here on.
        hidden = graph.node("Reshape", hidden, graph.constant([-1, config.hidden_size]))
        names: dict[nn.Module, str] = {}
        for layer in model.encoder.layer:
            names.setdefault(layer, f"encoder.layer.{len(names)}")
            hidden = self.layer(hidden, masked, names[layer], layer, config.num_attention_heads)
        return graph.node("Reshape", hidden, self.apart(config.hidden_size))

    def apart(self, *sizes: int) -> str:
        """Return the shape [sentences, tokens, *sizes]."""
        return self.graph.node("Concat", self.graph.node("Shape", IDS), self.graph.constant(list(sizes)), axis=0)

    def layer(self, hidden: str, masked: str, name: str, layer: nn.Module, heads: int) -> str:
        """Add one layer: attention, then the feed-forward maps."""
        graph = self.graph

        def linear(values: str, part: str) -> str:
            return self.linear(values, f"{name}.{part}", layer.get_submodule(part))

        def norm(values: str, part: str) -> str:
            return self.norm(values, f"{name}.{part}", layer.get_submodule(part))

        attention = "attention.self"
        query, key, value = (linear(hidden, f"{attention}.{part}") for part in ("query", "key", "value"))
        attended = self.attention(query, key, value, masked, heads, layer.get_submodule(f"{attention}.query"))
        attended = linear(attended, "attention.output.dense")
        # Sum and not Add: onnxruntime would fuse Add and LayerNormalization into an operator that takes four times as
        # long on a CPU.
        hidden = norm(graph.node("Sum", attended, hidden), "attention.output.LayerNorm")
        widened = graph.node("Gelu", linear(hidden, "intermediate.dense"))
        return norm(graph.node("Sum", linear(widened, "output.dense"), hidden), "output.LayerNorm")

    def attention(self, query: str, key: str, value: str, masked: str, heads: int, projection: nn.Module) -> str:
        """Add scaled dot-product attention over heads."""
        graph = self.graph
        width = _outputs(projection) // heads
        apart = self.apart(heads, width)

        def split(values: str, order: list[int]) -> str:
            return graph.node("Transpose", graph.node("Reshape", values, apart), perm=order)

        scores = graph.node("MatMul", split(query, [0, 2, 1, 3]), split(key, [0, 2, 3, 1]))
        scores = graph.node("Add", graph.node("Mul", scores, graph.constant(width**-0.5)), masked)
        mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), split(value, [0, 2, 1, 3]))
        together = graph.constant([-1, heads * width])
        return graph.node("Reshape", graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), together)

    def positions(self, padding: int | None) -> str:
        """Add the position of each token: its place, or as XLM-R counts them, from the padding token's id on."""
        graph = self.graph
        ones = graph.node("CastLike", graph.node("Equal", IDS, IDS), IDS)
        if padding is None:
            return graph.node("CumSum", ones, graph.constant(np.array(1)), exclusive=1)
        filler = graph.constant(np.array(padding))
        real = graph.node("Cast", graph.node("Not", graph.node("Equal", IDS, filler)), to=7)
        counted = graph.node("Mul", graph.node("CumSum", real, graph.constant(np.array(1))), real)
        return graph.node("Add", counted, filler)

    def tokens(self, name: str, module: nn.Module) -> str:
        """Add the token embeddings, [sentences, tokens, H]."""
        if not isinstance(module, BottleneckEmbedding):
            return self.embedding(name, module, IDS)
        graph = self.graph
        narrow = self.embedding(f"{name}.table", module.table, IDS)
        words = self.float_kernel(graph, narrow, f"{name}.up", module.up)
        if module.correction is None:
            return words
        places = graph.node("Gather", graph.stored(f"{name}.place", Weight(module.place.numpy())), IDS)
        graph.parameters -= module.place.numel()  # a map, no weight
        return graph.node("Add", words, self.embedding(f"{name}.correction", module.correction, places))

    def embedding(self, name: str, module: nn.Module, ids: str) -> str:
        """Add rows of a table."""
        if isinstance(module, QuantisedEmbedding):
            return self.graph.rows(name, Weight(module.steps.numpy(), module.scale.numpy()), ids)
        return self.graph.rows(name, self.table(_rows(module)), ids)

    def linear(self, values: str, name: str, module: nn.Module) -> str:
        """Add a linear map, whole or of two factors, with its bias."""
        if isinstance(module, LowRankLinear):
            return self.linear(self.linear(values, f"{name}.down", module.down), f"{name}.up", module.up)
        assert isinstance(module, nn.Linear)
        product = self.kernel(self.graph, values, name, module)
        bias: torch.Tensor | None = module.bias
        if bias is None:
            return product
        return self.graph.node("Sum", product, self.graph.weight(f"{name}.bias", self.floats(bias)))

    def float_kernel(self, graph: Graph, values: str, name: str, linear: nn.Linear) -> str:
        """Multiply by floats, stored with the encoder's bits."""
        return graph.node("MatMul", values, graph.weight(name, self.matrix(linear.weight)))

    def norm(self, values: str, name: str, module: nn.Module) -> str:
        """Add a LayerNorm."""
        assert isinstance(module, nn.LayerNorm)
        graph = self.graph
        gain, shift = (graph.weight(f"{name}.{it}", self.floats(getattr(module, it))) for it in ("weight", "bias"))
        return graph.node("LayerNormalization", values, gain, shift, axis=-1, epsilon=module.eps)

    def after(self, value: str, name: str, module: nn.Module) -> str:
        """Add one of the modules after the encoder.

        Raises:
            XlbenchError: It is none that xlbench can write.
        """
        graph = self.graph
        if isinstance(module, Pooling) and module.pooling_mode in {"mean", "cls"}:
            return self.mean(value) if module.pooling_mode == "mean" else self.first(value)
        if isinstance(module, Normalize) and _is_vector(module):
            length = graph.node("ReduceL2", value, graph.constant([-1]))
            return graph.node("Div", value, graph.node("Max", length, graph.constant(TINY)))
        if isinstance(module, LayerNorm):
            return self.norm(value, f"{name}.norm", module.norm)
        function = getattr(module, "activation_function", None)
        activation = next((name for kind, name in ACTIVATIONS.items() if type(function) is kind), None)
        if isinstance(module, Dense) and _is_vector(module) and activation is not None and not module.use_residual:
            weight = self.floats(module.linear.weight.T)
            product = graph.node("MatMul", value, graph.weight(f"{name}.linear", weight))
            if module.linear.bias is not None:
                bias = graph.weight(f"{name}.linear.bias", self.floats(module.linear.bias))
                product = graph.node("Add", product, bias)
            return graph.node(activation, product) if activation else product
        raise _unknown(module)

    def mean(self, hidden: str) -> str:
        """Add the mean over the tokens that are not padding."""
        graph = self.graph
        mask = graph.node("Cast", MASK, to=1)
        total = graph.node("MatMul", graph.node("Unsqueeze", mask, graph.constant([1])), hidden)
        count = graph.node("Max", graph.node("ReduceSum", mask, graph.constant([1])), graph.constant(FEW))
        return graph.node("Div", graph.node("Squeeze", total, graph.constant([1])), count)

    def first(self, hidden: str) -> str:
        """Add the vector of the first token that is not padding."""
        graph = self.graph
        place = graph.node("ArgMax", MASK, axis=1, keepdims=1)
        return graph.node("GatherND", hidden, place, batch_dims=1)

    def table(self, values: torch.Tensor) -> Weight:
        """Return a table as it is stored."""
        return self._stored(values)

    def matrix(self, values: torch.Tensor) -> Weight:
        """Return a linear map as it is stored, [inputs, outputs]."""
        weight = self._stored(values)
        return Weight(weight.values.T, None if weight.scale is None else weight.scale.T)

    def floats(self, values: torch.Tensor) -> Weight:
        """Return a bias or a norm, which is not stored in 8 bits."""
        array = _numpy(values)
        return Weight(array.astype(np.float16) if self.bits == 16 else array)

    def _stored(self, values: torch.Tensor) -> Weight:
        return self.floats(values) if self.bits != 8 else quantised(values)


class ByteTables(Parts):
    """Adds the modules of an encoder, its tables in 8 bits whatever they are stored in."""

    def table(self, values: torch.Tensor) -> Weight:
        """Return a table in 8 bits with a scale for each row."""
        return quantised(values)


def stored_bits(model: SentenceTransformer) -> Bits:
    """Return the bits that an encoder's weights are stored with."""
    bits: Bits = getattr(getattr(inner_model(model), "config", None), "bits", 32)
    return bits


def quantised(values: torch.Tensor) -> Weight:
    """Return a matrix in 8 bits with a scale for each row."""
    matrix = QuantisedMatrix(*values.shape)
    with overflow_refused():
        matrix.quantise(values.detach())
    return Weight(matrix.steps.numpy(), matrix.scale.numpy())


def _rows(module: nn.Module) -> torch.Tensor:
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach()


def _outputs(projection: nn.Module) -> int:
    last = projection.up if isinstance(projection, LowRankLinear) else projection
    assert isinstance(last, nn.Linear)
    return last.out_features


def _numpy(values: torch.Tensor) -> NDArray[np.generic]:
    array: NDArray[np.generic] = values.detach().float().numpy()
    return array


def _is_vector(module: Dense | Normalize) -> bool:
    return {module.module_input_name, module.module_output_name} == {"sentence_embedding"}


def _unknown(module: object) -> XlbenchError:
    setting = getattr(module, "pooling_mode", None)
    shown = f"{type(module).__name__}" + (f" ('{setting}')" if setting else "")
    return XlbenchError(
        f"An encoder with the module {shown} cannot be written as ONNX.",
        "BERT, XLM-R and static encoders can, with mean or cls pooling, Dense, LayerNorm and Normalize after them.",
    )
