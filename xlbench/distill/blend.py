"""One target space of several teachers, of any width and with any tokenizer: what decides it.

Each teacher's English vectors are scaled to unit length, centred by their mean and scaled again; weighted by the square
root of the teacher's share, they stand side by side, so that a cosine of the whole is the weighted mean of the
teachers' cosines. Principal axes cut the whole to the assistant's width, and a rotation brings it as near to the
assistant's own centred vectors as a rotation can, so that a student starts close to its target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, field_validator

from xlbench.errors import XlbenchError
from xlbench.experiment import WIDEST
from xlbench.fingerprint import Frozen, Json, fingerprint, meaning

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from xlbench.distill.objectives import Target

Dimension: TypeAlias = Annotated[int, Field(ge=1, le=WIDEST)] | Literal["assistant", "joint"]
"""Width of a blend: a number, the assistant's own, or that of all teachers together."""

SAMPLE = 4096  # sentences; axes of two teachers' 1,152 dimensions need more of them than a mean does


class Blend(Frozen):
    """A target space that is made of several teachers' vectors; stages name it where they would name a teacher.

    It has a vector for every English sentence of the corpus, and no weights: it is no encoder, so nothing starts from
    it. Each teacher's vectors are computed once and stored, so that a blend with other shares costs a minute.
    """

    tag: ClassVar[str] = "blend/1"
    name: str = Field(min_length=1, description="What targets call it.")
    teachers: tuple[tuple[str, float], ...] = Field(
        min_length=1, description="Encoders and their weights; only the proportions of these matter."
    )
    assistant: str = Field(default="assistant", description="The encoder to whose vectors it is rotated.")
    dimension: Dimension = Field(default="assistant", description="How wide it is; only at the assistant's, rotated.")
    centre: bool = Field(default=True, description="Subtract the mean of each encoder's vectors from them.")
    sample: int = Field(default=SAMPLE, ge=2, description="English sentences that means, axes and rotation are of.")

    @field_validator("teachers")
    @classmethod
    def _as_shares(cls, teachers: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
        # Of weight zero is as good as absent, and is then not even encoded.
        shares = shares_of([weight for _, weight in teachers])
        return tuple((encoder, share) for (encoder, _), share in zip(teachers, shares, strict=True) if share > 0)

    def inputs(self) -> tuple[str, ...]:
        """Return the encoders that it reads, each once."""
        return tuple(dict.fromkeys([*(encoder for encoder, _ in self.teachers), self.assistant]))

    def width(self, widths: Mapping[str, int]) -> int:
        """Return how wide its vectors are.

        Args:
            widths: How wide those of each encoder are.

        Raises:
            XlbenchError: It reads another encoder, is called like one of them, or would be wider than its teachers
                together or than its sample can tell.
        """
        if self.name in widths:
            raise XlbenchError(f"A blend is called '{self.name}', as an encoder is.", "Rename it.")
        self.check_inputs(widths)
        joint = sum(widths[encoder] for encoder, _ in self.teachers)
        if self.dimension == "joint":
            return joint
        width = widths[self.assistant] if self.dimension == "assistant" else self.dimension
        if width > joint:
            raise XlbenchError(
                f"'{self.name}' cannot have {width:,} dimensions: its teachers have {joint:,} together.",
                "Choose teachers that are wider together, or add one.",
            )
        self.check_sample(width, self.sample)
        return width

    def check_sample(self, width: int, sentences: int) -> None:
        """Refuse to find more axes than there are sentences to find them in.

        Raises:
            XlbenchError: There are more.
        """
        if width > sentences and self.dimension != "joint":
            raise XlbenchError(
                f"'{self.name}' cannot have {width:,} dimensions: they would be found in {sentences:,} sentences.",
                "Train on more pairs.",
            )

    def check_inputs(self, encoders: Collection[str]) -> None:
        """Refuse a blend that reads other encoders than those that are there from the start.

        Raises:
            XlbenchError: It does.
        """
        for encoder in self.inputs():
            if encoder not in encoders:
                raise XlbenchError(
                    f"'{self.name}' blends '{encoder}', which is not there from the start.",
                    f"It can blend: {', '.join(encoders)}.",
                )

    def check_read(self, stage: str, encoders: Collection[str], targets: Sequence[Target]) -> None:
        """Refuse a stage that takes the blend for an encoder, or for more than vectors of English sentences.

        Args:
            stage: Its name.
            encoders: Whose weights it reads.
            targets: Its targets.

        Raises:
            XlbenchError: It does.
        """
        if self.name in encoders:
            raise XlbenchError(
                f"Stage '{stage}' reads '{self.name}' as an encoder, but it is a blend of teachers' vectors.",
                "Only targets can be of a blend.",
            )
        if any(it.encoder == self.name and (it.side, it.level) != ("english", "sentence") for it in targets):
            raise XlbenchError(
                f"Stage '{stage}' reads vectors of '{self.name}' that it has not: it is a blend of teachers.",
                "Targets of a blend are of English sentences: side 'english', level 'sentence'.",
            )

    def fingerprint(self, keys: Mapping[str, str]) -> str:
        """Return what identifies its vectors, whatever it and its encoders are called.

        Args:
            keys: Fingerprints of the encoders that it may read.

        Raises:
            XlbenchError: It reads another one.
        """
        self.check_inputs(keys)
        facts: Json = {
            "blend": meaning(type(self)),
            "teachers": [[keys[encoder], share] for encoder, share in self.teachers],
            "assistant": keys[self.assistant],
            **self.model_dump(mode="json", include={"dimension", "centre", "sample"}),
        }
        return fingerprint(facts)


def shares_of(weights: Sequence[float]) -> list[float]:
    """Return weights scaled to a sum of one.

    Raises:
        ValueError: One is negative or not finite, or all are zero.
    """
    if not all(0 <= weight < float("inf") for weight in weights):
        raise ValueError("a weight is negative or not finite\nnumbers of zero or more")
    total = sum(weights)
    if total == float("inf"):
        raise ValueError("the sum of the weights is not finite\nsmaller numbers")
    if total <= 0:
        raise ValueError("no weight is above zero\nat least one")
    return [weight / total for weight in weights]


def parse_weights(text: str) -> tuple[float, ...]:
    """Parse ``0.3,0.7``.

    Raises:
        ValueError: A part is no number, or :func:`shares_of` refuses them.
    """
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError("its parts are no numbers\none weight for each teacher: 0.3,0.7") from None
    shares_of(weights)
    return weights
