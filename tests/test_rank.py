"""Ranks, the letters that tied rows share, and the frontier."""

from __future__ import annotations

import random
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from xlbench import XlbenchError
from xlbench.comparison.rank import Standing, compact_letters, frontier, standings
from xlbench.comparison.statistics import Difference, Interval, RowStatistics, Statistics

if TYPE_CHECKING:
    from collections.abc import Mapping


def statistics_of(scores: Mapping[str, float], half: float) -> Statistics:
    """Return statistics in which each interval is ``half`` points to either side; pairs are in alphabetical order."""

    def gap(value: float) -> Interval:
        return Interval(value=value, low=value - half, high=value + half, error=half / 2)

    return Statistics(
        resamples=1,
        seed=0,
        items=1,
        rows={name: RowStatistics(families={}, tasks={}, subsets={}, seeds=1) for name in scores},
        differences=tuple(
            Difference(first=one, second=two, families={"sts": gap(scores[one] - scores[two])}, tasks={})
            for one, two in combinations(sorted(scores), 2)
        ),
    )


def test_ties_need_not_be_transitive() -> None:
    # b - c and c - a are below one point, b - a is above; d is far behind.
    scores = {"a": 50.0, "b": 51.2, "c": 50.6, "d": 40.0}
    found = standings(["b", "c", "a", "d"], "sts", statistics_of(scores, 1.0))
    assert found == {"b": Standing(1, "a"), "c": Standing(1, "ab"), "a": Standing(2, "b"), "d": Standing(4, "c")}


def test_an_interval_that_ends_at_zero_includes_it() -> None:
    found = standings(["b", "a"], "sts", statistics_of({"a": 1.0, "b": 2.0}, 1.0))
    assert found == {"b": Standing(1, "a"), "a": Standing(1, "a")}


def test_a_single_row_and_no_row() -> None:
    assert standings(["a"], "sts", statistics_of({}, 1.0)) == {"a": Standing(1, "a")}
    assert standings([], "sts", statistics_of({}, 1.0)) == {}


def test_a_row_without_statistics_is_an_error() -> None:
    with pytest.raises(XlbenchError, match="no row 'z'"):
        standings(["a", "z"], "sts", statistics_of({"a": 1.0, "b": 2.0}, 1.0))


def test_exactly_the_names_that_are_not_apart_share_letters() -> None:
    pairs = list(combinations("pqrs", 2))
    cases = [("pqrs", [pair for bit, pair in enumerate(pairs) if number >> bit & 1]) for number in range(64)]
    generator = random.Random(0)
    many = "abcdefghijkl"
    cases += [
        (many, [pair for pair in combinations(many, 2) if generator.random() < share])
        for share in (0.1, 0.3, 0.5, 0.7, 0.9)
        for _ in range(20)
    ]
    for names, apart in cases:
        letters = compact_letters(names, apart)
        assert "a" in letters[names[0]]
        for one, two in combinations(names, 2):
            assert bool(set(letters[one]) & set(letters[two])) == ((one, two) not in apart)


def test_numbers_follow_the_letters_of_the_alphabet() -> None:
    names = [f"row {number}" for number in range(60)]
    letters = compact_letters(names, combinations(names, 2))
    assert len(set(letters.values())) == 60
    assert (letters["row 25"], letters["row 26"], letters["row 59"]) == ("z", "A", "(60)")


def test_the_frontier_has_the_names_that_no_other_dominates() -> None:
    points = {
        "large": (80.0, 100),
        "small": (70.0, 10),
        "worse": (75.0, 100),  # large is better and no larger
        "dominated": (69.9, 11),  # small is better in both
        "twin": (70.0, 10),  # equal to small: neither dominates the other
        "between": (72.0, 50),
    }
    assert frontier(points, (True, False)) == {"large", "small", "twin", "between"}
    assert frontier({name: (quality,) for name, (quality, _) in points.items()}, (True,)) == {"large"}
    assert frontier({}, (True,)) == frozenset()
    with pytest.raises(ValueError, match="zip"):
        frontier({"a": (1.0,)}, (True, False))
