"""The edits of most built-in methods: bottleneck, frequency-adaptive embedding, loop, quantise, average, centre."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from xlbench.distill.trim import TrimVocabulary
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from xlbench.distill.context import StageContext
    from xlbench.students.shape import Shape

# Ways of pooling that move the sentence's vector by what every token's is moved by.
SHIFTED = frozenset({"mean", "cls", "max", "weightedmean", "lasttoken"})
CENTRE_SAMPLE = 4096  # sentences; the mean of 384 numbers is known to a per cent long before


class Bottleneck(Frozen):
    """Exchange the V x H token embeddings for V x B ones and a B -> H map.

    With a ``frequent_share`` the tokens that the corpus uses most keep their whole rows, and all others get a narrower
    bottleneck: the parameters stay as many, and more of them belong to tokens that occur.
    """

    tag: ClassVar[str] = "bottleneck/1"
    width: int = Field(ge=1)
    start: Literal["pca", "random"] = "pca"
    weighting: Literal["frequency", "uniform"] = Field(
        default="frequency", description="What a token counts for in the PCA."
    )
    seed: int = 0
    frequent_share: float = Field(
        default=0.0, ge=0, lt=1, description="Of the parameters, those spent on whole rows of frequent tokens."
    )

    def inputs(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the shape with the bottleneck."""
        return shape.with_bottleneck(self.width, self.frequent_share)

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Cut the bottleneck; ``pca`` keeps what most of the corpus's less frequent tokens need."""
        import torch

        from xlbench.students.surgery import stock_encoder, transformer_shape

        generator = torch.Generator().manual_seed(self.seed) if self.start == "random" else None
        shape = self.reshape(transformer_shape(stock_encoder(model)))
        return _with_narrow_embeddings(shape, model, context, generator, uniform=self.weighting == "uniform")


