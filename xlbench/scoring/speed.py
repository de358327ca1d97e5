"""Speed of an encoder, absolute and relative to a baseline that is measured in the same process.

On shared machines absolute figures drift by tens of percent within minutes. Model and baseline take turns, so that a
drift affects both, and the ratio of a round compares measurements that are close in time.
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
    """The median and range of a figure over several rounds."""

    median: float
    low: float = Field(description="The lowest round.")
    high: float = Field(description="The highest round.")


class Pace(Frozen):
    """The absolute speed of an encoder."""

    throughput: Measured = Field(description="Sentences per second, with all sentences in one call.")
    latency: Measured = Field(description="Milliseconds for a call with one sentence.")


class Speed(Frozen):
    """The speed of an encoder, absolute and relative to a baseline."""

    model: Pace
    baseline: Pace
    throughput_ratio: Measured = Field(
        description="Throughput of the model divided by that of the baseline, round by round: above 1 is faster."
    )
    latency_ratio: Measured = Field(
        description="Latency of the baseline divided by that of the model, round by round: above 1 is faster."
    )
    sentences: int = Field(ge=1)
    repetitions: int = Field(ge=1)
    precision: Precision
    runtime: str = Field(default="torch", description="What ran the model: 'torch', 'onnxruntime' or 'openvino'.")
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

    Both encode everything once to warm up. In each of ``repetitions`` rounds both encode all sentences in one call, and
    then up to 20 sentences one by one; model and baseline go first in alternate rounds.

    Args:
        model: The encoder.
        baseline: The encoder to compare it with, usually the assistant.
        texts: Sentences of typical lengths; a few hundred give stable figures.
        settings: The device to report, and whether to show a bar.
        precision: What both compute in; exported encoders have their own types, whatever is given.
        repetitions: Number of rounds.
        clock: Returns seconds.

    Raises:
        XlbenchError: There are no texts, or no rounds.
    """
    from xlbench.encoders.encode import encode, encoding_mode
    from xlbench.encoders.exported import exported_encoder

    if not texts or repetitions < 1:
        raise XlbenchError(
            f"Speed cannot be measured on {len(texts)} sentences in {repetitions} rounds.",
            "Give at least one of each.",
        )

    singles = list(texts)[:: max(1, len(texts) // SINGLES)][:SINGLES]

    def time_call(encoder: SentenceTransformer, sentences: Sequence[str]) -> float:
        began = clock()
        encode(encoder, sentences, precision=precision)
        return clock() - began

    encoders = (model, baseline)
    batch_seconds: tuple[list[float], list[float]] = ([], [])
    single_seconds: tuple[list[float], list[float]] = ([], [])
    bar = progress("measuring speed", repetitions + 1, quiet=settings.quiet, unit="rounds")
    with encoding_mode(model, precision), encoding_mode(baseline, precision), bar as advance:
        for encoder in encoders:
            time_call(encoder, texts)
            time_call(encoder, singles[:1])
        advance()
        for turn in range(repetitions):
            order = (0, 1) if turn % 2 == 0 else (1, 0)
            for which in order:
                batch_seconds[which].append(time_call(encoders[which], texts))
            for which in order:
                single_seconds[which].append(median(time_call(encoders[which], [text]) for text in singles))
            advance()
    paces = [
        Pace(
            throughput=_summarise([len(texts) / seconds for seconds in batch_seconds[which]]),
            latency=_summarise([1000 * seconds for seconds in single_seconds[which]]),
        )
        for which in (0, 1)
    ]
    return Speed(
        model=paces[0],
        baseline=paces[1],
        throughput_ratio=_summarise([other / own for own, other in zip(*batch_seconds, strict=True)]),
        latency_ratio=_summarise([other / own for own, other in zip(*single_seconds, strict=True)]),
        sentences=len(texts),
        repetitions=repetitions,
        precision=precision,
        runtime="torch" if (exported := exported_encoder(model)) is None else exported.runtime.name,
        machine=describe_machine(settings),
    )


def _summarise(values: Sequence[float]) -> Measured:
    return Measured(median=median(values), low=min(values), high=max(values))
