"""Ranks with ties, and the frontier of what is not beaten in everything."""

from __future__ import annotations

from string import ascii_letters
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from xlbench.comparison.statistics import Statistics
    from xlbench.experiment import Family


class Standing(NamedTuple):
    """Where a row stands in one family.

    Attributes:
        rank: 1 more than the number of rows that are better with a paired 95 % interval above zero.
        letters: Two rows share a letter if and only if the paired interval of their difference includes zero.
    """

    rank: int
    letters: str


def standings(names_best_first: Sequence[str], family: Family, statistics: Statistics) -> dict[str, Standing]:
    """Rank rows by a family's mean, those that cannot be told apart sharing letters.

    Args:
        names_best_first: The rows to rank, by their mean, best first; letters begin with the best.
        family: Whose mean.
        statistics: Holds the paired differences of these rows, and maybe of more.

    Raises:
        XlbenchError: The statistics lack one of the rows.
    """
    names = list(names_best_first)
    better = dict.fromkeys(names, 0)
    apart: list[tuple[str, str]] = []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            difference = statistics.difference(first, second).families[family]
            if not difference.holds_zero():
                apart.append((first, second))
                better[second if difference.low > 0 else first] += 1
    letters = compact_letters(names, apart)
    return {name: Standing(1 + better[name], letters[name]) for name in names}


def compact_letters(names: Sequence[str], apart: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return letters for names so that two share one if and only if they are not ``apart``.

    Insert and absorb (Piepho 2004, An algorithm for a letter-based representation of all-pairwise comparisons):
    all names begin in one group; each pair that is apart splits the groups that hold both; a group inside
    another goes. Each group that is left is a letter.

    Args:
        names: In the order that the letters follow: 'a' goes to the group of the first.
        apart: The pairs that must share no letter.
    """
    groups: list[frozenset[str]] = [frozenset(names)]
    for first, second in apart:
        split: list[frozenset[str]] = []
        for group in groups:
            split += [group - {first}, group - {second}] if {first, second} <= group else [group]
        kept = dict.fromkeys(split)
        groups = [group for group in kept if not any(group < other for other in kept)]
    groups.sort(key=lambda group: [place for place, name in enumerate(names) if name in group])
    return {name: "".join(_letter(number) for number, group in enumerate(groups) if name in group) for name in names}


def _letter(number: int) -> str:
    return ascii_letters[number] if number < len(ascii_letters) else f"({number + 1})"


def frontier(points: Mapping[str, Sequence[float]], larger_is_better: Sequence[bool]) -> frozenset[str]:
    """Return the names that no other name beats: as good in everything and better in something.

    Args:
        points: The values of each name, e.g. its quality and its parameters.
        larger_is_better: For each of the values; False where less is better.
    """
    goods = {
        name: [value if larger else -value for value, larger in zip(values, larger_is_better, strict=True)]
        for name, values in points.items()
    }
    return frozenset(name for name, good in goods.items() if not any(_beats(other, good) for other in goods.values()))


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)
