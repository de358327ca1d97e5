"""First pass over the corpora: the texts go to a scratch file, what decides about each pair into a table."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from xlbench.corpora.overlap import digest64, fold
from xlbench.errors import XlbenchError
from xlbench.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.progress import Advance


LONGEST = 2000  # characters of either side: what is longer is no sentence
_REPORT = 2000  # pairs between two moves of the progress bar

# english, other: keys of the folded texts; pair: key of both and the language; *_text: keys of the exact
# texts; start and the two sizes: where in the scratch file, in bytes, English first.
ROW = np.dtype(
    [
        ("corpus", "<u2"),
        ("language", "<u1"),
        ("english", "<u8"),
        ("other", "<u8"),
        ("pair", "<u8"),
        ("english_text", "<u8"),
        ("other_text", "<u8"),
        ("start", "<i8"),
        ("english_size", "<u4"),
        ("other_size", "<u4"),
    ]
)
_PACK = struct.Struct("<HB8s8s8s8s8sqII").pack

Rows: TypeAlias = "npt.NDArray[np.void]"


@dataclass(frozen=True)
class Gathered:
    """Every usable pair of the corpora, before any choice.

    Attributes:
        rows: One of :data:`ROW` each, by corpus, language and place in the source.
        texts: The scratch file that ``start`` points into.
        read: Pairs read, by corpus.
    """

    rows: Rows
    texts: Path
    read: tuple[int, ...]


def gather(corpora: Sequence[OpenCorpus], languages: Sequence[str], scratch: Path, *, quiet: bool) -> Gathered:
    """Read all pairs of ``languages``, leaving out those with a side that is empty or too long.

    Args:
        corpora: In the order that decides which of two equal pairs stays.
        languages: Position here is the number in the table.
        scratch: Directory for two temporary files.
        quiet: Show no progress.

    Raises:
        XlbenchError: A row is malformed, or a corpus holds no pair of a language that it announces.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    texts, table = scratch / "texts", scratch / "rows"
    read = [0] * len(corpora)
    with (
        texts.open("wb") as text,
        table.open("wb") as rows,
        progress("reading pairs", None, quiet=quiet, unit="pairs") as bar,
    ):
        for number, corpus in enumerate(corpora):
            for code in sorted(set(corpus.languages()) & set(languages)):
                place = (number, languages.index(code))
                count = _gather_one(corpus, code, place, (text, rows), bar)
                if count == 0:
                    raise XlbenchError(
                        f"Corpus '{corpus.ref.reference}' holds no pair in language '{code}'.",
                        "Fill its file, or leave that corpus or language out.",
                    )
                read[number] += count
    return Gathered(np.fromfile(table, dtype=ROW), texts, tuple(read))


def _gather_one(
    corpus: OpenCorpus,
    code: str,
    place: tuple[int, int],
    files: tuple[IO[bytes], IO[bytes]],
    advance: Advance,
) -> int:
    text, rows = files
    count = 0
    tag = code.encode()
    start = text.tell()
    for count, pair in enumerate(corpus.corpus.pairs(code), start=1):
        if count % _REPORT == 0:
            advance(_REPORT, f"{corpus.ref.reference} {code}")
        sides = [side.strip() for side in pair]
        folded = [fold(side).encode() for side in sides]
        if not all(folded) or max(map(len, sides)) > LONGEST:
            continue
        english, other = (side.encode() for side in sides)
        english_key, other_key = map(digest64, folded)
        rows.write(
            _PACK(
                *place,
                english_key,
                other_key,
                digest64(english_key + other_key + tag),
                digest64(english),
                digest64(other),
                start,
                len(english),
                len(other),
            )
        )
        text.write(english)
        text.write(other)
        start += len(english) + len(other)
    advance(count % _REPORT)
    return count


Keys: TypeAlias = npt.NDArray[np.uint64]
Ints: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

DEV_SHARE = 10  # at most one pair in ten is held out


class PairStatus(IntEnum):
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
    """Return the :class:`PairStatus` of each row, uint8 [rows].

    Args:
        rows: Gathered pairs.
        caps: Most pairs per language of each corpus; None for all.
        languages: How many languages there are.
        excluded: Keys of evaluation sentences.
        pairs_per_language: Most training pairs per language; None for all.
        dev_pairs: Pairs to hold out, over all languages; fewer where a tenth of the pairs is less.
    """
    status = np.full(len(rows), PairStatus.TRAIN, np.uint8)
    status[np.isin(rows["english"], excluded) | np.isin(rows["other"], excluded)] = PairStatus.OVERLAP
    left = _left(status)
    _, first = np.unique(rows["pair"][left], return_index=True)
    status[np.delete(left, first)] = PairStatus.DUPLICATE

    group = rows["corpus"].astype(np.int64) * languages + rows["language"]
    limits = np.array([len(rows) if cap is None else cap for cap in caps], np.int64).repeat(languages)
    _keep(status, _left(status), rows, group, limits)

    most = len(rows) if pairs_per_language is None else pairs_per_language
    pool = status.copy()
    left = _left(pool)
    _keep(pool, left, rows, group, _shares(group[left], len(caps), languages, most))
    dev = _dev(rows, _left(pool), languages, dev_pairs)
    status[dev] = PairStatus.DEV
    held = np.unique(np.concatenate([rows["english"][dev], rows["other"][dev]]))
    left = _left(status)
    touched = np.isin(rows["english"][left], held) | np.isin(rows["other"][left], held)
    status[left[touched]] = PairStatus.WITHHELD

    left = _left(status)
    _keep(status, left, rows, group, _shares(group[left], len(caps), languages, most))
    return status


def _left(status: npt.NDArray[np.uint8]) -> Ints:
    return np.flatnonzero(status == PairStatus.TRAIN)


def _keep(status: npt.NDArray[np.uint8], left: Ints, rows: Rows, group: Ints, limits: Ints) -> None:
    """Of the rows ``left``, mark as surplus all but the first of each group, in order of their pair keys."""
    beyond = rank_within(group[left], rows["pair"][left]) >= limits[group[left]]
    status[left[beyond]] = PairStatus.SURPLUS


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
