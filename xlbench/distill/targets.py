"""Target vectors: computed once per encoder, set of sentences and settings, then memory-mapped from the store.

An English target is computed for all English sentences of the corpus, because all students of a board share a
teacher's vectors. An "own" target is computed only for the sentences that a stage reads, because each assistant has its
own, and a stage may read a small part of a large corpus.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from itertools import takewhile
from typing import IO, TYPE_CHECKING

import numpy as np

from xlbench.disk import disk_errors, reserve
from xlbench.errors import XlbenchError, shortened
from xlbench.fingerprint import Frozen, Json, fingerprint
from xlbench.progress import note, progress
from xlbench.store import get_or_build, read_sealed, require_files, write_sealed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sentence_transformers import SentenceTransformer
    from torch import Tensor

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.distill.objectives import Target
    from xlbench.experiment import Precision
    from xlbench.settings import Settings
    from xlbench.store import Entry

FORMAT = 1
KIND = "targets"  # kind of the entries in the store
VECTORS, ROWS_DONE = "vectors.npy", "rows-done"  # in an entry; in its scratch, how far it is
SAMPLE = 2048  # vectors, evenly spaced, that are compared with each other
ALIKE = 1 - 1e-5  # mean cosine above which all vectors are the same but for rounding
CHUNK = 8192  # sentences encoded before progress is written down; a killed run loses at most these


@dataclass(frozen=True)
class TargetTable:
    """The vectors of a target, looked up by sentence id.

    Attributes:
        key: Key of the entry in the store.
        vectors: The vectors, float16 [rows, dimension], memory-mapped.
        row_of: Row of each sentence of the corpus, int64 [sentences]; -1 for sentences without a vector.
    """

    key: str
    vectors: np.ndarray
    row_of: np.ndarray

    @property
    def dimension(self) -> int:
        """Width of the vectors."""
        return int(self.vectors.shape[1])

    def take(self, ids: np.ndarray) -> Tensor:
        """Return the vectors of sentences by their ids, int [n], as float32 [n, dimension].

        Raises:
            XlbenchError: One of the sentences has no vector.
        """
        import torch

        rows = self.row_of[ids]
        if (rows < 0).any():
            raise XlbenchError(
                f"Targets {self.key} hold no vector of sentence {ids[rows < 0][0]}.",
                "Pass the ids of all sentences that will be looked up to StageContext.targets.",
            )
        return torch.from_numpy(np.asarray(self.vectors[rows], dtype=np.float32))


def target_table(
    target: Target,
    *,
    key: str,
    load: Callable[[], SentenceTransformer],
    corpus: PreparedCorpus,
    sentences: np.ndarray | None,
    precision: Precision,
    max_tokens: int,
    settings: Settings,
    name: str = "",
) -> TargetTable:
    """Return a target's vectors, from the store if they are in it.

    Args:
        target: The encoder, side and level of the vectors.
        key: Fingerprint of the encoder.
        load: Loads the encoder; called only if the vectors have to be computed.
        corpus: The corpus whose sentences are encoded.
        sentences: Ids of the sentences that are needed, int [n], ascending; None for all. A target on English sentences
            always has the vectors of all of them.
        precision: Number type that the encoder computes in; the vectors are stored as float16.
        max_tokens: Longer sentences are cut to this many tokens.
        settings: Paths, of which the store is one, and switches.
        name: What the user called the encoder, for errors.

    Raises:
        XlbenchError: The vectors are not finite, or all alike; nothing of them is kept.
    """
    wanted, scope = _wanted_sentences(target, corpus, sentences)
    facts: Json = {
        "format": FORMAT,
        "encoder": key,
        "corpus": corpus.digest,
        "level": target.level,
        "sentences": scope,
        "precision": precision,
        "tokens": max_tokens,
    }
    entry_key = fingerprint(facts)

    def build(directory: Path) -> dict[str, Json]:
        called = f"{target.encoder} '{name}'" if name else f"'{target.encoder}'"
        return _encode_sentences(directory, load(), corpus, wanted, target, precision, max_tokens, settings, called)

    doing = f"computing the targets of {target.encoder}"
    entry = get_or_build(
        settings.home,
        KIND,
        entry_key,
        build,
        doing=doing,
        quiet=settings.quiet,
        check=lambda entry: require_files(entry, VECTORS),
    )
    return read_table(entry, corpus, wanted)


def read_table(entry: Entry, corpus: PreparedCorpus, wanted: np.ndarray) -> TargetTable:
    """Return the vectors of an entry, which has a row for each of the sentences with the ids ``wanted``."""
    row_of = np.full(len(corpus.sentences), -1, dtype=np.int64)
    row_of[wanted] = np.arange(len(wanted))
    return TargetTable(entry.manifest.key, np.load(entry.path / VECTORS, mmap_mode="r"), row_of)


def english_sentences(corpus: PreparedCorpus) -> np.ndarray:
    """Return the ids of all English sentences of a corpus, ascending, those of dev pairs too."""
    return np.union1d(corpus.english_ids(), np.asarray(corpus.dev_pairs[:, 0]))


def _wanted_sentences(target: Target, corpus: PreparedCorpus, sentences: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Return the ids of the sentences to encode, ascending, and what stands for them in the entry's fingerprint."""
    if target.side == "english":
        return english_sentences(corpus), "english"
    if sentences is None or len(sentences) == len(corpus.sentences):
        return np.arange(len(corpus.sentences)), "all"
    return sentences, fingerprint(sentences.tolist())


