"""First pass over the corpora: the texts go to a scratch file, what decides about each pair into a table."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from xlbench.corpora.folding import digest64, fold
from xlbench.errors import XlbenchError
from xlbench.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

    import numpy.typing as npt

    from xlbench.corpora.sources import OpenCorpus
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
        progress("Reading pairs", None, quiet=quiet) as bar,
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
