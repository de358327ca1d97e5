"""When two texts count as the same, and when as nearly the same.

They are the same if they differ in nothing but case, accents, punctuation and spacing. They are near-duplicates if they
have most of their words in common.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Words: TypeAlias = frozenset[str]

SHARED, OUT_OF = 4, 5  # near-duplicates share at least 4/5 of all words of the two (their Jaccard index)
STEP = 2000  # sentences between two reports of progress
_DOTLESS_I, _TATWEEL = 0x131, 0x640

# Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han. There a character counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def fold(text: str) -> str:
    """Return the letters and digits of ``text``, in any script, without case and accents.

    Spaces are removed too, so that tokenised and plain spellings ("don 't", "don't") agree. Folding twice changes
    nothing. A text without letters and digits gives the empty string.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).translate(_FOLDING)
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)


def digest64(data: bytes) -> bytes:
    """Return the 64-bit BLAKE2b hash of ``data``: 8 bytes, the same on every machine."""
    return blake2b(data, digest_size=8).digest()


def text_key(text: str) -> int:
    """Return a number from 0 to 2**64 - 1 that identifies the folded text: its BLAKE2b hash, little-endian."""
    return int.from_bytes(digest64(fold(text).encode()), "little")


def words(text: str) -> Words:
    """Return the folded words of a text; in scripts without spaces, its characters."""
    return frozenset(map(_fold_word, _WORD.findall(text))) - {""}


def near_duplicates(
    tested: Mapping[str, Iterable[str]], sentences: Iterable[str], advance: Callable[[int], None] = lambda _: None
) -> dict[str, float]:
    """Return, for each task, the share of its distinct sentences that have a near-duplicate in the training data.

    Two sentences with the word sets A and B are near-duplicates if their Jaccard index |A and B| / |A or B| is at least
    4 / 5. Then one of the |A| - ceil(4 |A| / 5) + 1 rarest words of A is also among the rarest of B, counted in the
    same way, so that only these words are looked up (prefix filtering: Chaudhuri et al., ICDE 2006; Bayardo et al.,
    WWW 2007).

    Args:
        tested: The sentences of each task.
        sentences: The sentences of the training data.
        advance: Called with the number of sentences that were compared since the last call.

    Returns:
        Shares from 0 to 1, by task.
    """
    sets_by_task = {task: [words(text) for text in set(texts)] for task, texts in tested.items()}
    tested_sets = list({tested_set for sets in sets_by_task.values() for tested_set in sets if tested_set})
    frequency = Counter(word for tested_set in tested_sets for word in tested_set)
    # Prefix filtering needs one order for all sets; rare words first makes short lists. Words in no tested sentence
    # come before all others.
    by_rarity = sorted(frequency, key=lambda word: (frequency[word], word))
    rank = {word: number for number, word in enumerate(by_rarity)}

    def rarest(word_set: Words) -> list[str]:
        shared = -(-SHARED * len(word_set) // OUT_OF)
        return sorted(word_set, key=lambda word: rank.get(word, -1))[: len(word_set) - shared + 1]

    sets_with: defaultdict[str, list[int]] = defaultdict(list)
    for number, tested_set in enumerate(tested_sets):
        for word in rarest(tested_set):
            sets_with[word].append(number)
    near: set[int] = set()
    for done, text in enumerate(sentences, 1):
        word_set = words(text)
        candidates = {number for word in rarest(word_set) if word in sets_with for number in sets_with[word]}
        for number in candidates - near:
            common = len(word_set & tested_sets[number])
            if OUT_OF * common >= SHARED * (len(word_set) + len(tested_sets[number]) - common):
                near.add(number)
        if done % STEP == 0:
            advance(STEP)
    near_sets = {tested_sets[number] for number in near}
    return {
        task: sum(tested_set in near_sets for tested_set in sets) / len(sets) if sets else 0.0
        for task, sets in sets_by_task.items()
    }


class _Folding(dict[int, "str | None"]):
    """A table for ``str.translate`` that adds each character when it is first looked up."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        kept = character if character.isalnum() or _is_letter_part(character) else None
        self[code] = kept
        return kept


def _is_letter_part(character: str) -> bool:
    """Return whether a combining mark is part of the spelling (Indic and Thai vowels, dakuten) and not an accent.

    Canonical combining classes 10 to 35 are Hebrew and Arabic points; 200 and above are accents around a letter.
    """
    if not unicodedata.category(character).startswith("M"):
        return False
    combining_class = unicodedata.combining(character)
    return combining_class < 200 and not 10 <= combining_class <= 35


# Turkish upper-case I folds to i, whichever of its two lower-case letters it stands for. The tatweel only stretches an
# Arabic word.
_FOLDING = _Folding({_DOTLESS_I: "i", _TATWEEL: None})
_fold_word = lru_cache(maxsize=1 << 18)(fold)
