"""An experiment, all resolved: no name left to look up, no default left open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from xlbench.fingerprint import Frozen, Json, fingerprint

OTHER = "(other languages)"  # ends the name of a task whose subsets are of such languages
Measure = Literal["sts", "bitext"]
Family = Literal["sts", "bitext", "sts_other", "bitext_other"]
"""A family of tasks, over which a board takes a mean; ``_other`` ones are of languages that students need not keep."""


def measure_of(family: Family) -> Measure:
    """Return how the items of a family's tasks are scored and compared."""
    return "sts" if family in ("sts", "sts_other") else "bitext"


def is_main(family: Family) -> bool:
    """Return whether a family is of the languages that students are made for, and not of others."""
    return family == measure_of(family)


Precision = Literal["float32", "bfloat16", "float16"]


LARGEST_SEED = 2**32 - 1  # numpy's generators take no larger one
MOST_PAIRS = 10**10  # more than any parallel corpus holds
MOST_LAYERS = 1000  # that run one after the other
WIDEST = 2**16


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed is there twice\neach seed once")
    return tuple(sorted(seeds))


Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
"""Of everything random."""

Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)]
"""Of everything random: an axis along which an experiment is repeated, not a setting to tune. Ascending."""

Bits = Literal[8, 16, 32]
"""Of a saved weight: 32 is float32, 16 float16, 8 integers with a scale for each row of a matrix."""


class StudentSpec(Frozen):
    """How a student is cut from an assistant, and in how many bits it is saved."""

    name: str = Field(min_length=1, description="What boards call it.")
    bottleneck: int | None = Field(
        default=None,
        ge=1,
        le=WIDEST,
        description="Width B of the token embeddings; None keeps the assistant's full width.",
    )
    layers: int = Field(ge=1, le=MOST_LAYERS, description="Stored layers K.")
    repeats: int = Field(default=1, ge=1, le=MOST_LAYERS, description="Times R that each stored layer runs.")
    hidden: int | None = Field(
        default=None, ge=1, le=WIDEST, description="Hidden size the assistant must have; None takes any."
    )
    bits: Bits = Field(
        default=32,
        description="Bits of a saved weight: 32, 16 or 8.",
    )
    summary: str = Field(default="", description="One line for listings.")

    @model_validator(mode="after")
    def _bounded_depth(self) -> StudentSpec:
        if self.layers * self.repeats > MOST_LAYERS:
            problem = f"{self.layers} layers run {self.repeats} times are {self.layers * self.repeats:,} layers"
            raise ValueError(f"{problem}\n{MOST_LAYERS:,} at most")
        return self


class Budget(Frozen):
    """How much data and training: the same for every method in one comparison.

    Pairs seen count repetitions: a corpus of 2,000 pairs shown three times is 6,000 pairs.
    """

    name: str = Field(description="What boards call it.")
    pairs_per_language: int | None = Field(
        default=None, ge=1, le=MOST_PAIRS, description="Training pairs kept per language; None keeps all."
    )
    dev_pairs: int = Field(
        default=700, ge=8, le=MOST_PAIRS, description="Pairs held out of the corpus, over all languages."
    )
    assistant_pairs: int = Field(ge=0, le=MOST_PAIRS, description="Pairs seen by the assistant's alignment (stage 1).")
    student_pairs: int = Field(ge=1, le=MOST_PAIRS, description="Pairs seen by the student, over all its stages.")


def task_of(name: str) -> str:
    """Return MTEB's name of the task that tables call so; see :attr:`TaskRef.name`."""
    return name.removesuffix(OTHER).rstrip()


class TaskRef(Frozen):
    """One MTEB task of a suite, and which of its subsets."""

    task: str = Field(description="MTEB's name of the task.")
    family: Family = Field(description="What its score is averaged with, and how its items are scored and compared.")
    subsets: tuple[str, ...] = Field(min_length=1, description="MTEB's names of the subsets, in table order.")
    split: str = Field(default="test", description="The split that is scored.")
    loader: str | None = Field(
        default=None,
        description="'module:Class' of a task that MTEB does not have, or the tag of one that ships with xlbench; None"
        " asks mteb.get_task.",
    )

    @property
    def measure(self) -> Measure:
        """How its items are scored and compared."""
        return measure_of(self.family)

    @property
    def name(self) -> str:
        """What tables call it: the task, and in a family of other languages that too."""
        return self.task if is_main(self.family) else f"{self.task} {OTHER}"


