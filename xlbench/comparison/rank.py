"""Ranks of rows, with letters for ties, and the Pareto frontier."""

from __future__ import annotations

from string import ascii_letters
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from xlbench.comparison.statistics import Statistics
    from xlbench.experiment import Family


class Standing(NamedTuple):
    """The rank of a row in one family.

    Attributes:
        rank: 1 plus the number of rows that are significantly better: the paired 95 % interval is above zero.
        letters: Two rows share a letter if and only if the paired 95 % interval of their difference includes zero.
    """

    rank: int
    letters: str


def standings(names_best_first: Sequence[str], family: Family, statistics: Statistics) -> dict[str, Standing]:
    """Rank rows by the mean of a family.

    Args:
        names_best_first: The rows to rank, the best mean first; the letter 'a' goes to the first row.
        family: Which family.
        statistics: Have the paired differences of these rows, and possibly of others.

    Raises:
        XlbenchError: The statistics lack one of the rows.
        KeyError: Two of the rows are not means over the same subsets, so that they have no difference.
    """
    names = list(names_best_first)
    better = dict.fromkeys(names, 0)
    apart: list[tuple[str, str]] = []
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            difference = statistics.difference(first, second).families[family]
            if not difference.holds_zero():
                apart.append((first, second))
                better[second if difference.low > 0 else first] += 1
    letters = compact_letters(names, apart)
    return {name: Standing(1 + better[name], letters[name]) for name in names}


def compact_letters(names: Sequence[str], apart: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Assign letters to names so that two names share a letter if and only if they are not in ``apart``.

    This is the insert-and-absorb algorithm (Piepho 2004, An algorithm for a letter-based representation of
    all-pairwise comparisons). All names start in one group. Each pair in ``apart`` splits the groups that contain both
    names, and groups that are subsets of others are removed. Each remaining group becomes a letter.

    Args:
        names: In the order of the letters: 'a' goes to a group of the first name.
        apart: The pairs that must not share a letter.

    Returns:
        The letters of each name.
    """
    groups: list[frozenset[str]] = [frozenset(names)]
    for first, second in apart:
        split: list[frozenset[str]] = []
        for group in groups:
            split += [group - {first}, group - {second}] if {first, second} <= group else [group]
        distinct = dict.fromkeys(split)
        groups = [group for group in distinct if not any(group < other for other in distinct)]
    groups.sort(key=lambda group: [position for position, name in enumerate(names) if name in group])
    return {name: "".join(_letter(number) for number, group in enumerate(groups) if name in group) for name in names}


def _letter(number: int) -> str:
    return ascii_letters[number] if number < len(ascii_letters) else f"({number + 1})"


def frontier(points: Mapping[str, Sequence[float]], larger_is_better: Sequence[bool]) -> frozenset[str]:
    """Return the names on the Pareto frontier: no other name is as good in every value and better in one.

    Args:
        points: The values of each name, e.g. quality and parameters.
        larger_is_better: For each of the values; False if smaller values are better.
    """
    signed = {
        name: [value if larger else -value for value, larger in zip(values, larger_is_better, strict=True)]
        for name, values in points.items()
    }
    return frozenset(
        name for name, own in signed.items() if not any(_dominates(other, own) for other in signed.values())
    )


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)
