"""Speed, measured with a clock that only encoders advance, so that figures are exact on any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from toy_scoring import WordCounts, toy_encoder, toy_settings

from xlbench import XlbenchError
from xlbench.scoring.machine import describe_machine
from xlbench.scoring.speed import SINGLES, measure_speed

if TYPE_CHECKING:
    from pathlib import Path

    import torch


class Clock:
    """A clock that encoders advance; records each call with its encoder and number of sentences."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int]] = []

    def __call__(self) -> float:
        return self.now


class Timed(WordCounts):
    """Takes ``cost`` seconds a sentence, and in each later call ``drift`` times as much as in the one before."""

    def __init__(self, name: str, clock: Clock, cost: float, drift: float = 1) -> None:
        super().__init__()
        self.clock, self.name, self.cost, self.drift = clock, name, cost, drift

    def preprocess(self, inputs: list[str], prompt: str | None = None, **_options: object) -> dict[str, torch.Tensor]:
        self.clock.now += self.cost * len(inputs) * self.drift ** len(self.clock.calls)
        self.clock.calls.append((self.name, len(inputs)))
        return super().preprocess(inputs, prompt)


def test_figures_and_ratios_are_exact(tmp_path: Path) -> None:
    clock = Clock()
    model = toy_encoder(Timed("model", clock, cost=0.002))
    baseline = toy_encoder(Timed("baseline", clock, cost=0.008))
    speed = measure_speed(
        model,
        baseline,
        ["a", "b b"] * 20,
        toy_settings(tmp_path),
        precision="float32",
        repetitions=3,
        clock=clock,
    )
    # The model encodes 1 / 0.002 sentences a second and one sentence in 2 ms; the baseline takes four times as long.
    assert speed.model.throughput.median == pytest.approx(500)
    assert speed.model.latency.median == pytest.approx(2)
    assert speed.baseline.throughput.median == pytest.approx(125)
    assert speed.baseline.latency.median == pytest.approx(8)
    assert speed.throughput_ratio.median == pytest.approx(4)
    assert speed.latency_ratio.median == pytest.approx(4)
    assert (speed.sentences, speed.repetitions, speed.precision) == (40, 3, "float32")
    assert speed.machine.device == "cpu" or "cuda" in speed.machine.device


def test_model_and_baseline_take_turns_after_a_warm_up(tmp_path: Path) -> None:
    clock = Clock()
    encoders = [toy_encoder(Timed(name, clock, cost=1)) for name in "mb"]
    measure_speed(*encoders, ["a"] * 3, toy_settings(tmp_path), precision="float32", repetitions=2, clock=clock)
    batch = {name: [(name, 3)] for name in "mb"}
    single = {name: [(name, 1)] for name in "mb"}
    warm_up = batch["m"] + single["m"] + batch["b"] + single["b"]
    first = batch["m"] + batch["b"] + 3 * single["m"] + 3 * single["b"]
    second = batch["b"] + batch["m"] + 3 * single["b"] + 3 * single["m"]
    assert clock.calls == warm_up + first + second


def test_low_and_high_show_a_drift(tmp_path: Path) -> None:
    clock = Clock()
    encoders = [toy_encoder(Timed(name, clock, cost=1, drift=2)) for name in "mb"]
    speed = measure_speed(*encoders, ["a"], toy_settings(tmp_path), precision="float32", repetitions=2, clock=clock)
    # Every call takes twice as long as the one before; calls 0 to 3 are the warm-up. In round one the model takes 2^4
    # and the baseline 2^5, ratio 2. In round two, from call 8, the baseline takes 2^8 and the model 2^9, ratio 1/2.
    assert speed.model.throughput.high == pytest.approx(2**-4)
    assert speed.model.throughput.low == pytest.approx(2**-9)
    assert (speed.throughput_ratio.low, speed.throughput_ratio.high) == (0.5, 2)
    assert speed.throughput_ratio.median == pytest.approx(1.25)


def test_twenty_sentences_are_timed_one_by_one(tmp_path: Path) -> None:
    clock = Clock()
    encoders = [toy_encoder(Timed(name, clock, cost=1)) for name in "mb"]
    measure_speed(*encoders, ["a"] * 64, toy_settings(tmp_path), precision="float32", repetitions=1, clock=clock)
    # One call to warm up, then those of the round.
    assert clock.calls.count(("m", 1)) == 1 + SINGLES


def test_nothing_to_measure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(XlbenchError, match="0 sentences in 5 rounds"):
        measure_speed(toy_encoder(), toy_encoder(), [], toy_settings(tmp_path), precision="float32")


def test_the_machine_is_described() -> None:
    machine = describe_machine()
    assert machine.cpu
    assert machine.cores >= 1
    assert machine.threads >= 1
    assert machine.memory_gib > 0
    assert {"torch", "mteb", "transformers", "sentence-transformers"} <= set(machine.versions)
