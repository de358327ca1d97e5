"""The shape of an encoder and the parameters it has, counted without making it.

The counts are the published ones: every stored tensor of the checkpoint, the pooler (which mean pooling never
reads) included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from xlbench.experiment import StudentSpec

Architecture = Literal["bert", "xlm-roberta"]


class Shape(Frozen):
    """What decides the size and cost of an encoder."""

    architecture: Architecture
    vocabulary: int = Field(ge=1)
    hidden: int = Field(ge=1)
    intermediate: int = Field(ge=1)
    positions: int = Field(ge=1)
    types: int = Field(ge=1)
    layers: int = Field(ge=1, description="Stored layers K.")
    repeats: int = Field(default=1, ge=1, description="Times R that they run.")
    bottleneck: int | None = Field(default=None, ge=1)
    pooler: bool = True

    @property
    def embedding_parameters(self) -> int:
        """Word table (V x H, or V x B and B x H), positions, types, LayerNorm."""
        width = self.bottleneck
        words = self.vocabulary * self.hidden
        if width is not None:
            words = self.vocabulary * width + width * self.hidden
        return words + (self.positions + self.types + 2) * self.hidden

    @property
    def encoder_parameters(self) -> int:
        """K layers: four H x H maps and two feed-forward maps with biases, two LayerNorms."""
        attention = 4 * (self.hidden * self.hidden + self.hidden)
        feed_forward = 2 * self.hidden * self.intermediate + self.hidden + self.intermediate
        return self.layers * (attention + feed_forward + 4 * self.hidden)

    @property
    def parameters(self) -> int:
        """All stored parameters, the pooler included where there is one."""
        pooler = self.hidden * self.hidden + self.hidden if self.pooler else 0
        return self.embedding_parameters + self.encoder_parameters + pooler

    @property
    def executed_layers(self) -> int:
        """Layers that a sentence passes through: K * R."""
        return self.layers * self.repeats

    def with_bottleneck(self, width: int) -> Shape:
        """Return the shape with a bottleneck of ``width`` under the word table.

        Raises:
            XlbenchError: The bottleneck is not narrower than the encoder, or there is one already.
        """
        if self.bottleneck is not None:
            raise XlbenchError(
                f"The word table has a bottleneck of {self.bottleneck} already; a second one of {width} cannot be cut.",
                "Start from an encoder with a full table.",
            )
        if width >= self.hidden:
            raise XlbenchError(
                f"A bottleneck of {width} is not narrower than the assistant, whose hidden size is {self.hidden}.",
                f"Choose a student with a bottleneck under {self.hidden}, or a wider assistant.",
            )
        return self.model_copy(update={"bottleneck": width})

    def with_layers(self, layers: int, repeats: int) -> Shape:
        """Return the shape with ``layers`` of the layers kept and run ``repeats`` times.

        Raises:
            XlbenchError: There are not that many layers.
        """
        if self.repeats > 1:
            raise XlbenchError("The layers are looped already.", "Start from an encoder whose layers run once.")
        if layers > self.layers:
            raise XlbenchError(
                f"The student keeps {layers} layers, but its assistant has only {self.layers}.",
                f"Choose a student with at most {self.layers} layers.",
            )
        return self.model_copy(update={"layers": layers, "repeats": repeats})

    def cut(self, spec: StudentSpec) -> Shape:
        """Return the shape of the student that ``spec`` cuts from an assistant of this shape.

        Raises:
            XlbenchError: The spec does not fit this assistant.
        """
        if spec.hidden is not None and spec.hidden != self.hidden:
            raise XlbenchError(
                f"Student '{spec.name}' is cut from an assistant of hidden size {spec.hidden},"
                f" this one has {self.hidden}.",
                "Choose another --student, or an --assistant of that size.",
            )
        shape = self if spec.bottleneck is None else self.with_bottleneck(spec.bottleneck)
        return shape.with_layers(spec.layers, spec.repeats)


MINILM = Shape(
    architecture="bert",
    vocabulary=250_037,
    hidden=384,
    intermediate=1536,
    positions=512,
    types=2,
    layers=12,
)
"""The multilingual MiniLM of the paper: multilingual-e5-small and paraphrase-multilingual-MiniLM-L12-v2."""

XLMR = Shape(
    architecture="xlm-roberta",
    vocabulary=250_002,
    hidden=768,
    intermediate=3072,
    positions=514,
    types=1,
    layers=12,
)
"""XLM-R base."""
