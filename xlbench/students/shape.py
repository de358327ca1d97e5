"""The shape of an encoder (its sizes), from which its parameters are counted without building it.

Counted as in published tables: every stored tensor of the checkpoint, including the pooler, which mean pooling never
reads. A plan is checked on shapes before anything runs, and each encoder that a stage leaves is compared with the shape
that the stage's edits declared.
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
TRANSFORMERS = ("bert", "xlm-roberta")  # the architectures that xlbench can cut and train
RANK_MULTIPLE = 8  # matrix products of other widths are slow


def rank_for_share(inputs: int, outputs: int, share: float) -> int:
    """Return the rank at which the two factors of an I x O map have at most ``share`` of its parameters.

    That is share x I x O / (I + O), rounded down to a multiple of :data:`RANK_MULTIPLE` unless it is smaller than that;
    at least 1.
    """
    rank = int(share * inputs * outputs / (inputs + outputs))
    return rank - rank % RANK_MULTIPLE if rank >= RANK_MULTIPLE else max(1, rank)


class Shape(Frozen):
    """The sizes that decide how many parameters an encoder has and how much it computes.

    A ``static`` encoder is a table of vocabulary x hidden and nothing else. Of an ``other`` architecture only the width
    and the number of parameters are known; all of them are in ``head``.
    """

    architecture: Architecture
    vocabulary: int = Field(ge=0, description="Rows of the embedding table; of an 'other' encoder its tokens.")
    hidden: int = Field(ge=1)
    intermediate: int = Field(default=0, ge=0)
    positions: int = Field(default=0, ge=0)
    types: int = Field(default=0, ge=0)
    layers: int = Field(default=0, ge=0, description="Stored layers K.")
    repeats: int = Field(default=1, ge=1, description="Times R that each runs.")
    rank_share: float = Field(
        default=1.0, gt=0, le=1, description="Share of the layers' linear maps that low-rank ones keep; 1: full maps."
    )
    bottleneck: int | None = Field(default=None, ge=1, description="Width B of the embedding table; None: full.")
    frequent: int = Field(default=0, ge=0, description="Tokens F with a full-width correction.")
    pooler: bool = True
    dimension: int | None = Field(default=None, ge=1, description="Width of its vectors; None: as hidden.")
    head: int = Field(default=0, ge=0, description="Parameters of the modules after the encoder.")
    bits: Bits = Field(default=32, description="Of a stored weight.")
    trimmed: bool = Field(
        default=False,
        description="The corpus decides how many tokens stay: vocabulary and frequent are upper bounds.",
    )

    @property
    def width(self) -> int:
        """Width of the encoder's vectors."""
        return self.dimension or self.hidden

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding layer: token table, positions, types, LayerNorm; of a static encoder its table.

        The token table is V x H. With a bottleneck it is V x B and B x H, and (F + 1) x H more for F corrections.
        """
        if self.architecture not in TRANSFORMERS:
            return self.vocabulary * self.hidden if self.architecture == "static" else 0
        tokens = self.vocabulary * self.hidden
        if self.bottleneck is not None:
            tokens = (self.vocabulary + self.hidden) * self.bottleneck
            tokens += (self.frequent + 1) * self.hidden if self.frequent else 0
        return tokens + (self.positions + self.types + 2) * self.hidden

    @property
    def encoder_parameters(self) -> int:
        """Parameters of the K layers: four H x H maps and two feed-forward maps with biases, two LayerNorms."""
        attention = 4 * (self._linear_parameters(self.hidden, self.hidden) + self.hidden)
        feed_forward = 2 * self._linear_parameters(self.hidden, self.intermediate) + self.hidden + self.intermediate
        return self.layers * (attention + feed_forward + 4 * self.hidden)

    def _linear_parameters(self, inputs: int, outputs: int) -> int:
        if self.rank_share == 1:
            return inputs * outputs
        return rank_for_share(inputs, outputs, self.rank_share) * (inputs + outputs)

    @property
    def parameters(self) -> int:
        """All stored parameters, the pooler included where there is one."""
        pooler = self.hidden * self.hidden + self.hidden if self.pooler and self.architecture in TRANSFORMERS else 0
        return self.embedding_parameters + self.encoder_parameters + pooler + self.head

    @property
    def executed_layers(self) -> int:
        """Layers that a sentence passes through, K x R."""
        return self.layers * self.repeats

    def require_transformer(self, what: str) -> None:
        """Refuse an edit or training that needs a BERT or an XLM-R with float weights.

        Args:
            what: The participle that completes the error "Only BERT and XLM-R encoders can be ...".

        Raises:
            XlbenchError: The encoder is of another architecture, or stored in 8 bits.
        """
        if self.bits == 8:
            raise XlbenchError(
                f"An encoder that is stored in 8 bits cannot be {what}.",
                "Start from the encoder that it was quantised from; as a teacher it works with -o centre=false.",
            )
        if self.architecture not in TRANSFORMERS:
            raise XlbenchError(
                f"Only BERT and XLM-R encoders can be {what}, and this encoder is neither.",
                "Choose another encoder; as a teacher this one works in a blend (-o blend=1).",
            )

    def admits(self, actual: Shape) -> bool:
        """Return whether an encoder of shape ``actual`` is what this shape declares.

        The two must be equal. Where the corpus decides the vocabulary (``trimmed``), the actual one may be smaller,
        with any number of corrections that fits into the size.
        """
        decided: dict[str, object] = {"trimmed": actual.trimmed}
        if self.trimmed:
            decided["vocabulary"] = min(self.vocabulary, actual.vocabulary)
            # A smaller vocabulary may leave room for more whole rows, as long as the whole gets no larger.
            decided["frequent"] = actual.frequent if actual.parameters <= self.parameters else self.frequent
        return self.model_copy(update=decided) == actual

    def with_trimmed_vocabulary(self) -> Shape:
        """Return the shape with a vocabulary that the corpus decides, at most as large as this one's.

        Raises:
            XlbenchError: The encoder is no BERT or XLM-R.
        """
        self.require_transformer("trimmed")
        return self.model_copy(update={"trimmed": True})

    def as_static(self, width: int | None = None) -> Shape:
        """Return the shape of a static encoder with one vector per token of this encoder's vocabulary.

        Args:
            width: Width of the vectors; None for that of this encoder's vectors.

        Raises:
            XlbenchError: This encoder has no known vocabulary or is static already, or its own vectors are narrower
                than ``width``.
        """
        if self.architecture == "static" or not self.vocabulary:
            raise XlbenchError(
                "Token vectors cannot be taken from an encoder that is static or has no tokenizer.",
                "Choose a transformer encoder to start from.",
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
            # An embedding table may have more rows than its tokenizer has tokens; those are left out.
            trimmed=True,
        )

    def with_bottleneck(self, width: int, frequent_share: float = 0.0) -> Shape:
        """Return the shape with a factorised embedding table (bottleneck).

        Args:
            width: Width B of the table without corrections; decides the parameters, (V + H) B.
            frequent_share: Share of those parameters that goes into corrections of frequent tokens. The table has the
                width b = B (1 - share) then, and F = (V + H) (B - b) / H - 1 tokens are corrected, so that table, map
                and corrections together are no larger.

        Raises:
            XlbenchError: The encoder is not wider than the bottleneck, or has one already.
        """
        self.require_transformer("given a bottleneck")
        if self.bottleneck is not None:
            raise XlbenchError(
                f"The embedding table has a bottleneck of {self.bottleneck} already; a second one cannot be cut.",
                "Start from an encoder with a full table.",
            )
        if width >= self.hidden:
            raise XlbenchError(
                f"A bottleneck of {width} is not narrower than the assistant, whose hidden size is {self.hidden}.",
                f"Choose a student with a bottleneck under {self.hidden}, or a wider assistant.",
            )
        columns = max(1, round(width * (1 - frequent_share)))
        frequent = (self.vocabulary + self.hidden) * (width - columns) // self.hidden - 1
        return self.model_copy(update={"bottleneck": columns, "frequent": max(0, min(frequent, self.vocabulary))})

    def with_frequent_rows(self, width: int, parameters: int) -> Shape:
        """Return the shape with a bottleneck and as many corrections of frequent tokens as a given size allows.

        Args:
            width: Width b of the embedding table.
            parameters: Upper bound for the whole encoder. With P parameters without corrections, F = (parameters - P) /
                H - 1 tokens get one.

        Raises:
            XlbenchError: The bottleneck does not fit, or the size leaves no room for a correction.
        """
        narrow = self.with_bottleneck(width)
        frequent = (parameters - narrow.parameters) // self.hidden - 1
        if frequent < 1:
            raise XlbenchError(
                f"{self.layers} layers and {width} columns per token take {narrow.parameters:,} of {parameters:,}"
                " parameters, so that no whole row of a frequent token fits.",
                f"Choose fewer layers, fewer columns or a larger student, e.g. --student {self._example()}.",
            )
        return narrow.model_copy(update={"frequent": min(frequent, self.vocabulary)})

    def with_layers(self, layers: int, repeats: int) -> Shape:
        """Return the shape with only ``layers`` of the layers, each of which runs ``repeats`` times.

        Raises:
            XlbenchError: The encoder has fewer layers, or its layers are looped already.
        """
        self.require_transformer("cut to fewer layers")
        if self.repeats > 1:
            raise XlbenchError("The layers are looped already.", "Start from an encoder whose layers run once.")
        if layers > self.layers:
            raise XlbenchError(
                f"The student keeps {layers} layers, but its assistant has only {self.layers}.",
                f"Choose a student with at most {self.layers} layers, e.g. --student {self._example()}.",
            )
        return self.model_copy(update={"layers": layers, "repeats": repeats})

    def _example(self) -> str:
        """Return a student that any method can cut from this encoder: a third of its columns, each layer once."""
        return f"B={max(1, self.hidden // 3)},K={self.layers},R=1"

    def with_low_rank(self, share: float) -> Shape:
        """Return the shape with low-rank linear maps, whose factors keep ``share`` of the maps' parameters.

        Raises:
            XlbenchError: The maps have a low rank already.
        """
        self.require_transformer("given low-rank linear maps")
        if self.rank_share < 1:
            raise XlbenchError("The linear maps have a low rank already.", "Start from an encoder with full ones.")
        return self.model_copy(update={"rank_share": share})

    def with_bits(self, bits: Bits) -> Shape:
        """Return the shape with weights that are stored in ``bits`` bits.

        Raises:
            XlbenchError: The encoder is no BERT or XLM-R, or its weights are quantised already.
        """
        if self.architecture not in TRANSFORMERS:
            raise XlbenchError(
                f"Only BERT and XLM-R students can be stored in {bits} bits.",
                "Leave --bits out for a static student.",
            )
        if self.bits != 32:
            raise XlbenchError(f"The weights have {self.bits} bits already.", "Start from an encoder of 32 bits.")
        return self.model_copy(update={"bits": bits})

    def cut(self, spec: StudentSpec) -> Shape:
        """Return the shape of the student that a student spec cuts from an assistant of this shape.

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
"""The multilingual MiniLM of Ding et al. (2022), e.g. multilingual-e5-small, paraphrase-multilingual-MiniLM-L12-v2."""

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
