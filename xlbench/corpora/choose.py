"""First pass over the corpora: read every usable pair into a table, then decide what becomes of each.

The texts go to a scratch file and only hashes and positions into the table, so that corpora larger than the memory can
be prepared.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from xlbench.corpora.corpus import Pair
from xlbench.corpora.overlap import digest64, fold
from xlbench.corpora.suspicions import SAMPLE, suspicions
from xlbench.errors import PartError, XlbenchError
from xlbench.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.progress import Advance

Rows: TypeAlias = "npt.NDArray[np.void]"
Keys: TypeAlias = npt.NDArray[np.uint64]
Ints: TypeAlias = npt.NDArray[np.int64]
Statuses: TypeAlias = npt.NDArray[np.uint8]

LONGEST = 2000  # characters of either side; a longer text is not a sentence
DEV_SHARE = 10  # at most one pair in ten is held out
MOST = 100_000_000  # pairs of a language in a corpus, or USED times the budget's if that is more: others never end
USED = 1000
FILLED = 0.9  # of the space that is free at the beginning: a corpus that takes more ends at a full disk
ROUNDS = 1000  # a corpus that has given every one of its first pairs so often never ends
_REPORT = 2000  # pairs between two updates of the progress bar

# english, other: keys of the folded texts. pair: key of both of these and the language. english_text, other_text: keys
# of the exact texts. start and the two sizes: position in the scratch file, in bytes; the English text comes first.
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


class PairStatus(IntEnum):
    """What becomes of a pair."""

    TRAIN = 0
    DEV = 1
    OVERLAP = 2  # a side is also an evaluation sentence
    DUPLICATE = 3  # an equal pair came earlier
    SURPLUS = 4  # beyond a cap
    WITHHELD = 5  # shares a side with a dev pair


@dataclass(frozen=True)
class GatheredPairs:
    """Every usable pair of the corpora, before any choice.

    Attributes:
        rows: One :data:`ROW` for each pair, ordered by corpus, language and position in the corpus.
        texts: The scratch file that ``start`` points into.
        read: Number of pairs read from each corpus, usable or not.
        warnings: What looks wrong with them.
    """

    rows: Rows
    texts: Path
    read: tuple[int, ...]
    warnings: tuple[str, ...] = ()


def gather_pairs(
    corpora: Sequence[OpenCorpus],
    languages: Sequence[str],
    scratch: Path,
    *,
    pairs_per_language: int | None = None,
    quiet: bool,
) -> GatheredPairs:
    """Read all pairs of ``languages``, leaving out those with a side that is empty or too long.

    Args:
        corpora: In order of precedence: of two equal pairs the one in the earlier corpus stays.
        languages: A language's position here is its number in the table.
        scratch: Directory for two temporary files.
        pairs_per_language: What the budget uses of a language; None: all that there is.
        quiet: Show no progress.

    Raises:
        XlbenchError: A row is malformed, a corpus holds no pair of a language that it announces, or it does not seem to
            end: all pairs must be read, since those with the lowest hash are kept.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    most = None if pairs_per_language is None else max(MOST, USED * pairs_per_language)
    space = int(FILLED * shutil.disk_usage(scratch).free)
    texts, table = scratch / "texts", scratch / "rows"
    read = [0] * len(corpora)
    warnings: list[str] = []
    with (
        texts.open("wb") as text_file,
        table.open("wb") as row_file,
        progress("reading pairs", None, quiet=quiet, unit="pairs") as advance,
    ):
        for number, corpus in enumerate(corpora):
            for code in sorted(set(corpus.languages()) & set(languages)):
                numbers = (number, languages.index(code))
                count, sample = _gather_language(
                    corpus, code, numbers, (text_file, row_file), advance, most=most, space=space
                )
                if count == 0:
                    raise XlbenchError(
                        f"Corpus '{corpus.ref.reference}' holds no pair in language '{code}'.",
                        "Fill its file, or leave that corpus or language out.",
                    )
                read[number] += count
                warnings += suspicions(sample, corpus.ref.reference, code)
    return GatheredPairs(np.fromfile(table, dtype=ROW), texts, tuple(read), tuple(warnings))