class RowsDone(Frozen):
    """How far an interrupted run has come.

    Attributes:
        chunks: Digest of each chunk of rows that it wrote.
    """

    chunks: tuple[str, ...]


def _resume(path: Path, state: Path, shape: tuple[int, int]) -> tuple[list[str], bool]:
    """Return what of the file of vectors, float16 of a shape, an interrupted run left.

    Returns:
        The digests of the chunks before the first damaged one, and whether anything was damaged.
    """
    found = read_sealed(state, RowsDone)
    if found is None or path.is_symlink():
        return [], state.exists()
    try:
        vectors = np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return [], True
    if vectors.dtype != np.float16 or vectors.shape != shape:
        return [], True
    read = (_digest(vectors[start : start + CHUNK]) for start in range(0, shape[0], CHUNK))
    same = takewhile(lambda pair: pair[0] == pair[1], zip(found.chunks, read, strict=False))
    chunks = [digest for digest, _ in same]
    return chunks, len(chunks) < len(found.chunks)


def _digest(rows: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()


def _encode_sentences(
    directory: Path,
    model: SentenceTransformer,
    corpus: PreparedCorpus,
    wanted: np.ndarray,
    target: Target,
    precision: Precision,
    max_tokens: int,
    settings: Settings,
    name: str,
) -> dict[str, Json]:
    """Encode sentences into ``vectors.npy`` in a directory, going on where an interrupted run stopped; return facts."""
    from xlbench.encoders.encode import dimension, encode
    from xlbench.encoders.runtime import choose_device

    model.to(choose_device(settings))
    path, state = directory / VECTORS, directory / "scratch" / ROWS_DONE
    width = dimension(model, target.level)
    row = width * np.dtype(np.float16).itemsize
    title = f"computing the targets of {target.encoder}"
    chunks, damaged = _resume(path, state, (len(wanted), width))
    done = min(len(chunks) * CHUNK, len(wanted))
    if damaged:
        note(f"{title}: what an interrupted run left is damaged; going on at sentence {done:,}", quiet=settings.quiet)
    if not done:
        path.unlink(missing_ok=True)  # it may be a link
    # Written as a file: of a memory map, a full disk would end the process by a signal.
    with (
        disk_errors(f"the targets of {target.encoder}", directory, needed=len(wanted) * row, store=True),
        path.open("r+b" if done else "xb") as stream,
        progress(title, len(wanted), quiet=settings.quiet, done=done, unit="sentences") as advance,
    ):
        begin_vectors(stream, (len(wanted), width))
        stream.seek(done * row, os.SEEK_CUR)
        for start in range(done, len(wanted), CHUNK):
            texts = [corpus.sentences[int(index)] for index in wanted[start : start + CHUNK]]
            encoded = encode(
                model, texts, precision=precision, level=target.level, max_tokens=max_tokens, advance=advance
            )
            with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite, and is refused below
                vectors = encoded.astype("<f2")
            _check_finite(name, encoded, vectors, texts)
            stream.write(vectors.tobytes())
            stream.flush()
            os.fsync(stream.fileno())
            chunks.append(_digest(vectors))
            write_sealed(state, RowsDone(chunks=tuple(chunks)))
    check_varied(name, np.load(path, mmap_mode="r"))
    return {"encoder": target.encoder, "sentences": len(wanted), "width": width}


def begin_vectors(stream: IO[bytes], shape: tuple[int, int]) -> None:
    """Write the header of a file of vectors, float16 of a shape, and have space set aside for them."""
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": shape})
    reserve(stream, stream.tell() + shape[0] * shape[1] * np.dtype(np.float16).itemsize)


def _check_finite(name: str, encoded: np.ndarray, stored: np.ndarray, texts: list[str]) -> None:
    """Refuse vectors that are not finite, as they were computed or as float16, in which they are stored."""
    finite = np.isfinite(stored).all(axis=1)
    if finite.all():
        return
    row = int(finite.argmin())
    shown = shortened(texts[row])
    if np.isfinite(encoded[row]).all():
        raise XlbenchError(
            f"The {name} gives vectors beyond 65504, the largest number of float16, first for {shown}.",
            "Normalise its vectors (a Normalize module at its end).",
        )
    raise XlbenchError(
        f"The {name} gives vectors that are not finite (NaN or infinity), first for {shown}.",
        "Nothing can be learnt from it: choose another one, or run with --precision float32.",
    )


def check_varied(name: str, vectors: np.ndarray) -> None:
    """Refuse vectors that are all alike, or all zero: they tell a student nothing.

    Args:
        name: Which encoder gave them, as it follows "The".
        vectors: float [n, dimension]; some rows of many are looked at.

    Raises:
        XlbenchError: They are.
    """
    import torch

    from xlbench.distill.health import mean_cosine

    rows = np.asarray(vectors[:: max(1, len(vectors) // SAMPLE)], np.float32)
    if len(rows) > 1 and mean_cosine(torch.from_numpy(rows)) > ALIKE:
        what = "the same vector" if rows.any() else "a vector of zeros"
        raise XlbenchError(
            f"The {name} gives every sentence {what}; nothing can be learnt from it.",
            "Choose another one, or look at what `xlbench score` says of it.",
        )
