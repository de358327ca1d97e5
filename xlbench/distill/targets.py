"""Target vectors: computed once per encoder, sentences and settings, memory-mapped, shared by all that ask.

All English sentences of a corpus have vectors once a teacher is asked for any, since the students of a board share
them. A encoder's own vectors of both sides are of the sentences that a stage reads: every encoder has others, and a
stage may read a small part of a large corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xlbench.errors import XlbenchError
from xlbench.fingerprint import Json, fingerprint
from xlbench.progress import progress, waits_for
from xlbench.store import get_or_build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sentence_transformers import SentenceTransformer
    from torch import Tensor

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.distill.objectives import Target
    from xlbench.experiment import Precision
    from xlbench.settings import Settings

FORMAT = 1
KIND = "targets"  # in the store
CHUNK = 8192  # sentences between two looks at the progress file: what a kill can cost


@dataclass(frozen=True)
class TargetTable:
    """Vectors by sentence id.

    Attributes:
        key: Its entry in the store.
        vectors: float16 [rows, dimension], memory-mapped.
        row_of: int64 [sentences of the corpus], -1 where a sentence has no vector.
    """

    key: str
    vectors: np.ndarray
    row_of: np.ndarray

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self.vectors.shape[1])

    def take(self, ids: np.ndarray) -> Tensor:
        """Return the vectors of sentence ids, float32 [len(ids), dimension].

        Raises:
            XlbenchError: A sentence has no vector.
        """
        import torch

        rows = self.row_of[ids]
        if (rows < 0).any():
            raise XlbenchError(
                f"Targets {self.key} hold no vector of sentence {ids[rows < 0][0]}.",
                "Ask for the targets of all sentences that will be looked up.",
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
) -> TargetTable:
    """Return a target's vectors, encoding whatever is not in the store.

    Args:
        target: Which vectors.
        key: Fingerprint of the encoder they come from.
        load: Loads that encoder; called only when vectors are missing.
        corpus: Whose sentences.
        sentences: Ids of those that are needed, int [n], ascending; None: all. A target of English sentences holds
            all English ones.
        precision: What the encoder computes in; the vectors are stored as float16.
        max_tokens: Where sentences are cut.
        settings: Where the store is.
    """
    wanted, scope = _wanted(target, corpus, sentences)
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
        return _encode_all(directory, load(), corpus, wanted, target, precision, max_tokens, settings)

    waiting = waits_for(f"computing the targets of {target.encoder}", quiet=settings.quiet)
    entry = get_or_build(settings.home, KIND, entry_key, build, waiting=waiting)
    row_of = np.full(len(corpus.sentences), -1, dtype=np.int64)
    row_of[wanted] = np.arange(len(wanted))
    return TargetTable(entry_key, np.load(entry.path / "vectors.npy", mmap_mode="r"), row_of)


def _wanted(target: Target, corpus: PreparedCorpus, sentences: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Return the ids of the sentences that get vectors and what they are called in the entry's key."""
    if target.side == "english":
        return np.union1d(corpus.english_ids(), np.asarray(corpus.dev_pairs[:, 0])), "english"
    if sentences is None or len(sentences) == len(corpus.sentences):
        return np.arange(len(corpus.sentences)), "all"
    return sentences, fingerprint(sentences.tolist())


def _encode_all(
    directory: Path,
    model: SentenceTransformer,
    corpus: PreparedCorpus,
    wanted: np.ndarray,
    target: Target,
    precision: Precision,
    max_tokens: int,
    settings: Settings,
) -> dict[str, Json]:
    from xlbench.encoders.encode import dimension, encode
    from xlbench.encoders.runtime import choose_device

    model.to(choose_device(settings))
    scratch = directory / "scratch"
    scratch.mkdir(exist_ok=True)
    state = scratch / "rows-done"
    done = int(state.read_text()) if state.is_file() and (directory / "vectors.npy").is_file() else 0
    width = dimension(model, target.level)
    vectors = np.lib.format.open_memmap(
        directory / "vectors.npy",
        mode="r+" if done else "w+",
        dtype=np.float16,
        shape=None if done else (len(wanted), width),
    )
    title = f"computing the targets of {target.encoder}"
    with progress(title, len(wanted), quiet=settings.quiet, done=done, unit="sentences") as advance:
        for start in range(done, len(wanted), CHUNK):
            ids = wanted[start : start + CHUNK]
            texts = [corpus.sentences[int(index)] for index in ids]
            encode(
                model,
                texts,
                precision=precision,
                level=target.level,
                max_tokens=max_tokens,
                out=vectors[start : start + CHUNK],
                advance=advance,
            )
            vectors.flush()
            state.write_text(str(start + len(ids)))
    return {"encoder": target.encoder, "sentences": len(wanted), "width": width}