def choose_pairs(
    rows: Rows,
    *,
    caps: Sequence[int | None],
    languages: int,
    excluded: Keys,
    pairs_per_language: int | None,
    dev_pairs: int,
) -> Statuses:
    """Return the :class:`PairStatus` of each row, uint8 [rows].

    Args:
        rows: Gathered pairs.
        caps: For each corpus the most pairs of one language to use; None for all.
        languages: Number of languages.
        excluded: Keys of evaluation sentences.
        pairs_per_language: Most training pairs per language; None for all.
        dev_pairs: Pairs to hold out, over all languages; fewer where a tenth of the pairs is less.
    """
    status = np.full(len(rows), PairStatus.TRAIN, np.uint8)
    status[np.isin(rows["english"], excluded) | np.isin(rows["other"], excluded)] = PairStatus.OVERLAP
    training = _training_rows(status)
    _, first = np.unique(rows["pair"][training], return_index=True)
    status[np.delete(training, first)] = PairStatus.DUPLICATE

    group = rows["corpus"].astype(np.int64) * languages + rows["language"]
    limits = np.array([len(rows) if cap is None else cap for cap in caps], np.int64).repeat(languages)
    _mark_surplus(status, rows, group, limits)

    # Dev pairs are drawn from what training would use without them. The cap per language is applied again afterwards,
    # since pairs that it left out can take the place of dev pairs.
    most = len(rows) if pairs_per_language is None else pairs_per_language
    pool = status.copy()
    _mark_surplus(pool, rows, group, _group_limits(group[_training_rows(pool)], len(caps), languages, most))
    dev = _dev_rows(rows, _training_rows(pool), languages, dev_pairs)
    status[dev] = PairStatus.DEV
    dev_keys = np.unique(np.concatenate([rows["english"][dev], rows["other"][dev]]))
    training = _training_rows(status)
    shared = np.isin(rows["english"][training], dev_keys) | np.isin(rows["other"][training], dev_keys)
    status[training[shared]] = PairStatus.WITHHELD

    _mark_surplus(status, rows, group, _group_limits(group[_training_rows(status)], len(caps), languages, most))
    return status


