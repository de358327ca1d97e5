"""Speed, as a ratio against a baseline measured in the same process, beside the absolute figures.

Absolute figures of shared machines drift by tens of percent within minutes. Model and baseline take turns, so
that a drift meets both, and the ratio of a round compares neighbours in time.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.errors import XlbenchError
from xlbench.experiment import Precision
from xlbench.fingerprint import Frozen
from xlbench.progress import progress
from xlbench.scoring.machine import Machine, describe_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sentence_transformers import SentenceTransformer

    from xlbench.settings import Settings

SINGLES = 20  # sentences timed one by one in each round


class Measured(Frozen):
    """A figure over several rounds."""

    median: float
    low: float = Field(description="The lowest round.")
    high: float = Field(description="The highest round.")


class Pace(Frozen):
    """How fast one encoder is."""

    throughput: Measured = Field(description="Sentences per second, all given at once.")
    latency: Measured = Field(description="Milliseconds for one sentence given alone.")


class Speed(Frozen):
    """How fast an encoder is, absolutely and against a baseline."""

    model: Pace
    baseline: Pace
    throughput_ratio: Measured = Field(
        description="Throughput of the model over the baseline's, round by round: above 1 is faster."
    )
    latency_ratio: Measured = Field(
        description="Latency of the baseline over the model's, round by round: above 1 is faster."
    )
    sentences: int = Field(ge=1)
    repetitions: int = Field(ge=1)
    precision: Precision
    machine: Machine


def measure_speed(
    model: SentenceTransformer,
    baseline: SentenceTransformer,
    texts: Sequence[str],
    settings: Settings,
    *,
    precision: Precision,
    repetitions: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Measure an encoder against a baseline.

    Both encode everything once to warm up. Then they take turns for ``repetitions`` rounds, each going first
    in every other one: all sentences at once, and up to 20 of them one by one.

    Args:
        model: The encoder.
        baseline: What to compare it with, most often the assistant it was cut from.
        texts: Sentences of the lengths that matter; a few hundred give steady figures.
        settings: The device to report, and whether to show a bar.
        precision: What both compute in.
        repetitions: Rounds.
        clock: Gives seconds.

    Raises:
        XlbenchError: There are no texts, or no rounds.
    """
    from xlbench.encoders.encode import encode, encoding_mode

    if not texts or repetitions < 1:
        raise XlbenchError(
            f"Speed cannot be measured on {len(texts)} sentences in {repetitions} rounds.",
            "Give at least one of each.",
        )

    singles = list(texts)[:: max(1, len(texts) // SINGLES)][:SINGLES]

    def timed(encoder: SentenceTransformer, sentences: Sequence[str]) -> float:
        began = clock()
        encode(encoder, sentences, precision=precision)
        return clock() - began

    encoders = (model, baseline)
    batch: tuple[list[float], list[float]] = ([], [])
    single: tuple[list[float], list[float]] = ([], [])
    bar = progress("Measuring speed", repetitions + 1, quiet=settings.quiet)
    with encoding_mode(model, precision), encoding_mode(baseline, precision), bar as advance:
        for encoder in encoders:
            timed(encoder, texts)
            timed(encoder, singles[:1])
        advance()
        for turn in range(repetitions):
            order = (0, 1) if turn % 2 == 0 else (1, 0)
            for which in order:
                batch[which].append(timed(encoders[which], texts))
            for which in order:
                single[which].append(median(timed(encoders[which], [text]) for text in singles))
            advance()
    paces = [
        Pace(
            throughput=_measured([len(texts) / seconds for seconds in batch[which]]),
            latency=_measured([1000 * seconds for seconds in single[which]]),
        )
        for which in (0, 1)
    ]
    return Speed(
        model=paces[0],
        baseline=paces[1],
        throughput_ratio=_measured([theirs / ours for ours, theirs in zip(*batch, strict=True)]),
        latency_ratio=_measured([theirs / ours for ours, theirs in zip(*single, strict=True)]),
        sentences=len(texts),
        repetitions=repetitions,
        precision=precision,
        machine=describe_machine(settings),
    )


def _measured(values: Sequence[float]) -> Measured:
    return Measured(median=median(values), low=min(values), high=max(values))
