"""Which pairs train, which are held out and which go: decided by hashes of their texts alone.

So neither the order in which corpora are named nor the machine matters.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.corpora.gather import Rows

Keys: TypeAlias = npt.NDArray[np.uint64]
Ints: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

DEV_SHARE = 10  # at most one pair in ten is held out


class Fate(IntEnum):
    """What becomes of a pair."""

    TRAIN = 0
    DEV = 1
    OVERLAP = 2  # a side is also an evaluation sentence
    DUPLICATE = 3  # the same pair came before
    SURPLUS = 4  # beyond a cap
    WITHHELD = 5  # shares a side with a dev pair


def water_fill(sizes: Ints, total: int) -> Ints:
    """Return how much to take of each of ``sizes`` so that the sum is ``total`` and the shares are level.

    Small ones are taken whole and large ones share the rest equally, the largest taking the remainder.
    With less than ``total`` in all, everything is taken.
    """
    taken = np.zeros_like(sizes)
    rest = min(total, int(sizes.sum()))
    for position, index in enumerate(np.argsort(sizes, kind="stable")):
        taken[index] = min(int(sizes[index]), rest // (len(sizes) - position))
        rest -= int(taken[index])
    return taken


def rank_within(groups: Ints, keys: Keys) -> Ints:
    """Return the rank of each row's key among the rows of its group, from 0."""
    order = np.lexsort((keys, groups))
    ordered = groups[order]
    first = np.searchsorted(ordered, ordered)
    ranks = np.empty(len(groups), np.int64)
    ranks[order] = np.arange(len(groups)) - first
    return ranks


def choose(
    rows: Rows,
    *,
    caps: Sequence[int | None],
    languages: int,
    excluded: Keys,
    pairs_per_language: int | None,
    dev_pairs: int,
) -> npt.NDArray[np.uint8]:
    """Return the :class:`Fate` of each row, uint8 [rows].

    Args:
        rows: Gathered pairs.
        caps: Most pairs per language of each corpus; None for all.
        languages: How many languages there are.
        excluded: Keys of evaluation sentences.
        pairs_per_language: Most training pairs per language; None for all.
        dev_pairs: Pairs to hold out, over all languages; fewer where a tenth of the pairs is less.
    """
    fate = np.full(len(rows), Fate.TRAIN, np.uint8)
    fate[np.isin(rows["english"], excluded) | np.isin(rows["other"], excluded)] = Fate.OVERLAP
    left = _left(fate)
    _, first = np.unique(rows["pair"][left], return_index=True)
    fate[np.delete(left, first)] = Fate.DUPLICATE

    group = rows["corpus"].astype(np.int64) * languages + rows["language"]
    limits = np.array([len(rows) if cap is None else cap for cap in caps], np.int64).repeat(languages)
    _keep(fate, _left(fate), rows, group, limits)

    most = len(rows) if pairs_per_language is None else pairs_per_language
    pool = fate.copy()
    left = _left(pool)
    _keep(pool, left, rows, group, _shares(group[left], len(caps), languages, most))
    dev = _dev(rows, _left(pool), languages, dev_pairs)
    fate[dev] = Fate.DEV
    held = np.unique(np.concatenate([rows["english"][dev], rows["other"][dev]]))
    left = _left(fate)
    touched = np.isin(rows["english"][left], held) | np.isin(rows["other"][left], held)
    fate[left[touched]] = Fate.WITHHELD

    left = _left(fate)
    _keep(fate, left, rows, group, _shares(group[left], len(caps), languages, most))
    return fate


def _left(fate: npt.NDArray[np.uint8]) -> Ints:
    return np.flatnonzero(fate == Fate.TRAIN)


def _keep(fate: npt.NDArray[np.uint8], left: Ints, rows: Rows, group: Ints, limits: Ints) -> None:
    """Of the rows ``left``, mark as surplus all but the first of each group, in order of their pair keys."""
    beyond = rank_within(group[left], rows["pair"][left]) >= limits[group[left]]
    fate[left[beyond]] = Fate.SURPLUS


def _shares(group: Ints, corpora: int, languages: int, most: int) -> Ints:
    """Return how many pairs each group gives, so that no corpus rules a language."""
    sizes = np.bincount(group, minlength=corpora * languages).reshape(corpora, languages)
    return np.stack([water_fill(sizes[:, code], most) for code in range(languages)], axis=1).ravel()


def _dev(rows: Rows, pool: Ints, languages: int, dev_pairs: int) -> Ints:
    """Return the rows to hold out: in each language those with the lowest English keys.

    The same English sentences are so chosen in every language that has them, and no text occurs twice in
    the dev pairs of a language.
    """
    size = np.bincount(rows["language"][pool], minlength=languages)
    for side, tie in (("english", "pair"), ("other", "english")):
        order = np.lexsort((rows[tie][pool], rows[side][pool], rows["language"][pool]))
        ordered = rows[["language", side]][pool[order]]
        fresh = np.ones(len(order), np.bool_)
        fresh[1:] = (np.diff(ordered["language"]) != 0) | (np.diff(ordered[side]) != 0)
        pool = pool[order[fresh]]
    language = rows["language"][pool].astype(np.int64)
    distinct = np.bincount(language, minlength=languages)
    quota = water_fill(np.minimum(distinct, size // DEV_SHARE), dev_pairs)
    return pool[rank_within(language, rows["english"][pool]) < quota[language]]