def water_fill(sizes: Ints, total: int) -> Ints:
    """Return how much to take of each of ``sizes``, so that the sum is ``total`` and the shares are as equal as can be.

    Small ones are taken whole and large ones share the rest equally, the largest taking the remainder.
    If all sizes together are less than ``total``, everything is taken.

    Args:
        sizes: int64 [n], what there is of each.
        total: How much to take in all.
    """
    taken = np.zeros_like(sizes)
    rest = min(total, int(sizes.sum()))
    for position, index in enumerate(np.argsort(sizes, kind="stable")):
        taken[index] = min(int(sizes[index]), rest // (len(sizes) - position))
        rest -= int(taken[index])
    return taken


def rank_within(groups: Ints, keys: Keys) -> Ints:
    """Return the rank of each row's key among the rows of its group, from 0: int64 [rows]."""
    order = np.lexsort((keys, groups))
    ordered = groups[order]
    first = np.searchsorted(ordered, ordered)
    ranks = np.empty(len(groups), np.int64)
    ranks[order] = np.arange(len(groups)) - first
    return ranks


def _gather_language(
    corpus: OpenCorpus,
    code: str,
    numbers: tuple[int, int],
    files: tuple[IO[bytes], IO[bytes]],
    advance: Advance,
    *,
    most: int | None,
    space: int,
) -> tuple[int, list[Pair]]:
    """Write the pairs of one language of a corpus to the two files; return how many there are, and the first."""
    text_file, row_file = files
    count = 0
    sample: list[Pair] = []
    rounds: dict[tuple[str, ...], int] = {}  # how often each of the first pairs was given
    tag = code.encode()
    start = text_file.tell()
    pairs = corpus.corpus.pairs(code)
    if not isinstance(pairs, Iterable):  # a plugin's: its types are promises
        raise _fault(corpus, f"has pairs in '{code}' that are {type(pairs).__name__}")
    for count, pair in enumerate(pairs, start=1):
        if count % _REPORT == 0:
            advance(_REPORT, f"{corpus.ref.reference} {code}")
            if min(rounds.values(), default=0) >= ROUNDS:
                fault = f"has given each of its first pairs in '{code}' {ROUNDS:,} times ({count:,} pairs so far)"
                raise _fault(corpus, fault, "A corpus must end: let it give each pair once.")
            if most is not None and count > most:
                fault = f"has given {count:,} pairs in '{code}' so far, of which the budget can use one in {USED:,}"
                raise _fault(corpus, fault, "A corpus must end: give a part of it, or raise --pairs-per-language.")
            if (size := start + row_file.tell()) > space:
                fault = f"fills the disk: {size / 1e9:,.1f} GB with {count:,} pairs in '{code}' so far"
                raise _fault(corpus, fault, "A corpus must end: give a part of it, or another XLBENCH_HOME.")
        if type(pair) is not Pair:  # a plugin's, which may give plain tuples
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise _fault(corpus, f"gives {pair!r:.80}, which is no pair")
            pair = Pair(*pair)  # noqa: PLW2901 - the same pair
        try:
            sides = tuple(side.strip() for side in pair)
            folded = [fold(side).encode() for side in sides]
            english, other = (side.encode() for side in sides)
        except (TypeError, ValueError, AttributeError):
            raise _fault(corpus, f"gives {tuple(pair)!r:.80}, which is no pair") from None
        if count <= SAMPLE:
            sample.append(pair)
        if not all(folded) or max(map(len, sides)) > LONGEST:
            continue
        if count <= SAMPLE or sides in rounds:
            rounds[sides] = rounds.get(sides, 0) + 1
        english_key, other_key = map(digest64, folded)
        row_file.write(
            _PACK(
                *numbers,
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
        text_file.write(english)
        text_file.write(other)
        start += len(english) + len(other)
    advance(count % _REPORT)
    return count, sample


def _fault(corpus: OpenCorpus, fault: str, remedy: str = "Its pairs must be Pair(english, other).") -> PartError:
    return PartError(f"Corpus '{corpus.ref.reference}' {fault}.", remedy, type(corpus.corpus).pairs)


def _training_rows(status: Statuses) -> Ints:
    return np.flatnonzero(status == PairStatus.TRAIN)


def _mark_surplus(status: Statuses, rows: Rows, group: Ints, limits: Ints) -> None:
    """Of each group keep as many training rows as its limit says, those with the lowest pair keys."""
    training = _training_rows(status)
    beyond = rank_within(group[training], rows["pair"][training]) >= limits[group[training]]
    status[training[beyond]] = PairStatus.SURPLUS


def _group_limits(group: Ints, corpora: int, languages: int, most: int) -> Ints:
    """Return how many pairs each group (a language of a corpus) gives, so that no corpus dominates a language."""
    sizes = np.bincount(group, minlength=corpora * languages).reshape(corpora, languages)
    return np.stack([water_fill(sizes[:, code], most) for code in range(languages)], axis=1).ravel()


def _dev_rows(rows: Rows, pool: Ints, languages: int, dev_pairs: int) -> Ints:
    """Return the rows to hold out: in each language those with the lowest English keys.

    This chooses the same English sentences in every language that has them. No text occurs twice in the dev pairs of a
    language.
    """
    size = np.bincount(rows["language"][pool], minlength=languages)
    for side, tie in (("english", "pair"), ("other", "english")):
        order = np.lexsort((rows[tie][pool], rows[side][pool], rows["language"][pool]))
        ordered = rows[["language", side]][pool[order]]
        new = np.ones(len(order), np.bool_)
        new[1:] = (np.diff(ordered["language"]) != 0) | (np.diff(ordered[side]) != 0)
        pool = pool[order[new]]
    language = rows["language"][pool].astype(np.int64)
    distinct = np.bincount(language, minlength=languages)
    quota = water_fill(np.minimum(distinct, size // DEV_SHARE), dev_pairs)
    return pool[rank_within(language, rows["english"][pool]) < quota[language]]
