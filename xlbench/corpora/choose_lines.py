"""Untranslated lines beside the pairs: read into the same table, and what becomes of each.

Dev pairs come from pairs alone. A line that says what a dev pair or a sentence of the evaluation says is left out, and
so is one that the training pairs have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlbench.corpora.choose import LONGEST, ROW, PairStatus, rank_within
from xlbench.corpora.corpus import Untranslated
from xlbench.corpora.facts import LineCount
from xlbench.corpora.overlap import digest64, fold
from xlbench.errors import XlbenchError
from xlbench.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from xlbench.corpora.choose import Keys, Rows, Statuses
    from xlbench.corpora.corpus import OpenCorpus

_BATCH = 16_384  # lines that become rows together


class ChosenLines(NamedTuple):
    """The lines that are kept, one :data:`~xlbench.corpora.choose.ROW` each, and an account of all."""

    rows: Rows
    counts: tuple[LineCount, ...]


def choose_lines(
    corpora: Sequence[OpenCorpus],
    texts: Path,
    pairs: Rows,
    status: Statuses,
    excluded: Keys,
    *,
    quiet: bool,
) -> ChosenLines:
    """Read the lines of all untranslated corpora, and keep those that may be trained on.

    Args:
        corpora: All corpora, in order of precedence; pairs of the others are left alone.
        texts: The scratch file that the rows of pairs point into; the kept lines are written to its end.
        pairs: All usable pairs.
        status: What becomes of each.
        excluded: Keys of evaluation sentences.
        quiet: Show no progress.

    Raises:
        XlbenchError: A file is damaged or holds no line.
    """
    held_out = _sides(pairs[status == PairStatus.DEV])
    taken = _sides(pairs[status == PairStatus.TRAIN])
    found: list[Rows] = []
    counts: list[LineCount] = []
    for number, corpus in enumerate(corpora):
        if not isinstance(corpus.corpus, Untranslated):
            continue
        rows, read = _gather(number, corpus.corpus, corpus.ref.reference, texts, quiet=quiet)
        lines = np.full(len(rows), PairStatus.TRAIN, np.uint8)
        lines[np.isin(rows["other"], taken)] = PairStatus.DUPLICATE
        lines[np.isin(rows["other"], held_out)] = PairStatus.WITHHELD
        lines[np.isin(rows["other"], excluded)] = PairStatus.OVERLAP
        training = np.flatnonzero(lines == PairStatus.TRAIN)
        _, first = np.unique(rows["other"][training], return_index=True)
        lines[np.delete(training, first)] = PairStatus.DUPLICATE
        if corpus.parsed.cap is not None:
            training = np.flatnonzero(lines == PairStatus.TRAIN)
            ranks = rank_within(np.zeros(len(training), np.int64), rows["other"][training])
            lines[training[ranks >= corpus.parsed.cap]] = PairStatus.SURPLUS
        kept = rows[lines == PairStatus.TRAIN]
        taken = np.union1d(taken, kept["other"])
        found.append(kept)
        counts.append(_count(corpus, read, lines))
    return ChosenLines(np.concatenate(found) if found else np.empty(0, ROW), tuple(counts))


def _sides(rows: Rows) -> Keys:
    keys: Keys = np.unique(np.concatenate([rows["english"], rows["other"]]))
    return keys


def _gather(number: int, corpus: Untranslated, reference: str, texts: Path, *, quiet: bool) -> tuple[Rows, int]:
    """Write the usable lines of a corpus to the scratch file; return a row for each, and how many lines were read."""
    parts: list[Rows] = [np.empty(0, ROW)]
    batch: list[tuple[int, ...]] = []
    count = 0
    with texts.open("ab") as stream, progress("reading lines", None, quiet=quiet, unit="lines") as advance:
        for count, line in enumerate(corpus.untranslated_lines(), start=1):
            folded, text = fold(line).encode(), line.encode()
            if folded and len(line) <= LONGEST:
                key = int.from_bytes(digest64(folded), "little")
                exact = int.from_bytes(digest64(text), "little")
                # No English side, and so none of its text: the fields of the other side alone are of use.
                batch.append((number, 0, 0, key, key, 0, exact, stream.tell(), 0, len(text)))
                stream.write(text)
            if count % _BATCH == 0:
                parts.append(np.array(batch, ROW))
                batch.clear()
                advance(_BATCH)
    if count == 0:
        raise XlbenchError(f"Corpus '{reference}' holds no line.", "Fill its file, or leave that corpus out.")
    return np.concatenate([*parts, np.array(batch, ROW)]), count


def _count(corpus: OpenCorpus, read: int, status: Statuses) -> LineCount:
    number = np.bincount(status, minlength=len(PairStatus))
    return LineCount(
        reference=corpus.ref.reference,
        language=corpus.text_language(),
        read=read,
        unusable=read - len(status),
        overlap=int(number[PairStatus.OVERLAP]),
        duplicates=int(number[PairStatus.DUPLICATE]),
        surplus=int(number[PairStatus.SURPLUS]),
        withheld=int(number[PairStatus.WITHHELD]),
        kept=int(number[PairStatus.TRAIN]),
    )