class Suite(Frozen):
    """A named set of tasks."""

    name: str
    summary: str
    tasks: tuple[TaskRef, ...] = Field(min_length=1)
    example: bool = Field(default=False, description="A working example: its scores are no benchmark.")

    def families(self) -> tuple[Family, ...]:
        """Return the families of the tasks, each once, in order."""
        return tuple(dict.fromkeys(task.family for task in self.tasks))


class EncoderRef(Frozen):
    """An encoder found: what it is called, where it comes from and exactly which weights."""

    name: str
    origin: Literal["registered", "local", "data-root", "hub"]
    fingerprint: str = Field(description="Changes whenever its embeddings may.")
    revision: str | None = Field(default=None, description="Hub commit, where there is one.")

    @property
    def title(self) -> str:
        """What boards call it: its name; of one in a directory, the directory's name."""
        return Path(self.name).name if self.origin == "local" else self.name


class CorpusRef(Frozen):
    """A source of parallel pairs, opened and identified."""

    reference: str = Field(description="As given: 'scheme', 'scheme:argument' or 'scheme:argument?cap=N'.")
    digest: str = Field(description="Of its bytes or its hub commit.")
    note: str = Field(default="", description="What a reader of scores must know, e.g. a shared domain.")


class Data(Frozen):
    """The training data of an experiment: which pairs, in which languages, without which texts."""

    corpora: tuple[CorpusRef, ...] = Field(min_length=1)
    languages: tuple[str, ...] = Field(min_length=1, description="ISO 639-1 codes of the non-English sides.")
    pairs_per_language: int | None = Field(default=None, ge=1)
    dev_pairs: int = Field(ge=8)
    excluded: str = Field(description="Digest of the evaluation sentences that no pair may contain.")

    def digest(self) -> str:
        """Return the fingerprint of the prepared pairs (spelling of references left out)."""
        facts: Json = {
            "corpora": [
                [corpus.digest, corpus.reference.partition("?")[2]]
                for corpus in sorted(self.corpora, key=lambda corpus: corpus.digest)
            ],
            "languages": sorted(self.languages),
            "pairs": self.pairs_per_language,
            "dev": self.dev_pairs,
            "excluded": self.excluded,
        }
        return fingerprint(facts)


class Experiment(Frozen):
    """Everything that decides a result."""

    method: str
    options: dict[str, Json] = Field(description="The method's options, defaults filled in.")
    student: StudentSpec
    teachers: tuple[EncoderRef, ...] = Field(
        min_length=1,
        description="The first gives the target space; any others join the similarity matrix, or all are blended.",
    )
    assistant: EncoderRef
    data: Data
    suite: Suite
    keep_out: tuple[Suite, ...] = Field(
        default=(),
        description="Suites whose sentences no pair may contain, besides those of the scored one.",
    )
    budget: Budget
    seed: Seed
    precision: Precision

    @field_validator("teachers")
    @classmethod
    def _teachers_differ(cls, teachers: tuple[EncoderRef, ...]) -> tuple[EncoderRef, ...]:
        if len({teacher.fingerprint for teacher in teachers}) != len(teachers):
            raise ValueError("the teachers must differ\neach teacher once")
        return teachers

    @property
    def kept_out(self) -> tuple[Suite, ...]:
        """Every suite whose sentences no pair may contain; the scored one is the first."""
        return (self.suite, *self.keep_out)

    @property
    def teacher(self) -> EncoderRef:
        """The first teacher, whose space the student is trained into."""
        return self.teachers[0]

    def named_teachers(self) -> dict[str, EncoderRef]:
        """Return the teachers by what plans call them: teacher, teacher:1 ..."""
        return {f"teacher:{number}" if number else "teacher": it for number, it in enumerate(self.teachers)}

    def self_taught(self) -> bool:
        """Return whether the assistant's own English side is the teacher."""
        return self.teacher.fingerprint == self.assistant.fingerprint
