"""The shape of an encoder and the parameters it has, counted without making it.

The counts are the published ones: every stored tensor of the checkpoint, the pooler (which mean pooling never
reads) included. A plan's stages are checked on shapes before anything runs, and what a stage made is compared
with the shape that its edits declared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.errors import XlbenchError
from xlbench.experiment import Bits
from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from xlbench.experiment import StudentSpec

Architecture = Literal["bert", "xlm-roberta", "static", "other"]
TRANSFORMERS = ("bert", "xlm-roberta")  # what xlbench can cut and train
MULTIPLE = 8  # of ranks: odd widths are slow products


def rank_of(inputs: int, outputs: int, share: float) -> int:
    """Return the rank at which the factors of a map have at most ``share`` of its parameters.

    share x I x O / (I + O), rounded down to a multiple of :data:`MULTIPLE` where it is as large as that; at least 1.
    """
    rank = int(share * inputs * outputs / (inputs + outputs))
    return rank - rank % MULTIPLE if rank >= MULTIPLE else max(1, rank)


class Shape(Frozen):
    """What decides the size and cost of an encoder.

    A ``static`` encoder is a table of vocabulary x hidden and nothing else; of an ``other`` one only its width
    and its parameters (all of them in ``head``) are known.
    """

    architecture: Architecture
    vocabulary: int = Field(ge=0, description="Rows of the word table; of an 'other' encoder, tokens if known.")
    hidden: int = Field(ge=1)
    intermediate: int = Field(default=0, ge=0)
    positions: int = Field(default=0, ge=0)
    types: int = Field(default=0, ge=0)
    layers: int = Field(default=0, ge=0, description="Stored layers K.")
    repeats: int = Field(default=1, ge=1, description="Times R that they run.")
    rank_share: float = Field(
        default=1.0, gt=0, le=1, description="Of the layers' linear maps' parameters, where they have a low rank."
    )
    bottleneck: int | None = Field(default=None, ge=1)
    frequent: int = Field(default=0, ge=0, description="Tokens F with a full-width correction to the bottleneck.")
    pooler: bool = True
    dimension: int | None = Field(default=None, ge=1, description="Width of its vectors, where it is not hidden.")
    head: int = Field(default=0, ge=0, description="Parameters of what follows the encoder, e.g. a dense map.")
    bits: Bits = Field(default=32, description="Of a stored weight.")
    trimmed: bool = Field(
        default=False,
        description="The corpus decides how many of the vocabulary's rows stay: sizes are the largest possible.",
    )

    @property
    def width(self) -> int:
        """How wide its vectors are."""
        return self.dimension or self.hidden

    @property
    def embedding_parameters(self) -> int:
        """Word table, positions, types, LayerNorm; of a static encoder its table.

        The word table is V x H, or V x B and B x H and, with F corrections, (F + 1) x H.
        """
        if self.architecture not in TRANSFORMERS:
            return self.vocabulary * self.hidden if self.architecture == "static" else 0
        width = self.bottleneck
        words = self.vocabulary * self.hidden
        if width is not None:
            words = self.vocabulary * width + width * self.hidden
            words += (self.frequent + 1) * self.hidden if self.frequent else 0
        return words + (self.positions + self.types + 2) * self.hidden

    @property
    def encoder_parameters(self) -> int:
        """K layers: four H x H maps and two feed-forward maps with biases, two LayerNorms."""
        attention = 4 * (self._map(self.hidden, self.hidden) + self.hidden)
        feed_forward = 2 * self._map(self.hidden, self.intermediate) + self.hidden + self.intermediate
        return self.layers * (attention + feed_forward + 4 * self.hidden)

    def _map(self, inputs: int, outputs: int) -> int:
        if self.rank_share == 1:
            return inputs * outputs
        return rank_of(inputs, outputs, self.rank_share) * (inputs + outputs)

    @property
    def parameters(self) -> int:
        """All stored parameters, the pooler included where there is one."""
        pooler = self.hidden * self.hidden + self.hidden if self.pooler and self.architecture in TRANSFORMERS else 0
        return self.embedding_parameters + self.encoder_parameters + pooler + self.head

    @property
    def executed_layers(self) -> int:
        """Layers that a sentence passes through: K * R."""
        return self.layers * self.repeats

    def require_transformer(self, what: str) -> None:
        """Refuse what can only be done to a BERT or an XLM-R.

        Args:
            what: Ends 'only BERT and XLM-R encoders can be'.

        Raises:
            XlbenchError: The encoder is another one, or stored in 8 bits.
        """
        if self.bits == 8:
            raise XlbenchError(
                f"An encoder that is stored in 8 bits cannot be {what}.",
                "It can teach as it is (-o centre=false); start from the one that it was rounded from.",
            )
        if self.architecture not in TRANSFORMERS:
            raise XlbenchError(
                f"Only BERT and XLM-R encoders can be {what}, and this one is no such encoder.",
                "It can teach as it is (-o centre=false), but nothing can be cut from it.",
            )

    def admits(self, made: Shape) -> bool:
        """Return whether an encoder of shape ``made`` is what this shape declares.

        Equal, but where the corpus decides the vocabulary: there it may be any smaller one, with any corrections that
        fit into the size.
        """
        decided: dict[str, object] = {"trimmed": made.trimmed}
        if self.trimmed:
            decided["vocabulary"] = min(self.vocabulary, made.vocabulary)
            # A smaller vocabulary may leave room for more whole rows, as long as the whole gets no larger.
            decided["frequent"] = made.frequent if made.parameters <= self.parameters else self.frequent
        return self.model_copy(update=decided) == made

    def with_trimmed_vocabulary(self) -> Shape:
        """Return the shape with a vocabulary that the corpus decides, this one's at most.

        Raises:
            XlbenchError: The encoder has no word table.
        """
        self.require_transformer("trimmed")
        return self.model_copy(update={"trimmed": True})

    def as_static(self, width: int | None = None) -> Shape:
        """Return the shape of a static encoder with a vector of ``width`` for each token.

        Args:
            width: None for the width of this encoder's vectors.

        Raises:
            XlbenchError: It has no tokens or is static already, or the vectors would be wider than its own.
        """
        if self.architecture == "static" or not self.vocabulary:
            raise XlbenchError(
                "Token vectors cannot be taken from an encoder that is static or has no tokenizer.",
                "Start from a transformer.",
            )
        if width is not None and width > self.width:
            raise XlbenchError(
                f"Token vectors of width {width} cannot come from an encoder whose vectors have width {self.width}.",
                f"Choose a width of at most {self.width}.",
            )
        return Shape(
            architecture="static",
            vocabulary=self.vocabulary,
            hidden=width or self.width,
            pooler=False,
            # A table may have rows that no token of its tokenizer needs; they are left out.
            trimmed=True,
        )

    def with_bottleneck(self, width: int, frequent_share: float = 0.0) -> Shape:
        """Return the shape with a bottleneck under the word table.

        Args:
            width: Its columns B, if frequent tokens get none of its parameters.
            frequent_share: Of those parameters, what goes into corrections of frequent tokens: the bottleneck is
                narrower by it, b = B (1 - share), and the word table no larger, F = (V + H) (B - b) / H - 1.

        Raises:
            XlbenchError: The bottleneck is not narrower than the encoder, or there is one already.
        """
        self.require_transformer("given a bottleneck")
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
        narrow = max(1, round(width * (1 - frequent_share)))
        frequent = (self.vocabulary + self.hidden) * (width - narrow) // self.hidden - 1
        return self.model_copy(update={"bottleneck": narrow, "frequent": max(0, min(frequent, self.vocabulary))})

    def with_frequent_rows(self, width: int, parameters: int) -> Shape:
        """Return the shape with a bottleneck, and as many corrections of frequent tokens as a size allows.

        Args:
            width: Columns b of the bottleneck.
            parameters: Of the whole encoder, at most: F = (parameters - those with b and none corrected) / H - 1.

        Raises:
            XlbenchError: The bottleneck does not fit, or the size leaves no row.
        """
        narrow = self.with_bottleneck(width)
        frequent = (parameters - narrow.parameters) // self.hidden - 1
        if frequent < 1:
            raise XlbenchError(
                f"{self.layers} layers and {width} columns for every token are {narrow.parameters:,} parameters,"
                f" which leaves no whole row of {parameters:,}.",
                "Choose fewer layers, fewer columns or a larger student.",
            )
        return narrow.model_copy(update={"frequent": min(frequent, self.vocabulary)})

    def with_layers(self, layers: int, repeats: int) -> Shape:
        """Return the shape with ``layers`` of the layers kept and run ``repeats`` times.

        Raises:
            XlbenchError: There are not that many layers.
        """
        self.require_transformer("cut to fewer layers")
        if self.repeats > 1:
            raise XlbenchError("The layers are looped already.", "Start from an encoder whose layers run once.")
        if layers > self.layers:
            raise XlbenchError(
                f"The student keeps {layers} layers, but its assistant has only {self.layers}.",
                f"Choose a student with at most {self.layers} layers.",
            )
        return self.model_copy(update={"layers": layers, "repeats": repeats})

    def with_low_rank(self, share: float) -> Shape:
        """Return the shape with linear maps that are products of two, with ``share`` of the parameters.

        Raises:
            XlbenchError: They are such products already.
        """
        self.require_transformer("given maps of low rank")
        if self.rank_share < 1:
            raise XlbenchError("The layers' maps have a low rank already.", "Start from an encoder with full maps.")
        return self.model_copy(update={"rank_share": share})

    def with_bits(self, bits: Bits) -> Shape:
        """Return the shape with ``bits`` of each stored weight.

        Raises:
            XlbenchError: It is no transformer, or its weights are rounded already.
        """
        if self.architecture not in TRANSFORMERS:
            raise XlbenchError(
                f"Only BERT and XLM-R students can be stored in {bits} bits.",
                "Leave the bits out: a static student is float16 as it is.",
            )
        if self.bits != 32:
            raise XlbenchError(f"The weights have {self.bits} bits already.", "Start from an encoder of 32.")
        return self.model_copy(update={"bits": bits})

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
