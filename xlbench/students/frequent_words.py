"""Tokens of a language's frequent words: what a trimmed vocabulary keeps however few sentences were counted."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from transformers import PreTrainedTokenizerFast

    from xlbench.students.trimming import Vocabulary

WORDS = 10_000  # the most frequent ones of a language
PIECES = 20_000  # the most probable ones of a script, for languages whose words are not known


def frequent_words(language: str) -> list[str]:
    """Return the most frequent words of a language, the first first; none where wordfreq does not know it."""
    import wordfreq

    if language.partition("-")[0] not in wordfreq.available_languages():
        return []
    return wordfreq.top_n_list(language.partition("-")[0], WORDS)


def word_tokens(tokenizer: PreTrainedTokenizerFast, words: Iterable[str]) -> set[int]:
    """Return the ids of the tokens of words, alone and with a capital first letter."""
    texts = list(dict.fromkeys(form for word in words for form in (word, word.capitalize())))
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


def script_of(text: str) -> str | None:
    """Return the script of a text's first letter, the first word of its Unicode name (LATIN); None without a letter."""
    letter = next((character for character in text if unicodedata.category(character)[0] in "LM"), None)
    return None if letter is None else unicodedata.name(letter, "").partition(" ")[0]
