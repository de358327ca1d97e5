"""Repetitions in turns, summarised by a median and its quartiles."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from xlbench.fingerprint import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")


class Spread(Frozen):
    """A figure over repetitions; with three of them the quartiles lie half-way to the lowest and the highest."""

    median: float
    low: float
    high: float
    values: tuple[float, ...]

    def show(self, digits: int = 1) -> str:
        """Return the median with the quartiles behind it."""
        if len(self.values) == 1:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: list[float]) -> Spread:
    """Return the median and quartiles of some repetitions."""
    low, median, high = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    return Spread(median=median, low=low, high=high, values=tuple(values))


def ratios(over: list[float], under: list[float]) -> Spread:
    """Return the quotients of two contenders, repetition by repetition: neighbours in time."""
    return spread([one / other for one, other in zip(over, under, strict=True)])


def in_turns(contenders: Mapping[str, Callable[[], T]], repetitions: int) -> dict[str, list[T]]:
    """Run every contender once in every repetition, in an order that turns by one each time."""
    names = list(contenders)
    found: dict[str, list[T]] = {name: [] for name in names}
    for turn in range(repetitions):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            began = time.perf_counter()
            found[name].append(contenders[name]())
            print(f"  repetition {turn + 1}: {name} ({time.perf_counter() - began:.0f} s)", flush=True)
    return found


class Clock:
    """Seconds that something took."""

    seconds = 0.0


@contextmanager
def clock() -> Iterator[Clock]:
    """Time a block."""
    taken = Clock()
    began = time.perf_counter()
    try:
        yield taken
    finally:
        taken.seconds = time.perf_counter() - began
