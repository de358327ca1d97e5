"""Sentence vectors: computed a block at a time, kept in memory or written to an .npy file, and read as unit vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xlbench.disk import disk_errors, reserve
from xlbench.errors import XlbenchError, first_line, shortened
from xlbench.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Precision
    from xlbench.retrieval.sentences import Texts

BLOCK = 16_384  # sentences that are encoded, and vectors that are written, at a time
TRIED = 8  # sentences that are encoded again, to see whether vectors are an encoder's
SAME = 0.98  # cosine; of one sentence in float32 and in 8 bits it is above 0.99


@dataclass(frozen=True)
class Vectors:
    """Vectors of sentences, of which blocks are read as float32 of unit length.

    Attributes:
        array: Float [vectors, dimension], e.g. memory-mapped.
        rows: Which of its rows, and in which order, int64 [n]; None for all.
    """

    array: NDArray[np.floating]
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.array if self.rows is None else self.rows)

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self.array.shape[1])

    def take(self, positions: NDArray[np.int64]) -> Vectors:
        """Return some of them, by position, int64 [m]."""
        return Vectors(self.array, positions if self.rows is None else self.rows[positions])

    def part(self, start: int, stop: int) -> Vectors:
        """Return those from ``start`` up to ``stop``."""
        if self.rows is None:
            return Vectors(self.array[start:stop])
        return Vectors(self.array, self.rows[start:stop])

    def block(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return unit vectors from ``start`` up to ``stop``, float32 [m, dimension]; a vector of zeros stays zero."""
        chosen = self.array[start:stop] if self.rows is None else self.array[self.rows[start:stop]]
        block = np.array(chosen, np.float32)
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        block /= np.where(lengths > 0, lengths, 1)
        return block

    def cosines(self, block: NDArray[np.float32], positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the cosines of unit vectors to some of these vectors each.

        Args:
            block: Unit vectors, float32 [m, dimension].
            positions: Which vectors each is compared with, int64 [m, k].

        Returns:
            Float32 [m, k].
        """
        rows = positions if self.rows is None else self.rows[positions]
        chosen = np.asarray(self.array[rows], np.float32)
        lengths = np.sqrt(np.einsum("mkd,mkd->mk", chosen, chosen))
        found: NDArray[np.float32] = np.einsum("md,mkd->mk", block, chosen) / np.where(lengths > 0, lengths, 1)
        return found

    def blocks(self, size: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield blocks of up to ``size`` unit vectors, each with the position of its first."""
        for start in range(0, len(self), size):
            yield start, self.block(start, start + size)


def encode_texts(
    model: SentenceTransformer, texts: Texts, precision: Precision, path: Path | None = None, *, quiet: bool
) -> NDArray[np.float32]:
    """Encode sentences with an encoder's own prompt, in batches of similar length.

    Args:
        model: The encoder; its vectors are kept as it gives them.
        texts: The sentences.
        precision: What it computes in.
        path: An .npy file to write, whose space is reserved first; None keeps the vectors in memory.
        quiet: Show no progress.

    Returns:
        Float32 [sentences, dimension]; read-only and memory-mapped if they were written.

    Raises:
        XlbenchError: A vector is not finite, or the disk is full.
    """
    from xlbench.encoders.encode import dimension, encode, encoding_mode

    shape = (len(texts), dimension(model))
    title = f"encoding {texts.name}"
    with encoding_mode(model, precision), progress(title, len(texts), quiet=quiet, unit="sentences") as advance:

        def encoded() -> Iterator[NDArray[np.float32]]:
            for start in range(0, len(texts), BLOCK):
                some = list(texts.sentences[start : start + BLOCK])
                vectors = np.asarray(encode(model, some, precision=precision, advance=advance), np.float32)
                finite = np.isfinite(vectors).all(axis=1)
                if not finite.all():
                    raise XlbenchError(
                        f"The encoder gives vectors that are not finite, first for {shortened(some[finite.argmin()])}.",
                        "Give --precision float32, or another encoder.",
                    )
                yield vectors

        if path is None:
            out = np.empty(shape, np.float32)
            for start, vectors in zip(range(0, len(texts), BLOCK), encoded(), strict=True):
                out[start : start + BLOCK] = vectors
            return out
        needed = 4 * shape[0] * shape[1]
        with disk_errors("the vectors", path.parent, needed=needed, resumes=False), path.open("wb") as stream:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            reserve(stream, stream.tell() + needed)
            for vectors in encoded():
                stream.write(vectors.astype("<f4", copy=False).data)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def load_vectors(path: Path, texts: Texts) -> Vectors:
    """Open vectors that :func:`encode_texts` wrote for all sentences of a file, memory-mapped.

    Args:
        path: An .npy file.
        texts: The sentences that are wanted of that file.

    Raises:
        XlbenchError: The file cannot be read, its shape or type is another, or a number in it is not finite.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise XlbenchError(
            f"The vectors '{path}' cannot be read: {reason}.", "Give an .npy file that `xlbench encode` wrote."
        ) from error
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind != "f":
        raise XlbenchError(
            f"'{path}' holds no vectors: a table of floating-point numbers is needed.",
            "Give an .npy file that `xlbench encode` wrote.",
        )
    if len(found) != texts.total:
        raise XlbenchError(
            f"'{path}' holds {len(found):,} vectors, and '{texts.name}' {texts.total:,} sentences.",
            "Encode the same file again.",
        )
    for start in range(0, len(found), BLOCK):
        finite = np.isfinite(found[start : start + BLOCK]).all(axis=1)
        if not finite.all():
            raise XlbenchError(
                f"'{path}' holds a vector that is not finite, that of line {start + int(finite.argmin()) + 1}.",
                "Encode the same file again.",
            )
    return Vectors(found, None if len(texts) == texts.total else texts.lines - 1)


def refuse_other_vectors(
    vectors: Vectors, path: Path, texts: Texts, model: SentenceTransformer, precision: Precision
) -> None:
    """Refuse vectors that an encoder does not give, which would be compared with its vectors all the same.

    Args:
        vectors: What :func:`load_vectors` read.
        path: Of their file.
        texts: Their sentences.
        model: The encoder; some of the sentences are encoded again.
        precision: What it computes in; the vectors may be of another.

    Raises:
        XlbenchError: The cosine of a sentence's two vectors is below :data:`SAME`.
    """
    from xlbench.encoders.encode import encode

    tried = np.unique(np.linspace(0, len(texts) - 1, TRIED).round().astype(np.int64))
    again = Vectors(encode(model, [texts.sentences[int(it)] for it in tried], precision=precision))
    ones, others = again.block(0, len(tried)), vectors.take(tried).block(0, len(tried))
    # Two vectors of zeros, e.g. of a line without tokens, are the same.
    cosines = np.where((ones == others).all(axis=1), 1.0, (ones * others).sum(axis=1))
    worst = int(cosines.argmin())
    if cosines[worst] < SAME:
        raise XlbenchError(
            f"The vectors in '{path}' are not those of this encoder: that of "
            f"{shortened(texts.sentences[int(tried[worst])])} has a cosine of {cosines[worst]:.2f} to its own.",
            "Give the --model that they were made with, or encode the file again.",
        )