class FrequencyAdaptiveEmbedding(Frozen):
    """Exchange the token embeddings for narrow ones and whole rows of frequent tokens, in the size of a student spec.

    The spec's size is that of this encoder cut to the spec's layers and bottleneck. This encoder may have more layers;
    then fewer tokens keep whole rows. With ``trim`` the tokens that the corpus never uses are dropped first, and their
    share of the same size goes into whole rows of the others. Source: Baevski & Auli, ICLR 2019 (adaptive input
    representations).
    """

    tag: ClassVar[str] = "frequency-adaptive-embedding/1"
    width: int = Field(ge=1, description="Columns for every token, and the only ones of the rare.")
    layers: int = Field(ge=1, description="The student spec's K.")
    bottleneck: int | None = Field(default=None, ge=1, description="The student spec's B.")
    trim: TrimVocabulary | None = Field(default=None, description="How the vocabulary is trimmed first, if it is.")

    def inputs(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the shape with as many whole rows as the student spec's size has room for."""
        allowed = shape.with_layers(self.layers, 1)
        if self.bottleneck is not None:
            allowed = allowed.with_bottleneck(self.bottleneck)
        cut = shape.with_frequent_rows(self.width, allowed.parameters)
        return cut if self.trim is None else self.trim.reshape(cut)

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Cut; the narrow columns keep what most of the corpus's rare tokens need."""
        from xlbench.students.surgery import stock_encoder, transformer_shape

        size = self.reshape(transformer_shape(stock_encoder(model))).parameters
        if self.trim is not None:
            model = self.trim.apply(model, context)
        return _with_narrow_embeddings(
            transformer_shape(stock_encoder(model)).with_frequent_rows(self.width, size), model, context
        )


def _with_narrow_embeddings(
    shape: Shape,
    model: SentenceTransformer,
    context: StageContext,
    generator: torch.Generator | None = None,
    *,
    uniform: bool = False,
) -> SentenceTransformer:
    """Narrow the token embeddings to those of ``shape``: drawn with ``generator``, or else by weighted PCA."""
    import numpy as np

    from xlbench.students.surgery import build_student, cut_bottleneck

    student = build_student(model)
    size = student.config.vocab_size
    counts = context.tokens(model).counts(size)
    assert shape.bottleneck is not None
    # Of tokens that are equally frequent the first ones: SentencePiece numbers tokens by their frequency elsewhere.
    frequent = np.argsort(-counts, kind="stable")[: shape.frequent]
    # One more for every token: those that the corpus never uses still count a little.
    weights = None if generator else np.ones(size) + (0 if uniform else counts)
    cut_bottleneck(student, shape.bottleneck, weights, generator, frequent)
    return model


class Loop(Frozen):
    """Keep some of the layers and run them several times."""

    tag: ClassVar[str] = "loop/1"
    layers: int = Field(ge=1)
    repeats: int = Field(default=1, ge=1)
    choice: Literal["spaced", "first", "last"] = "spaced"
    order: Literal["cycle", "adjacent"] = Field(
        default="cycle", description="'cycle' runs 1..K, 1..K, ...; 'adjacent' 1, 1, 2, 2, ..."
    )

    @field_validator("order")
    @classmethod
    def _of_layers_that_run_once(cls, order: str, given: ValidationInfo) -> str:
        # Layers that run once have only one order; another name for it must not be another key.
        return order if given.data.get("repeats", 1) > 1 else "cycle"

    def inputs(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the shape with those layers."""
        return shape.with_layers(self.layers, self.repeats)

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Keep and loop the layers."""
        from xlbench.students.surgery import build_student, keep_layers

        keep_layers(build_student(model), self.layers, self.repeats, self.choice, self.order)
        return model


class Quantise(Frozen):
    """Quantise the weights to the bits in which they are saved; the encoder still computes in floating point."""

    tag: ClassVar[str] = "quantise/1"
    bits: Literal[8, 16]

    def inputs(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the shape with those bits."""
        return shape.with_bits(self.bits)

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Quantise."""
        from xlbench.students.surgery import quantise

        quantise(model, self.bits)
        return model


class Average(Frozen):
    """Mix the weights with those of another encoder of the same shape, tensor by tensor.

    Source: Wortsman et al., CVPR 2022 (WiSE-FT): between an encoder before and after training on something narrower
    there are encoders that have learnt the new and forgotten less of the old.
    """

    tag: ClassVar[str] = "average/1"
    other: str = Field(description="The other encoder.")
    share: float = Field(ge=0, le=1, description="Of the other one.")

    def inputs(self) -> tuple[str, ...]:
        """Return the other one."""
        return (self.other,)

    def reshape(self, shape: Shape) -> Shape:
        """Return the same shape."""
        return shape

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Mix.

        Raises:
            XlbenchError: The other encoder has other tensors.
        """
        own, other = model.state_dict(), context.load(self.other).state_dict()
        if {name: tensor.shape for name, tensor in own.items()} != {name: it.shape for name, it in other.items()}:
            raise XlbenchError(
                f"'{self.other}' has tensors of other names or shapes, so it cannot be averaged with.",
                "Average what was trained with what it was trained from.",
            )
        model.load_state_dict({name: tensor.lerp(other[name], self.share) for name, tensor in own.items()})
        return model


class Centre(Frozen):
    """Take the mean English embedding of the corpus out of an encoder's output, adding no parameter.

    A centred embedding is norm(e - m), with e = norm(h), h the mean-pooled output and m the mean of e over the corpus.
    h - r m has the same direction if r is the length of h. One r, the mean length over the corpus, is used for all
    sentences, and r m is subtracted in the last LayerNorm's bias.
    """

    tag: ClassVar[str] = "centre/1"

    def inputs(self) -> tuple[str, ...]:
        """Return nothing: it reads only its start."""
        return ()

    def reshape(self, shape: Shape) -> Shape:
        """Return the same shape."""
        shape.require_transformer("centred")
        # Vectors that are narrower with nothing after the pooling are the first columns of whole ones.
        if shape.repeats > 1 or shape.head or (shape.dimension or 0) > shape.hidden:
            raise XlbenchError(
                "Only the output of layers that run once, and of nothing after them, can be centred.",
                "Centre the assistant before looping it, or leave centring out (-o centre=false).",
            )
        return shape

    def apply(self, model: SentenceTransformer, context: StageContext) -> SentenceTransformer:
        """Shift the output.

        Raises:
            XlbenchError: Its pooling does not pass a shift on, or its vectors are not finite or all alike.
        """
        import numpy as np
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

        from xlbench.distill.targets import check_varied
        from xlbench.encoders.encode import encode
        from xlbench.encoders.pipeline import with_modules
        from xlbench.students.surgery import shift_output, stock_encoder

        if not any(isinstance(part, Pooling) and part.pooling_mode in SHIFTED for part in model):
            raise XlbenchError(
                f"The {context.start} cannot be centred: its pooling does not pass on what is added to every token.",
                f"Pool by {', '.join(sorted(SHIFTED))}, or leave centring out (-o centre=false).",
            )
        bare = with_modules(model, (part for part in model if not isinstance(part, Normalize)))
        pooled = encode(bare, context.english_sample(CENTRE_SAMPLE), precision=context.precision, max_tokens=128)
        lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
        if not (np.isfinite(pooled).all() and lengths.all()):
            raise XlbenchError(
                f"The {context.start} cannot be centred: some of its vectors are not finite, or zero.",
                "Choose another one, or leave centring out (-o centre=false).",
            )
        check_varied(context.start, pooled)
        shift_output(stock_encoder(model), -lengths.mean() * (pooled / lengths).mean(axis=0))
        return model
