"""Training: pairs per second of our trainer, the paper's loop and sentence-transformers' recipe, and the limit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from benchmarks.contenders import Timed, train_plain, train_recipe, train_xlbench
from benchmarks.limit import Limit, Peak, measure_limit, measure_peak
from benchmarks.measure import in_turns, ratios, spread
from benchmarks.pictures import stacked_bars
from benchmarks.results import Part, Table, at_least
from benchmarks.step_profile import groups_of, profile_steps
from xlbench.distill.flops import training_work
from xlbench.scoring.machine import describe_machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.material import Material
    from benchmarks.measure import Spread
    from benchmarks.step_profile import Profile
    from xlbench.experiment import Precision
    from xlbench.fingerprint import Json

OURS = "xlbench"
PLAIN = "(a) plain loop, as the paper's release"
PLAIN_CACHED = "(a) without computing targets"
STANDARD = "(b) sentence-transformers' recipe"
PICTURE = "training_step.svg"
# A stage of a short budget with many dev pairs: evaluations and checkpoints take no larger share of others.
STAGE_PAIRS, STAGE_DEV, STAGE_EVALUATIONS = 16_000, 1_400, 4


def measure_training(material: Material, out: Path, *, repetitions: int, batches: int) -> Part:
    """Time all contenders on the same pairs and draw where a step's time goes."""
    pairs = batches * material.batch_size
    lengths = real_lengths(material, pairs)
    tokens = int(lengths.sum() / batches)
    limits: dict[Precision, list[Limit]] = {"float32": [], material.precision: []}

    def limit() -> Timed:
        for precision, found in limits.items():
            found.append(measure_limit(material.shape, precision, tokens, device=material.device))
        return Timed(0, 1)

    contenders: dict[str, Callable[[], Timed]] = {
        "limit": limit,
        PLAIN: partial(train_plain, material, pairs, recompute=True),
        PLAIN_CACHED: partial(train_plain, material, pairs, recompute=False),
        STANDARD: partial(train_recipe, material, pairs),
        OURS: partial(train_xlbench, material, pairs),
    }
    train_recipe(material, 2 * material.batch_size)  # warm-up: imports libraries, allocates memory
    found = in_turns(contenders, repetitions)
    del found["limit"]
    work = training_work(material.shape, lengths).total / pairs / 1e9  # GFLOP a pair
    rates = {name: [timed.rate for timed in times] for name, times in found.items()}
    computed: dict[str, Precision] = {
        name: "float32" if name in {PLAIN, PLAIN_CACHED} else material.precision for name in rates
    }
    bounds = {precision: [limit.gflops for limit in each] for precision, each in limits.items()}
    shares = {
        name: ratios([100 * work * rate for rate in each], bounds[computed[name]]) for name, each in rates.items()
    }
    over = {name: ratios(rates[OURS], each) for name, each in rates.items()}
    rows = tuple(
        (
            name,
            computed[name],
            spread(each).show(),
            spread([work * rate for rate in each]).show(0),
            f"{shares[name].show()} %",
            f"{over[name].show(2)}×",
        )
        for name, each in rates.items()
    )
    peaks = {precision: measure_peak(precision, device=material.device) for precision in limits}
    profiles = profile_both(material, batches)
    stacked_bars(out / PICTURE, profiles)
    share = 50 if material.precision == "bfloat16" else 75
    own = shares[OURS]
    return Part(
        title="Training",
        how=(
            f"minilm-half (B = 128, 6 layers run twice, {material.shape.vocabulary:,} rows), both sides pulled to the "
            f"12-layer assistant's English vectors, everything trained, no dropout, batches of "
            f"{material.batch_size}. The same {pairs} pairs of mixed length for all (from {material.source}; "
            f"{lengths.mean():.1f} tokens a sentence on average, {work:.2f} GFLOP a pair for real tokens). Set-up is "
            "left out; data, optimiser and logging are in."
        ),
        tables=(
            Table(
                title="Pairs per second",
                header=("Loop", "Computes in", "Pairs/s", "GFLOP/s for real tokens", "Of the limit", "xlbench is"),
                rows=rows,
            ),
            limit_table(limits, tokens),
            peak_table(peaks, describe_machine(material.settings).device),
            evaluation_table(found[OURS], spread(rates[OURS]), len(material.context(pairs).corpus.dev_pairs)),
            profile_table(profiles),
        ),
        lines=(
            at_least("training: at least 6× (a) in pairs/s", over[PLAIN].median, 6, f"{over[PLAIN].show(2)}×"),
            at_least("training: at least 2× (b) in pairs/s", over[STANDARD].median, 2, f"{over[STANDARD].show(2)}×"),
            at_least(
                f"training: at least {share} % of the {material.precision} limit",
                own.median,
                share,
                f"{own.show()} %",
            ),
        ),
        pictures=(PICTURE,),
        data={
            "pairs": pairs,
            "gflop_per_pair": work,
            "pairs_per_second": cast("Json", rates),
            "peaks": {name: peak.model_dump() for name, peak in peaks.items()},
            "limits": {name: [limit.model_dump() for limit in each] for name, each in limits.items()},
            "profiles": cast("Json", {name: profile.model_dump() for name, profile in profiles.items()}),
        },
    )


