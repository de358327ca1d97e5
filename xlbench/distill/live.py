"""Terms on the states of every token, which are too large to store: their encoders run beside the student.

A live encoder sees the very sentences that the student sees, in the same parts, and without gradients. The rest of
a stage's terms compare one vector per sentence, computed beforehand (:mod:`xlbench.distill.objectives`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, runtime_checkable

from pydantic import Field

from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from xlbench.students.shape import Shape

HEADS_PER_HEAD = 4  # relation heads: 48 for a base model's 12 attention heads, 64 for a large one's 16


class Layer(Frozen):
    """A layer of an encoder, as it runs: of 6 layers that are looped twice the last one is the twelfth."""

    encoder: str | None = Field(default=None, description="As in a target; None is the student itself.")
    number: int = Field(default=-1, description="From 1 at the bottom, or from -1 at the top.")


class LayerStates(NamedTuple):
    """What a layer computed for the sentences of one part: each float [sentences, tokens, hidden size].

    Attributes:
        query: Queries, those of all attention heads side by side.
        key: Keys.
        value: Values.
        hidden: The layer's output.
        heads: Attention heads.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    hidden: Tensor
    heads: int


@runtime_checkable
class LiveObjective(Protocol):
    """A term of a loss on the states of every token; frozen, typed data like any objective."""

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers, the student's and its encoders', that :meth:`loss` is given."""
        ...

    def check(self, shapes: Mapping[Layer, Shape]) -> None:
        """Refuse encoders that cannot be compared, before anything runs.

        That encoders exist, have these layers and the student's vocabulary is checked without it.

        Raises:
            XlbenchError: The shapes of the encoders that the layers belong to do not fit.
        """
        ...

    def loss(self, states: Mapping[Layer, LayerStates], mask: Tensor) -> Tensor:
        """Return the term's value, a scalar: the mean over the real tokens of one part of a batch.

        A batch's value is the mean over its parts, each counting by its real tokens.

        Args:
            states: By layer; only the student's need gradients.
            mask: int64 [sentences, tokens], 1 for real tokens and 0 for padding.
        """
        ...


class MatchRelations(Frozen):
    """Multi-head self-attention relations: KL(R(encoder) | R(student)), R = softmax(A A' / sqrt(d)) for A in Q, K, V.

    The queries of all attention heads, side by side, are cut into relation heads of d columns each; so are keys and
    values. The mean is over relation heads and real tokens, and the three kinds count the same. Padding is neither
    a row nor a column. The two encoders may differ in width. Source: Wang et al., Findings of ACL 2021 (MiniLMv2).
    """

    tag: ClassVar[str] = "match-relations/1"
    encoder: str = Field(description="'teacher', 'teacher:1', 'assistant' or an earlier stage.")
    layer: int = Field(default=-1, description="The encoder's, from 1, or from -1 at the top.")
    student_layer: int = Field(default=-1, description="The student's, likewise.")
    heads: int | None = Field(
        default=None, ge=1, description="Relation heads; None: 4 for each of the encoder's attention heads."
    )
    weight: float = Field(default=1.0, gt=0)

    def layers(self) -> tuple[Layer, ...]:
        """Return the student's layer and the encoder's."""
        return Layer(number=self.student_layer), Layer(encoder=self.encoder, number=self.layer)

    def check(self, shapes: Mapping[Layer, Shape]) -> None:
        """Refuse relation heads that do not divide a hidden size."""
        for shape in shapes.values() if self.heads else ():
            _columns(shape.hidden, self.heads or 1)

    def loss(self, states: Mapping[Layer, LayerStates], mask: Tensor) -> Tensor:
        """Return the weighted mean divergence."""
        import torch
        from torch.nn.functional import kl_div

        own, theirs = (states[layer] for layer in self.layers())
        heads = self.heads or HEADS_PER_HEAD * theirs.heads
        total = mask.new_zeros((), dtype=torch.float32)
        for got, wanted in ((own.query, theirs.query), (own.key, theirs.key), (own.value, theirs.value)):
            pair = (_log_relations(got, heads, mask), _log_relations(wanted, heads, mask))
            # Summed over a row's distribution, and over heads: float [sentences, tokens].
            divergence = kl_div(*pair, reduction="none", log_target=True).sum((1, 3))
            total = total + (divergence * mask).sum()
        return self.weight * total / (3 * heads * mask.sum())


def _log_relations(vectors: Tensor, heads: int, mask: Tensor) -> Tensor:
    """Return float32 [sentences, heads, tokens, tokens]: logarithms of each row's distribution over real tokens."""
    sentences, tokens, hidden = vectors.shape
    columns = _columns(hidden, heads)
    cut = vectors.float().reshape(sentences, tokens, heads, columns).transpose(1, 2)
    scores = cut @ cut.mT / math.sqrt(columns)
    # The lowest number and not -inf, which would make padding's share of the divergence 0 x (inf - inf).
    return scores.masked_fill(mask[:, None, None, :] == 0, -1e30).log_softmax(-1)


def _columns(hidden: int, heads: int) -> int:
    if hidden % heads:
        raise XlbenchError(
            f"{heads} relation heads do not divide a hidden size of {hidden}.", "Choose a number that does."
        )
    return hidden // heads


class MatchHidden(Frozen):
    """Mean squared difference of hidden states, token by token, over real tokens, columns and pairs of layers.

    Source: Jiao et al., Findings of EMNLP 2020 (TinyBERT), its hidden-state loss without the map between widths.
    """

    tag: ClassVar[str] = "match-hidden/1"
    encoder: str = Field(description="'teacher', 'teacher:1', 'assistant' or an earlier stage.")
    pairs: tuple[tuple[int, int], ...] = Field(
        default=((-1, -1),),
        min_length=1,
        description="(student's layer, encoder's layer), from 1 or from -1 at the top.",
    )
    weight: float = Field(default=1.0, gt=0)

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers of all pairs."""
        return tuple(layer for pair in self._paired() for layer in pair)

    def _paired(self) -> list[tuple[Layer, Layer]]:
        return [(Layer(number=own), Layer(encoder=self.encoder, number=theirs)) for own, theirs in self.pairs]

    def check(self, shapes: Mapping[Layer, Shape]) -> None:
        """Refuse hidden states of another width."""
        widths = sorted({shape.hidden for shape in shapes.values()})
        if len(widths) > 1:
            raise XlbenchError(
                f"Hidden states of width {widths[0]} and {widths[1]} cannot be compared.",
                "Choose an encoder as wide as the student.",
            )

    def loss(self, states: Mapping[Layer, LayerStates], mask: Tensor) -> Tensor:
        """Return the weighted mean squared difference."""
        import torch

        differences = [states[own].hidden.float() - states[theirs].hidden.float() for own, theirs in self._paired()]
        of_tokens = torch.stack([difference.square().mean(-1) for difference in differences]).mean(0)
        return self.weight * (of_tokens * mask).sum() / mask.sum()
