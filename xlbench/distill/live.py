"""Objectives on the states of every token, which are too large to store, so their encoders run beside the student.

Such a live encoder reads the same sentences as the student, in the same parts, without gradients. All other objectives
compare one vector per sentence, computed beforehand (:mod:`xlbench.distill.objectives`).
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

HEADS_PER_HEAD = 4  # relation heads per attention head in MiniLMv2: 48 for 12 heads (base), 64 for 16 (large)


class Layer(Frozen):
    """A layer of an encoder, counted as they run: with 6 layers that run twice, the last one is the twelfth."""

    encoder: str | None = Field(default=None, description="Name as in a target; None for the student.")
    number: int = Field(default=-1, description="From 1 at the bottom, or from -1 at the top.")


class LayerStates(NamedTuple):
    """What a layer computed for one part of a batch; all tensors are float [sentences, tokens, hidden size].

    Attributes:
        query: Queries of all attention heads side by side.
        key: Keys, likewise.
        value: Values, likewise.
        hidden: The layer's output.
        heads: Number of attention heads.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    hidden: Tensor
    heads: int


@runtime_checkable
class LiveObjective(Protocol):
    """An objective on the states of every token; frozen, typed data like any objective."""

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers, of the student and of other encoders, whose states :meth:`loss` takes."""
        ...

    def check(self, shapes: Mapping[Layer, Shape]) -> None:
        """Refuse encoders whose shapes cannot be compared; called before anything runs.

        It need not check that the encoders exist, have the layers and share the student's vocabulary: the plan's own
        check does.

        Args:
            shapes: Shape of the encoder that each layer belongs to.

        Raises:
            XlbenchError: The shapes do not fit.
        """
        ...

    def loss(self, states: Mapping[Layer, LayerStates], mask: Tensor) -> Tensor:
        """Return the term's value over one part of a batch, a scalar: a mean over its real tokens.

        The value over a batch is the mean over its parts, weighted by their numbers of real tokens.

        Args:
            states: States of each layer; only those of the student carry gradients.
            mask: 1 for real tokens and 0 for padding, int64 [sentences, tokens].
        """
        ...


class MatchRelations(Frozen):
    """Self-attention relations: KL(R(encoder) || R(student)), where R(A) = softmax(A A' / sqrt(d)) for A = Q, K and V.

    The queries of all attention heads, side by side, are split into relation heads of d columns each, and so are keys
    and values. The loss is the mean over relation heads, real tokens and the three kinds. Padding is neither a row nor
    a column of R. The two encoders may differ in width. Reference: MiniLMv2 (Wang et al., Findings of ACL 2021), where
    the three kinds are summed with weights.
    """

    tag: ClassVar[str] = "match-relations/1"
    encoder: str = Field(description="'teacher', 'teacher:1', 'assistant' or an earlier stage.")
    layer: int = Field(default=-1, description="Layer of the encoder, from 1, or from -1 at the top.")
    student_layer: int = Field(default=-1, description="Layer of the student, likewise.")
    heads: int | None = Field(
        default=None, ge=1, description="Relation heads; None: 4 for each of the encoder's attention heads."
    )
    weight: float = Field(default=1.0, gt=0)

    def layers(self) -> tuple[Layer, ...]:
        """Return the student's layer and the encoder's."""
        return Layer(number=self.student_layer), Layer(encoder=self.encoder, number=self.layer)

    def check(self, shapes: Mapping[Layer, Shape]) -> None:
        """Refuse a number of relation heads that does not divide each hidden size."""
        for shape in shapes.values() if self.heads else ():
            _columns_per_head(shape.hidden, self.heads or 1)

    def loss(self, states: Mapping[Layer, LayerStates], mask: Tensor) -> Tensor:
        """Return the weighted mean divergence, a scalar."""
        import torch
        from torch.nn.functional import kl_div

        student, encoder = (states[layer] for layer in self.layers())
        heads = self.heads or HEADS_PER_HEAD * encoder.heads
        total = mask.new_zeros((), dtype=torch.float32)
        kinds = ((student.query, encoder.query), (student.key, encoder.key), (student.value, encoder.value))
        for predicted, target in kinds:
            relations = (_log_relations(predicted, heads, mask), _log_relations(target, heads, mask))
            # Summed over heads and over each row's distribution: float [sentences, tokens].
            divergence = kl_div(*relations, reduction="none", log_target=True).sum((1, 3))
            total = total + (divergence * mask).sum()
        return self.weight * total / (3 * heads * mask.sum())


def _log_relations(vectors: Tensor, heads: int, mask: Tensor) -> Tensor:
    """Return log softmax(A A' / sqrt(d)) over real tokens, float32 [sentences, heads, tokens, tokens].

    Args:
        vectors: A, float [sentences, tokens, hidden size].
        heads: Relation heads.
        mask: 1 for real tokens and 0 for padding, int64 [sentences, tokens].
    """
    sentences, tokens, hidden = vectors.shape
    columns = _columns_per_head(hidden, heads)
    split = vectors.float().reshape(sentences, tokens, heads, columns).transpose(1, 2)
    scores = split @ split.mT / math.sqrt(columns)
    # A very low number instead of -inf, for which the divergence would be 0 x (inf - inf) = nan at padding.
    return scores.masked_fill(mask[:, None, None, :] == 0, -1e30).log_softmax(-1)


def _columns_per_head(hidden: int, heads: int) -> int:
    if hidden % heads:
        raise XlbenchError(
            f"{heads} relation heads do not divide a hidden size of {hidden}.",
            "Choose a number of heads that divides it.",
        )
    return hidden // heads


class MatchHidden(Frozen):
    """Mean squared difference of hidden states over real tokens, columns and pairs of layers.

    Reference: the hidden-state loss of TinyBERT (Jiao et al., Findings of EMNLP 2020), equation 8, without its linear
    map between widths: the encoder must be as wide as the student.
    """

    tag: ClassVar[str] = "match-hidden/1"
    encoder: str = Field(description="'teacher', 'teacher:1', 'assistant' or an earlier stage.")
    pairs: tuple[tuple[int, int], ...] = Field(
        default=((-1, -1),),
        min_length=1,
        description="(layer of the student, layer of the encoder), from 1, or from -1 at the top.",
    )
    weight: float = Field(default=1.0, gt=0)

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers of all pairs."""
        return tuple(layer for pair in self._paired() for layer in pair)

    def _paired(self) -> list[tuple[Layer, Layer]]:
        return [(Layer(number=own), Layer(encoder=self.encoder, number=other)) for own, other in self.pairs]

    def check(self, shapes: Mapping[Layer, Shape]) -> None:
        """Refuse encoders of different widths."""
        widths = sorted({shape.hidden for shape in shapes.values()})
        if len(widths) > 1:
            raise XlbenchError(
                f"Hidden states of width {widths[0]} and {widths[1]} cannot be compared.",
                "Choose an encoder as wide as the student.",
            )

    def loss(self, states: Mapping[Layer, LayerStates], mask: Tensor) -> Tensor:
        """Return the weighted mean squared difference, a scalar."""
        import torch

        differences = [states[own].hidden.float() - states[other].hidden.float() for own, other in self._paired()]
        per_token = torch.stack([difference.square().mean(-1) for difference in differences]).mean(0)
        return self.weight * (per_token * mask).sum() / mask.sum()
