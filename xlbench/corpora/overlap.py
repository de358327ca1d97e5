"""When two texts count as the same: whatever their case, accents, punctuation and spacing."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


_DOTLESS_I, _TATWEEL = 0x131, 0x640


class _Folding(dict[int, "str | None"]):
    """A table for ``str.translate`` that learns each character the first time it meets it."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        kept = character if character.isalnum() or _is_letter_part(character) else None
        self[code] = kept
        return kept


def _is_letter_part(character: str) -> bool:
    """Return whether a combining mark spells a sound (Indic and Thai vowels, dakuten) and is no mere accent.

    Canonical combining classes 10-35 are Hebrew and Arabic points, 200 and above the accents around letters.
    """
    if not unicodedata.category(character).startswith("M"):
        return False
    place = unicodedata.combining(character)
    return place < 200 and not 10 <= place <= 35


# Turkish upper-case I folds to i, whichever of its two lower-case letters it stands for; the tatweel only
# stretches an Arabic word.
_FOLDING = _Folding({_DOTLESS_I: "i", _TATWEEL: None})


def fold(text: str) -> str:
    """Return the letters and digits of ``text``, of any script, without case, accents and all else.

    Spaces go too, so that tokenised and plain spellings ("don 't", "don't") agree. Folding twice changes
    nothing. A text without letters and digits gives the empty string.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).translate(_FOLDING)
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)


def digest64(data: bytes) -> bytes:
    """Return the 64-bit BLAKE2b of ``data``: 8 bytes, the same on every machine."""
    return blake2b(data, digest_size=8).digest()


def text_key(text: str) -> int:
    """Return 64 bits (0 to 2**64 - 1) that identify the folded text: BLAKE2b, read as little-endian."""
    return int.from_bytes(digest64(fold(text).encode()), "little")


PART, WHOLE = 4, 5  # near: the words in common are at least this part of all words of the two (Jaccard's index)
STEP = 2000  # sentences between two reports

# Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han. There a character is a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_folded = lru_cache(maxsize=1 << 18)(fold)


def words(text: str) -> frozenset[str]:
    """Return the words of a text, without case and accents; in scripts without spaces, its characters."""
    return frozenset(map(_folded, _WORD.findall(text))) - {""}


def near_duplicates(
    tested: Mapping[str, Iterable[str]], sentences: Iterable[str], advance: Callable[[int], None] = lambda _: None
) -> dict[str, float]:
    """Return, for each task, the share of its distinct sentences that have a near-duplicate among others.

    Two sentences are that if |A and B| / |A or B| >= 4 / 5 for their sets of words A and B. Then each of them has one
    of its |A| - ceil(4 |A| / 5) + 1 rarest words among the other's, which is all that is looked up (prefix filtering:
    Chaudhuri et al., ICDE 2006; Bayardo et al., WWW 2007).

    Args:
        tested: Sentences by task.
        sentences: Those of the training data.
        advance: Told how many sentences more are done.
    """
    by_task = {task: [words(text) for text in set(texts)] for task, texts in tested.items()}
    known = list({found for sets in by_task.values() for found in sets if found})
    count = Counter(word for found in known for word in found)
    # The rarest first, and before them what no test sentence has: any order will do that is the same for all.
    place = {word: number for number, word in enumerate(sorted(count, key=lambda word: (count[word], word)))}

    def rarest(found: frozenset[str]) -> list[str]:
        needed = -(-PART * len(found) // WHOLE)
        return sorted(found, key=lambda word: place.get(word, -1))[: len(found) - needed + 1]

    holders: defaultdict[str, list[int]] = defaultdict(list)
    for number, found in enumerate(known):
        for word in rarest(found):
            holders[word].append(number)
    near: set[int] = set()
    for done, text in enumerate(sentences, 1):
        own = words(text)
        for number in {number for word in rarest(own) if word in holders for number in holders[word]} - near:
            common = len(own & known[number])
            if WHOLE * common >= PART * (len(own) + len(known[number]) - common):
                near.add(number)
        if done % STEP == 0:
            advance(STEP)
    met = {known[number] for number in near}
    return {task: sum(found in met for found in sets) / len(sets) if sets else 0.0 for task, sets in by_task.items()}
