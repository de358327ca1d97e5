"""The kinds of thing that a plugin brings, beside the plain data of :mod:`xlbench.experiment`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sentence_transformers import SentenceTransformer

    from xlbench.distill.plan import Plan
    from xlbench.experiment import Experiment
    from xlbench.settings import Settings


Scalar: TypeAlias = bool | int | float | str


class Options(BaseModel):
    """Base of a method's options: every field described and bounded, unknown ones refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


DEFAULT = "default"  # the preset of a run that names none


@dataclass(frozen=True)
class Method:
    """A way to train a student, as a plan of stages.

    Attributes:
        name: What ``--method`` takes.
        summary: One line for listings.
        plan: Turns an experiment and the validated options into a plan; reads no data, loads no weights.
        options: The class of its options.
        reference: Where the method is described.
        student: Whether it makes a student; False for rows that only score an encoder.
        presets: Named sets of option values. 'default', where there is one, is what a run gets that names none: a
            field's own default is what its absence means in a record, and stays when the better value changes.
    """

    name: str
    summary: str
    plan: Callable[[Experiment, Options], Plan]
    options: type[Options] = Options
    reference: str = ""
    student: bool = True
    presets: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)


class Pair(NamedTuple):
    """An English sentence and its translation."""

    english: str
    other: str


@runtime_checkable
class Corpus(Protocol):
    """An opened source of parallel pairs."""

    @property
    def digest(self) -> str:
        """Identifies the bytes: equal digests mean equal pairs."""
        ...

    @property
    def note(self) -> str:
        """What a reader of scores must be told: nature, licence, domains shared with test sets."""
        ...

    def languages(self) -> tuple[str, ...]:
        """Return the ISO 639-1 codes of the non-English sides, sorted."""
        ...

    def pairs(self, language: str) -> Iterator[Pair]:
        """Yield the pairs of one language as they stand in the source, without loading it whole.

        Raises:
            XlbenchError: A row is malformed; the message names file and line.
        """
        ...


@dataclass(frozen=True)
class CorpusSource:
    """A kind of corpus: ``scheme`` or ``scheme:argument`` on the command line.

    Attributes:
        scheme: What the reference starts with.
        summary: One line for listings.
        example: A reference that shows how to use it.
        open: Opens the argument (empty when none was given); cheap, reads no pair.
    """

    scheme: str
    summary: str
    example: str
    open: Callable[[str, Settings], Corpus]


@dataclass(frozen=True)
class EncoderSource:
    """A registered encoder.

    Attributes:
        name: What ``--teacher`` and ``--assistant`` take.
        summary: One line for listings.
        fingerprint: Identifies its weights; cheap, loads nothing, imports no torch.
        load: Returns it as a SentenceTransformer.
        notes: What a reader of scores must be told (licence, training data).
    """

    name: str
    summary: str
    fingerprint: Callable[[Settings], str]
    load: Callable[[Settings], SentenceTransformer]
    notes: str = field(default="")
