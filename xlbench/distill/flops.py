"""How many floating-point operations an encoder needs for its real tokens: padding and repetition count nothing.

A matrix product of [m, k] and [k, n] takes 2 m k n operations (a multiplication and an addition each). The count
per token is that of Kaplan et al. (2020, arXiv:2001.08361, section 2.1 and table 1) with the attention scores
written out; the backward pass takes twice the forward one, once for the inputs' gradients and once for the
weights' (Kaplan et al., section 2.1; Hoffmann et al. 2022, arXiv:2203.15556, appendix F). As there, softmax, norms,
activations, biases and the optimiser are left out, and looking up a row of a table takes no operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xlbench.distill.plan import Trainable
    from xlbench.students.shape import Shape


class Work(NamedTuple):
    """Operations that must be computed for some sentences."""

    forward: float
    backward: float

    @property
    def total(self) -> float:
        """Both passes."""
        return self.forward + self.backward


def layer_flops(shape: Shape, lengths: Sequence[int] | NDArray[np.integer]) -> tuple[float, float]:
    """Return the forward operations of one layer for sentences of these lengths: linear maps, attention.

    Linear maps: four of H x H (query, key, value, output) and two of H x I, so 2 (4 H^2 + 2 H I) for a token.
    Attention: scores and the weighted sum, 2 H each for every pair of tokens of a sentence, so 4 H n^2 for a
    sentence of n tokens.

    Args:
        shape: The encoder's.
        lengths: Tokens of each sentence, special ones included.
    """
    tokens = np.asarray(lengths, np.float64)
    hidden, inner = shape.hidden, shape.intermediate
    linear = 2 * (4 * hidden * hidden + 2 * hidden * inner) * tokens.sum()
    attention = 4 * hidden * np.square(tokens).sum()
    return float(linear), float(attention)


def encoding_work(shape: Shape, lengths: Sequence[int] | NDArray[np.integer]) -> Work:
    """Return what encoding sentences of these lengths takes, the pooler left out: mean pooling never reads it."""
    linear, attention = layer_flops(shape, lengths)
    return Work(_table_flops(shape, lengths) + shape.executed_layers * (linear + attention), 0.0)


def training_work(shape: Shape, lengths: Sequence[int] | NDArray[np.integer], trainable: Trainable = "all") -> Work:
    """Return what one pass of training over sentences of these lengths takes.

    Weights that are frozen need no gradient of their own; what lies below the lowest trained weight needs none at
    all. Under every choice of ``trainable`` something in the embedding layer is trained, so all layers pass the
    gradient of their inputs on. Attention has no weights: the gradients of its two products take twice its forward
    operations whatever is frozen. A layer that runs several times is counted as often.

    Args:
        shape: The encoder's.
        lengths: Tokens of each sentence, special ones included; both sides of all pairs.
        trainable: As in :class:`xlbench.distill.plan.Training`. Under 'all-but-token-embeddings' the bottleneck's
            map is frozen too, and nothing lies below it.
    """
    linear, attention = layer_flops(shape, lengths)
    table = _table_flops(shape, lengths)
    of_linear = linear if trainable == "embeddings" else 2 * linear
    of_table = 0.0 if trainable == "all-but-token-embeddings" else 2 * table
    layers = shape.executed_layers
    return Work(table + layers * (linear + attention), of_table + layers * (of_linear + 2 * attention))


def _table_flops(shape: Shape, lengths: Sequence[int] | NDArray[np.integer]) -> float:
    """Return the operations of the bottleneck's B x H map; a table without one is only looked up."""
    return 2.0 * (shape.bottleneck or 0) * shape.hidden * float(np.sum(lengths))
