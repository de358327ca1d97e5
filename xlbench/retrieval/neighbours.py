"""How neighbours are found: exactly up to a size; beyond it through an index, whose recall is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlbench.retrieval.exact import Neighbours, exact_both_ways, exact_neighbours
from xlbench.retrieval.index import indexed_neighbours, require_index, share_found, spaced

if TYPE_CHECKING:
    from xlbench.retrieval.vectors import Vectors

# Cosines that are computed before an index takes over: about a minute on two cores, or on an accelerator.
EXACT_ON_CPU, EXACT_ON_ACCELERATOR = 10**10, 10**13
SAMPLE = 1000  # sentences on which recall is measured
OFFSET = 7  # so that few of them are those on which the index was adjusted


@dataclass(frozen=True)
class Way:
    """How neighbours were found.

    Attributes:
        exact: All sentences were compared with all.
        recall: Share of the exact neighbours that the index finds, on sampled sentences; None without an index.
        sampled: How many sentences were sampled for it.
        k: How many neighbours of each were sought.
    """

    exact: bool
    recall: float | None = None
    sampled: int = 0
    k: int = 0

    def __str__(self) -> str:
        """Return it as the end of a sentence."""
        if self.exact:
            return "all compared with all"
        return (
            f"through an index that finds {100 * (self.recall or 0):.1f} % of the {self.k} nearest"
            f" (recall against the exact search, on {self.sampled:,} sentences)"
        )


def is_exact(first: int, second: int, wanted: bool | None, device: str) -> bool:
    """Return whether all sentences of one side are compared with all of the other.

    Args:
        first: Sentences of one side.
        second: Of the other.
        wanted: What the user says; None decides by size.
        device: The torch device.

    Raises:
        XlbenchError: An index is needed, and its library is not installed.
    """
    if wanted is None:
        wanted = first * second <= (EXACT_ON_CPU if device == "cpu" else EXACT_ON_ACCELERATOR)
    if not wanted:
        require_index(f"Comparing {first:,} sentences with {second:,}")
    return wanted


def neighbours(
    queries: Vectors, corpus: Vectors, k: int, *, exact: bool, device: str, quiet: bool, title: str = "searching"
) -> tuple[Neighbours, Way]:
    """Return the k nearest sentences of a corpus for each query, and how they were found.

    Args:
        queries: Vectors of the queries.
        corpus: Vectors of the corpus, of the same width.
        k: How many, at most as many as the corpus has.
        exact: Whether all are compared with all.
        device: The torch device that multiplies.
        quiet: Show no progress.
        title: Of the progress.
    """
    k = min(k, len(corpus))
    if exact:
        return exact_neighbours(queries, corpus, k, device=device, quiet=quiet, title=title), Way(exact=True)
    found = indexed_neighbours(queries, corpus, k, device=device, quiet=quiet, title=title)
    sample = spaced(max(1, len(queries) - OFFSET), SAMPLE) + min(OFFSET, len(queries) - 1)
    reference = exact_neighbours(queries.take(sample), corpus, k, device=device)
    recall = share_found(Neighbours(found.cosines[sample], found.ids[sample]), reference)
    return found, Way(exact=False, recall=recall, sampled=len(sample), k=k)


def both_ways(
    first: Vectors, second: Vectors, k: int, *, exact: bool, device: str, quiet: bool
) -> tuple[Neighbours, Neighbours, Way]:
    """Return the nearest neighbours of each side in the other, and how they were found.

    Args:
        first: Vectors of one side.
        second: Vectors of the other, of the same width.
        k: How many, at most as many as the other side has.
        exact: Whether all are compared with all.
        device: The torch device that multiplies.
        quiet: Show no progress.
    """
    if exact:
        most = (min(k, len(second)), min(k, len(first)))
        return *exact_both_ways(first, second, most, device=device, quiet=quiet), Way(exact=True)
    forward, there = neighbours(
        first, second, k, exact=False, device=device, quiet=quiet, title="searching the second side"
    )
    backward, back = neighbours(
        second, first, k, exact=False, device=device, quiet=quiet, title="searching the first side"
    )
    sampled = there.sampled + back.sampled
    recall = ((there.recall or 0) * there.sampled + (back.recall or 0) * back.sampled) / sampled
    return forward, backward, Way(exact=False, recall=recall, sampled=sampled, k=there.k)
