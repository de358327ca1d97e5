"""The columns of a board's data frames: type, meaning and unit of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.experiment import Family


class Field(NamedTuple):
    """A column of a frame: its pandas type and its meaning."""

    kind: Literal["str", "Int64", "float64", "bool"]
    about: str


TIDY = {
    "name": Field("str", "What the board calls the row."),
    "method": Field("str", "The method that distilled the student; missing for an encoder that was only scored."),
    "student": Field("str", "The student spec; missing for an encoder that was only scored."),
    "role": Field("str", "teacher, assistant, aligned, student or encoder."),
    "seed": Field("Int64", "Of the run; missing for an encoder that was only scored."),
    "suite": Field("str", "The suite that was scored."),
    "family": Field("str", "sts or bitext; sts_other or bitext_other of languages that students need not keep."),
    "task": Field("str", "MTEB's name of the task."),
    "subset": Field("str", "MTEB's name of the subset."),
    "languages": Field(
        "str", "Of its two sides, in two letters where there are two: 'en-de', or 'de' where they agree."
    ),
    "split": Field("str", "The split of the task that was scored."),
    "metric": Field("str", "MTEB's name of the metric that `score` is."),
    "items": Field("Int64", "Sentence pairs of the subset."),
    "score": Field("float64", "Of this run, in points; missing where it is undefined."),
    "undefined": Field("str", "Why the score is undefined, e.g. that all golds are equal; no mean includes it."),
    "low": Field("float64", "Lower end of the 95 % interval of the row's mean over seeds, over items, in points."),
    "high": Field("float64", "Upper end of it."),
    "collapsed": Field(
        "bool", "This run's encoder gives all sentences nearly the same embedding: its score means nothing."
    ),
}
TASKS = {
    "name": Field("str", "What the board calls the row."),
    "published": Field("bool", "Measured by others."),
    "task": Field("str", "MTEB's name of the task."),
    "family": Field("str", "sts or bitext; sts_other or bitext_other of languages that students need not keep."),
    "subsets": Field("Int64", "Subsets that the score is the mean of."),
    "subsets_asked": Field("Int64", "Subsets of the task in the suite."),
    "score": Field("float64", "Mean over the subsets, each counting the same, and over seeds, in points."),
    "low": Field("float64", "Lower end of its 95 % interval over items, in points."),
    "high": Field("float64", "Upper end of it."),
    "seed_deviation": Field("float64", "Sample standard deviation over seeds, in points; missing with one seed."),
}
FAMILY = {
    "rank": Field("Int64", "1 + how many rows are significantly better: paired 95 % interval above zero."),
    "letters": Field(
        "str", "Rows that share a letter do not differ significantly: the interval of their difference contains zero."
    ),
    "score": Field("float64", "Mean over the family's tasks, and over seeds, in points."),
    "low": Field("float64", "Lower end of its 95 % interval over items, in points."),
    "high": Field("float64", "Upper end of it."),
    "seed_deviation": Field("float64", "Sample standard deviation over seeds, in points; missing with one seed."),
    "drop": Field("float64", "Score minus the reference's, in points: negative is worse."),
    "drop_low": Field("float64", "Lower end of the paired 95 % interval of it, in points."),
    "drop_high": Field("float64", "Upper end of it."),
    "drop_percent": Field(
        "float64", "The same in per cent of the reference's score; missing where that is not above 0."
    ),
    "frontier": Field("bool", "No other row is as good, as small (parameters, bytes) and as fast, and better in one."),
}
"""Columns of a board that are there for each family, behind its name: ``sts_rank``."""
ENCODER = {
    "name": Field("str", "What the board calls the row."),
    "role": Field("str", "teacher, assistant, aligned, student, encoder, published, or failed where all runs failed."),
    "method": Field("str", "The method that distilled the student; missing for an encoder that was only scored."),
    "student": Field("str", "The student spec; missing for an encoder that was only scored."),
    "published": Field("bool", "Measured by others: not ranked, no intervals."),
    "reference": Field("bool", "The row that drops are measured against: the aligned assistant, else the given one."),
}
FOOTPRINT = {
    "parameters": Field("Int64", "Stored parameters; a tensor that several layers share counts once."),
    "parameters_share": Field("float64", "Parameters in per cent of the reference's."),
    "embedding_parameters": Field(
        "Int64", "Of the embedding layer: token embeddings, their map, positions, types, norm."
    ),
    "executed_parameters": Field(
        "Int64", "Of the layers as a forward pass meets them: looped layers count every time."
    ),
    "stored_layers": Field("Int64", "Distinct layers."),
    "executed_layers": Field("Int64", "Layers of a forward pass."),
    "bits": Field("Int64", "Bits of a stored weight of a student."),
    "megabytes": Field("float64", "Of the weight files, 10^6 bytes each."),
    "languages": Field(
        "str", "Languages that a trimmed vocabulary keeps, e.g. 'de en'; missing for a full vocabulary."
    ),
    "throughput_ratio": Field("float64", "Sentences per second over the given assistant's in the same process."),
    "sentences_per_second": Field("float64", "All given at once; depends on the machine."),
    "latency_ms": Field("float64", "Milliseconds for one sentence alone; depends on the machine."),
    "train_minutes": Field("float64", "Of all stages of a run, the mean over seeds."),
    "seeds": Field("Int64", "Runs that the scores are the mean of; missing for an encoder that was only scored."),
    "seeds_asked": Field("Int64", "Runs that the board asked for."),
    "seeds_collapsed": Field("Int64", "Runs whose encoder gives all sentences nearly the same embedding."),
    "seeds_failed": Field("Int64", "Runs that ended without an encoder."),
    "collapsed": Field("bool", "Every run collapsed: the scores mean nothing."),
}


def board_fields(families: Sequence[Family]) -> dict[str, Field]:
    """Return the columns of :func:`board_frame`, in order."""
    quality = {f"{family}_{name}": field for family in families for name, field in FAMILY.items()}
    return ENCODER | quality | FOOTPRINT
