"""Tokens of a language's frequent words: what a trimmed vocabulary keeps however few sentences were counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.errors import encoding_errors
from xlbench.students.trimming import script_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from transformers import PreTrainedTokenizerFast

    from xlbench.students.trimming import Vocabulary

WORDS = 10_000  # the most frequent ones of a language
SAME = 9  # distance of two codes, after CLDR
PIECES = 20_000  # the most probable ones of a script, for languages whose words are not known


def frequent_words(language: str) -> list[str]:
    """Return the most frequent words of a language, the first first; none where wordfreq does not know it."""
    import langcodes
    import wordfreq

    # Codes of one language, or of its standard and its spoken form, are at most so far apart: 'no' and 'nb', 'arb' and
    # 'ar'. Languages that readers of another one understand are farther.
    known = langcodes.closest_supported_match(language, list(wordfreq.available_languages()), max_distance=SAME)
    return wordfreq.top_n_list(known, WORDS) if known else []


def word_tokens(tokenizer: PreTrainedTokenizerFast, words: Iterable[str]) -> set[int]:
    """Return the ids of the tokens of words, alone and with a capital first letter."""
    texts = list(dict.fromkeys(form for word in words for form in (word, word.capitalize())))
    with encoding_errors():
        rows: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return {token for row in rows for token in row}


def probable_pieces(vocabulary: Vocabulary, scripts: Collection[str]) -> set[int]:
    """Return the ids of the most probable pieces that are written in some scripts, e.g. LATIN.

    A Unigram vocabulary knows how probable its pieces are; of others the first ones are taken, which training found
    most often.
    """
    pieces = list(vocabulary.pieces.items())
    if vocabulary.kind == "Unigram":
        pieces.sort(key=lambda it: -vocabulary.model["vocab"][it[1]][1])
    found = [number for piece, number in pieces if script_of(piece) in scripts]
    return set(found[:PIECES])
