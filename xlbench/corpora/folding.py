"""When two texts count as the same: whatever their case, accents, punctuation and spacing."""

from __future__ import annotations

import unicodedata
from hashlib import blake2b

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
