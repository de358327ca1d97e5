"""What a stage minimises: terms over a batch of pairs, each against targets computed once beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import Field, field_validator, model_validator

from xlbench.errors import PartError
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from torch import Tensor


def checked_loss(term: object, value: object) -> Tensor:
    """Return what a term's ``loss`` gave, a scalar.

    Raises:
        XlbenchError: It is something else.
    """
    from torch import Tensor

    if not isinstance(value, Tensor) or value.ndim:
        given = f"float {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        loss = getattr(type(term), "loss", term)
        raise PartError(f"{type(term).__name__}.loss returned {given}.", "It must return a scalar tensor.", loss)
    return value


Level = Literal["sentence", "embeddings"]
Sides = Literal["across", "all"]


class Target(Frozen):
    """Vectors that a student is compared with.

    The vectors of an encoder's own English side, or of both sides; of its whole pipeline or only of its
    embedding layer, mean-pooled (stage 2 of the paper).
    """

    encoder: str = Field(description="'teacher', 'teacher:1', 'assistant' or an earlier stage.")
    side: Literal["english", "own"] = Field(
        description="What the other side's sentence is compared with: its English pair, or itself."
    )
    level: Level = "sentence"
    bank: int = Field(
        default=0,
        ge=0,
        description="Further English sentences of the corpus, drawn for each batch, whose vectors come with its own.",
    )

    @model_validator(mode="after")
    def _bank_of_sentences(self) -> Self:
        if self.bank and (self.side, self.level) != ("english", "sentence"):
            raise ValueError("a bank is of an encoder's English sentences: side 'english', level 'sentence'")
        return self


class PairVectors(NamedTuple):
    """Vectors of n pairs: float [m, dimension] of the English sides that are read, float [n, dimension] of the others.

    The first m pairs are those whose English side is read: all n, unless the training's ``english_share`` is below 1.
    ``bank``, float [k, dimension], is of k English sentences that need not be in the batch, where a target asks for it.
    """

    english: Tensor
    other: Tensor
    bank: Tensor | None = None


@runtime_checkable
class Objective(Protocol):
    """A term of a loss; frozen, typed data, so that a plan can be written down and fingerprinted."""

    def targets(self) -> tuple[Target, ...]:
        """Return the targets that :meth:`loss` is given."""
        ...

    def loss(self, student: PairVectors, targets: Mapping[Target, PairVectors]) -> Tensor:
        """Return the term's value, a scalar, for one batch; student and targets have the same rows."""
        ...


class PullToTarget(Frozen):
    """Squared distance to the target: mean over pairs of |S(x) - t(x)|^2 + |S(y) - t(y)|^2.

    Source: Reimers & Gurevych (2020); stages 1 to 3 of Ding et al. (2022). Summed over dimensions, since a mean
    over the dimensions of unit vectors is too small to train on (a known cause of divergence).
    """

    tag: ClassVar[str] = "pull-to-target/1"
    target: Target
    weight: float = Field(default=1.0, gt=0)

    def targets(self) -> tuple[Target, ...]:
        """Return the one target."""
        return (self.target,)

    def loss(self, student: PairVectors, targets: Mapping[Target, PairVectors]) -> Tensor:
        """Return the weighted squared distance."""
        wanted = targets[self.target]
        english = (student.english - wanted.english).square().sum(-1).mean()
        other = (student.other - wanted.other).square().sum(-1).mean()
        return self.weight * (english + other)


class MatchSimilarities(Frozen):
    """Regression of the similarity matrix: mean over (i, j) of (cos(S(x_i), S(y_j)) - c_ij)^2.

    c_ij is the weighted mean of cos(t(x_i), t(x_j)) over the targets. Source: the multilingual contrastive term of
    Ding et al. (2022), which is a regression and not InfoNCE. Several teachers are xlbench's, and so are ``sides``:
    with ``all`` it is the mean of three such matrices, English by other, English by English and other by other, all
    against the same c_ij, so that similarities within a language are taught too.
    """

    tag: ClassVar[str] = "match-similarities/1"
    mix: tuple[tuple[Target, float], ...] = Field(min_length=1, description="English targets and their shares.")
    weight: float = Field(default=1.0, gt=0)
    sides: Sides = Field(default="across", description="'across' compares English with other; 'all' each side too.")

    @field_validator("mix")
    @classmethod
    def _of_english(cls, mix: tuple[tuple[Target, float], ...]) -> tuple[tuple[Target, float], ...]:
        if any(target.side != "english" for target, _ in mix):
            raise ValueError("a similarity matrix is of an encoder's English vectors: side 'english'")
        return mix

    def targets(self) -> tuple[Target, ...]:
        """Return the targets that are mixed."""
        return tuple(target for target, _ in self.mix)

    def loss(self, student: PairVectors, targets: Mapping[Target, PairVectors]) -> Tensor:
        """Return the weighted mean squared difference of the m x n, m x m and n x n matrices from the targets'."""
        import torch
        from torch.nn.functional import normalize

        english, other = normalize(student.english, dim=-1), normalize(student.other, dim=-1)
        total = sum(share for _, share in self.mix)
        # An English target has t(x_j) for both sides of pair j, and the other sides are all there.
        unit = [(normalize(targets[target].other, dim=-1), share / total) for target, share in self.mix]
        wanted = torch.stack([share * (vectors @ vectors.T) for vectors, share in unit]).sum(0)
        read = len(english)
        differences = [english @ other.T - wanted[:read]]
        if self.sides == "all":
            differences += [english @ english.T - wanted[:read, :read], other @ other.T - wanted]
        return self.weight * torch.stack([difference.square().mean() for difference in differences]).mean()


class MatchNeighbours(Frozen):
    """Whose neighbour a sentence is: mean over the sentences read of KL(p_t || p_s).

    p(k) is the softmax of cos(v, t(k)) / temperature over English target vectors t(k): those of the batch's pairs and
    of the target's bank. For p_t, v is the sentence's own target, for p_s what the student makes of it. The regression
    of :class:`MatchSimilarities` weighs all similarities alike; here the nearest count, which is what search asks for.
    Source: SEED (Fang et al., ICLR 2021), with the target's vectors in place of a queue, one temperature for both,
    and the sentence's own target left among the neighbours.
    """

    tag: ClassVar[str] = "match-neighbours/1"
    target: Target
    weight: float = Field(default=1.0, gt=0)
    temperature: float = Field(default=0.05, gt=0)

    @field_validator("target")
    @classmethod
    def _english(cls, target: Target) -> Target:
        if target.side != "english":
            raise ValueError("neighbours are an encoder's English vectors: side 'english'")
        return target

    def targets(self) -> tuple[Target, ...]:
        """Return the one target."""
        return (self.target,)

    def loss(self, student: PairVectors, targets: Mapping[Target, PairVectors]) -> Tensor:
        """Return the weighted divergence, in nats."""
        import torch
        from torch.nn.functional import kl_div, log_softmax, normalize

        wanted = targets[self.target]
        english, other = normalize(wanted.english, dim=-1), normalize(wanted.other, dim=-1)
        neighbours = other if wanted.bank is None else torch.cat([other, normalize(wanted.bank, dim=-1)])

        def shares(vectors: Tensor) -> Tensor:
            return log_softmax(vectors @ neighbours.T / self.temperature, dim=-1)

        found = shares(normalize(torch.cat([student.english, student.other]), dim=-1))
        divergence = kl_div(found, shares(torch.cat([english, other])), reduction="batchmean", log_target=True)
        return self.weight * divergence
