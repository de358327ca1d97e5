"""What a model card is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlbench.comparison.statistics import Statistics
    from xlbench.records.record import Record


@dataclass(frozen=True)
class EncoderNotes:
    """What is known of an encoder that a student was made from.

    Attributes:
        about: Origin and licence, as its plugin states them.
        license: Of its weights, as model cards write it; empty where it is not known.
        published: Where its weights are on the hub; empty where they are not.
    """

    about: str = ""
    license: str = ""
    published: str = ""


@dataclass(frozen=True)
class CardFacts:
    """What a model card is made of.

    Attributes:
        name: Of the encoder.
        use: How it is loaded, as markdown.
        record: Of the student, without paths of the machine; None for an encoder that no run made.
        statistics: Intervals of its scores; None where the item-level scores are gone.
        method: One sentence on the method; empty where no plugin knows it.
        reference: Where the method is described.
        encoders: What is known of teachers and assistant, by name.
        command: Makes the student again; empty without a record.
        export: What was exported and what it lost, as markdown; empty where nothing was.
        library: What loads it.
    """

    name: str
    use: str
    record: Record | None = None
    statistics: Statistics | None = None
    method: str = ""
    reference: str = ""
    encoders: Mapping[str, EncoderNotes] = field(default_factory=dict)
    command: str = ""
    export: str = ""
    library: str = "sentence-transformers"
