"""SentencePiece's precompiled normalisation map, rebuilt from the part of it in the assistant's container.

``tokenizers`` reads the map as a double-array trie: u32 size of the trie in bytes, its u32 units, then the
replacements, each ended by a zero byte. The container has the map of single characters only. The published map also
composes sequences (e + combining acute = é). These are Unicode's canonical compositions, with each part also replaced
by the characters that decompose to it, as in SentencePiece's builder (builder.cc, BuildNFKCMap).
"""

from __future__ import annotations

import struct
import sys
import unicodedata
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# `tokenizers` looks up a whole grapheme only if it is shorter than six bytes; longer sequences would never match.
LONGEST = 5

LEAF = 1 << 8
VALUE = 1 << 31
BLOCK = 256  # units: one for every byte at a base


def precompiled_charsmap(replacements: Mapping[str, str]) -> bytes:
    """Return the map in the layout that ``tokenizers.normalizers.Precompiled`` takes.

    Args:
        replacements: What each single character becomes; compositions are added here.
    """
    table = {**compositions(replacements), **replacements}
    texts = bytearray()
    offsets: dict[str, int] = {}
    for text in table.values():
        if text not in offsets:
            offsets[text] = len(texts)
            texts += text.encode() + b"\0"
    trie = _Trie({key.encode(): offsets[value] for key, value in table.items()})
    units = struct.pack(f"<{len(trie.units)}I", *trie.units)
    return struct.pack("<I", len(units)) + units + bytes(texts)


def compositions(replacements: Mapping[str, str]) -> dict[str, str]:
    """Return the sequences of up to five bytes that compose to one character, and that character.

    Args:
        replacements: The map of single characters; those it lacks were added to Unicode after the map was built.
    """
    variants: dict[str, list[str]] = {}
    decomposed: set[str] = set()
    for character in _characters():
        parts = unicodedata.normalize("NFKD", character)
        if len(parts) > 1:
            decomposed.add(parts)
        elif character in replacements:
            variants.setdefault(parts, []).append(character)
    table: dict[str, str] = {}
    for parts in decomposed:
        composed = unicodedata.normalize("NFC", parts)
        if len(composed) > 1 or len(parts.encode()) > LONGEST:
            continue
        for choice in product(*([part, *variants.get(part, [])] for part in parts)):
            sequence = "".join(choice)
            if len(sequence.encode()) <= LONGEST and sequence != composed:
                table[sequence] = composed
    return table


def _characters() -> Iterator[str]:
    for code in range(1, sys.maxunicode + 1):
        if not 0xD800 <= code <= 0xDFFF:  # surrogates are not characters
            yield chr(code)


class _Trie:
    """A double-array trie as darts-clone lays it out.

    A unit holds the byte that leads to it, a flag that says whether a key ends there, and the exclusive or of its own
    position and its base. A child is at the parent's base xor the child's byte. The unit at the base itself holds the
    value of a key that ends there.
    """

    def __init__(self, values: Mapping[bytes, int]) -> None:
        self.units = [0] * BLOCK
        self._taken = bytearray(b"\1" + bytes(BLOCK - 1))
        self._bases: set[int] = set()
        self._place(0, sorted(values.items()), 0)

    def _place(self, unit: int, items: list[tuple[bytes, int]], depth: int) -> None:
        """Lay out the children of ``unit``: sorted ``items`` that share their first ``depth`` bytes."""
        groups: dict[int, list[tuple[bytes, int]]] = {}
        for item in items:
            groups.setdefault(item[0][depth] if depth < len(item[0]) else 0, []).append(item)
        base = self._free_base(list(groups))
        self._bases.add(base)
        self.units[unit] |= (unit ^ base) << 10
        for byte in groups:
            self._taken[base ^ byte] = 1
        for byte, members in groups.items():
            if byte == 0:
                self.units[unit] |= LEAF
                self.units[base] = VALUE | members[0][1]
            else:
                self.units[base ^ byte] |= byte
                self._place(base ^ byte, members, depth + 1)

    def _free_base(self, steps: list[int]) -> int:
        """Return a base that no other unit has and whose units for ``steps`` are free; grow the array if needed."""
        start = len(self.units) - BLOCK  # earlier blocks are not searched for gaps, which would be slow
        while True:
            base = start ^ steps[0]
            if base not in self._bases and not any(self._is_taken(base ^ step) for step in steps):
                break
            start += 1
        # Grown by whole blocks, so that a base xor any byte is inside.
        missing = (base // BLOCK + 1) * BLOCK - len(self.units)
        self.units += [0] * missing
        self._taken += bytes(max(0, missing))
        return base

    def _is_taken(self, position: int) -> bool:
        return position < len(self._taken) and self._taken[position] == 1
