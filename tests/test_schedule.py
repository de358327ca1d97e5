"""List scheduling on a graph worked out by hand."""

from __future__ import annotations

import pytest

from xlbench.engines.schedule import critical_path, makespan, path_lengths

#   a 2 ─┬─ b 4 ── e 1        Paths: a b e 7, a c e 6, d 5, f 1.
#        └─ c 3 ─┘
#   d 5,  f 1
SECONDS = {"a": 2.0, "b": 4.0, "c": 3.0, "e": 1.0, "d": 5.0, "f": 1.0}
AFTER = {"a": (), "b": ("a",), "c": ("a",), "e": ("b", "c"), "d": (), "f": ()}


def test_path_lengths_and_the_critical_path() -> None:
    assert path_lengths(SECONDS, AFTER) == {"a": 7, "b": 5, "c": 4, "e": 1, "d": 5, "f": 1}
    assert critical_path(SECONDS, AFTER) == ["a", "b", "e"]


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (1, 16),  # the sum
        (2, 9),  # a 0-2, d 0-5; b 2-6; c 5-8; f 6-7; e 8-9
        (3, 7),  # a 0-2, d 0-5, f 0-1; b 2-6, c 2-5; e 6-7: the critical path
        (8, 7),
    ],
)
def test_makespans(workers: int, expected: float) -> None:
    assert makespan(SECONDS, AFTER, workers) == expected


def test_the_longest_path_goes_first_not_the_first_task() -> None:
    seconds = {"short": 1.0, "shorter": 1.0, "long": 2.0}
    assert makespan(seconds, dict.fromkeys(seconds, ()), 2) == 2  # in their order it would be 3


def test_what_is_not_in_the_graph_is_done() -> None:
    assert makespan({"b": 4.0}, {"b": ("a",)}, 1) == 4
    assert critical_path({"b": 4.0}, {"b": ("a",)}) == ["b"]


def test_nothing_takes_no_time() -> None:
    assert makespan({}, {}, 2) == 0
    assert critical_path({}, {}) == []