def real_lengths(material: Material, pairs: int) -> np.ndarray:
    """Return the tokens of both sides of the timed pairs, int [2 pairs]."""
    context = material.context(pairs)
    lengths = context.tokens(material.student()).lengths()
    return np.asarray(lengths[context.corpus.pairs.reshape(-1)])


def profile_both(material: Material, batches: int) -> dict[str, Profile]:
    """Return where the time of a step goes: the plain loop's third step on, and our last pass."""
    few = min(batches, 5) * material.batch_size
    pairs = batches * material.batch_size
    dims = {material.shape.hidden, material.shape.intermediate, material.shape.bottleneck or 0}
    return {
        PLAIN: profile_steps(lambda tick: train_plain(material, few, recompute=True, tick=tick), few, 0.39, dims),
        OURS: profile_steps(lambda tick: train_xlbench(material, pairs, tick=tick), 2 * pairs, 0.5, dims),
    }


def limit_table(limits: dict[Precision, list[Limit]], tokens: int) -> Table:
    """Return the rates of the matrix products."""
    rows = []
    for precision, each in limits.items():
        for title, kind in (("forward", "forward"), ("inputs' gradient", "inputs"), ("weights' gradient", "weights")):
            rates = [getattr(limit, kind) for limit in each]
            best, middle = spread([rate.best for rate in rates]), spread([rate.median for rate in rates])
            rows.append((precision, title, best.show(0), middle.show(0)))
    return Table(
        title=f"The limit: matrix products of a layer with {tokens} tokens, GFLOP/s (best forward is the limit)",
        header=("dtype", "Product", "Best", "Median"),
        rows=tuple(rows),
    )


def peak_table(peaks: dict[Precision, Peak], device: str) -> Table:
    """Return the highest rates of the device, which no shape of a model reaches."""
    return Table(
        title=f"The device's own limit: products of large square matrices, TFLOP/s, measured on {device}",
        header=("dtype", "Rows and columns", "Best"),
        rows=tuple((name, f"{peak.size:,}", f"{peak.tflops:.3g}") for name, peak in peaks.items()),
    )


def evaluation_table(times: list[Timed], rate: Spread, dev: int) -> Table:
    """Return the seconds of evaluations and checkpoints, and their share of a stage."""
    evaluation, rest = spread([timed.evaluation for timed in times]), spread([timed.rest for timed in times])
    extra = (STAGE_EVALUATIONS + 1) * evaluation.median * STAGE_DEV / dev + STAGE_EVALUATIONS * rest.median
    share = 100 * extra / (extra + STAGE_PAIRS / rate.median)
    return Table(
        title="Outside the steps of xlbench's trainer",
        header=("What", "Takes"),
        rows=(
            (f"an evaluation on {dev} dev pairs", f"{evaluation.show(2)} s"),
            ("a checkpoint, and reading the best one back", f"{rest.show(2)} s"),
            (
                f"share of a stage of {STAGE_PAIRS:,} pairs, {STAGE_EVALUATIONS + 1} evaluations on {STAGE_DEV:,} dev "
                f"pairs and {STAGE_EVALUATIONS} checkpoints",
                f"{share:.1f} %",
            ),
        ),
    )


def profile_table(profiles: dict[str, Profile]) -> Table:
    """Return the milliseconds that a pair takes in each group."""
    groups = groups_of(profiles.values())
    rows = [
        (group, *(f"{profile.milliseconds.get(group, 0.0):.2f}" for profile in profiles.values())) for group in groups
    ]
    totals = ("all", *(f"{sum(profile.milliseconds.values()):.2f}" for profile in profiles.values()))
    return Table(
        title="Where a step's time goes, milliseconds a pair (torch.profiler, which itself costs some)",
        header=("", *profiles),
        rows=(*rows, totals),
    )
