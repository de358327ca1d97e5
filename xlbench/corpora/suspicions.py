"""What looks wrong with the pairs of a corpus: a header, swapped sides, another language than its name says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.corpora.languages import ENGLISH, differ, identify, is_name
from xlbench.corpora.overlap import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.corpora.corpus import Pair

SAMPLE = 200  # pairs whose language is looked at
FEWEST = 20
# What tables call their columns, folded.
HEADINGS = frozenset({
    "english", "nonenglish", "non", "source", "target", "src", "tgt", "trg", "translation", "translated", "original",
    "reference", "text", "sentence", "segment", "first", "second", "left", "right", "lang", "language", "other",
    "foreign",
})  # fmt: skip


def is_header(pair: Pair, language: str) -> bool:
    """Return whether a pair holds names of columns: 'english' and 'german', 'sentence1' and 'sentence2'."""

    def names_a_column(text: str, code: str) -> bool:
        word = text.strip().casefold()
        parts = [part for part in word.replace("-", "_").replace(" ", "_").split("_") if part]
        return bool(parts) and all(
            fold(part).rstrip("0123456789") in HEADINGS or is_name(part, code) or is_name(part, ENGLISH)
            for part in parts
        )

    # A column may be called after its language in that language, which is one word.
    return names_a_column(pair.english, ENGLISH) and (
        names_a_column(pair.other, language) or pair.other.strip().isalpha()
    )


def suspicions(sample: Sequence[Pair], reference: str, language: str) -> list[str]:
    """Return what looks wrong with the first pairs of one language of a corpus, as warnings.

    Args:
        sample: The first pairs, up to :data:`SAMPLE`.
        reference: The corpus.
        language: Of the sides that are not English.
    """
    place = f"warning: corpus '{reference}', {language}:"
    found: list[str] = []
    if sample and is_header(sample[0], language):
        heads = "', '".join(sample[0])
        found.append(f"{place} the first row looks like a header and is read as a pair ('{heads}').")
    if len(sample) < FEWEST:
        return found
    english, other = (identify([pair[side] for pair in sample]) for side in (0, 1))
    if english is not None and english != ENGLISH and other == ENGLISH:
        found.append(f"{place} the sides look swapped: the first column reads as '{english}', the second as English.")
    elif english is not None and english != ENGLISH:
        found.append(f"{place} the first column reads as '{english}' and not as English.")
    elif other is not None and differ(other, language):
        found.append(f"{place} the second column reads as '{other}' and not as '{language}'.")
    return found
