"""The edits that xlbench's own methods use: bottleneck, loop, centre."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

    from xlbench.distill.workshop import Workshop
    from xlbench.students.shape import Shape

CENTRE_SAMPLE = 4096  # sentences; the mean of 384 numbers is known to a per cent long before


class Bottleneck(Frozen):
    """Exchange the word table for a V x B one and a B -> H map."""

    version: ClassVar[int] = 1
    width: int = Field(ge=1)
    start: Literal["pca", "random"] = "pca"
    weighting: Literal["frequency", "uniform"] = Field(
        default="frequency", description="What a token counts for in the PCA."
    )
    seed: int = 0

    def sources(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the shape with the bottleneck."""
        return shape.with_bottleneck(self.width)

    def apply(self, model: SentenceTransformer, workshop: Workshop) -> SentenceTransformer:
        """Cut the bottleneck; ``pca`` keeps what most of the corpus's tokens need."""
        import numpy as np
        import torch

        from xlbench.students.surgery import cut_bottleneck, student_in

        student = student_in(model)
        weights: np.ndarray | None = None
        if self.start == "pca":
            weights = np.ones(student.config.vocab_size)
            if self.weighting == "frequency":
                # One more for every token: those that the corpus never uses still count a little.
                weights += workshop.tokens(model).counts(student.config.vocab_size)
        cut_bottleneck(student, self.width, weights, torch.Generator().manual_seed(self.seed))
        return model


class Loop(Frozen):
    """Keep some of the layers and run them several times."""

    version: ClassVar[int] = 1
    layers: int = Field(ge=1)
    repeats: int = Field(default=1, ge=1)
    choice: Literal["spaced", "first", "last"] = "spaced"
    order: Literal["cycle", "adjacent"] = Field(
        default="cycle", description="'cycle' runs 1..K, 1..K, ...; 'adjacent' 1, 1, 2, 2, ..."
    )

    @field_validator("order")
    @classmethod
    def _of_layers_that_run_once(cls, order: str, given: ValidationInfo) -> str:
        # They have but one order: what changes nothing changes no fingerprint.
        return order if given.data.get("repeats", 1) > 1 else "cycle"

    def sources(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the shape with those layers."""
        return shape.with_layers(self.layers, self.repeats)

    def apply(self, model: SentenceTransformer, workshop: Workshop) -> SentenceTransformer:
        """Keep and loop the layers."""
        from xlbench.students.surgery import keep_layers, student_in

        keep_layers(student_in(model), self.layers, self.repeats, self.choice, self.order)
        return model


class Centre(Frozen):
    """Take the mean English embedding of the corpus out of an encoder's output, adding no parameter.

    Exactly, a centred embedding is norm(e - m) with e = norm(h), h the mean-pooled output and m the mean of e.
    h - r m points the same way when r is the length of h; one r, its mean over the corpus, is used for all, and
    r m is subtracted in the last LayerNorm's bias.
    """

    version: ClassVar[int] = 1

    def sources(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the same shape."""
        shape.require_transformer("centred")
        if shape.repeats > 1 or shape.head or shape.dimension:
            raise XlbenchError(
                "Only the output of layers that run once, and of nothing after them, can be centred.",
                "Centre the assistant before looping it, or leave centring out (-o centre=false).",
            )
        return shape

    def apply(self, model: SentenceTransformer, workshop: Workshop) -> SentenceTransformer:
        """Shift the output."""
        import numpy as np
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize

        from xlbench.encoders.encode import encode
        from xlbench.students.surgery import shift_output, stock_encoder

        bare = SentenceTransformer(modules=[part for part in model if not isinstance(part, Normalize)])
        pooled = encode(bare, workshop.english_sample(CENTRE_SAMPLE), precision=workshop.precision, max_tokens=128)
        lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
        shift_output(stock_encoder(model), -lengths.mean() * (pooled / lengths).mean(axis=0))
        return model
