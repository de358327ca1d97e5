"""Target vectors: computed once per encoder, set of sentences and settings, then memory-mapped from the store.

An English target is computed for all English sentences of the corpus, because all students of a board share a
teacher's vectors. An "own" target is computed only for the sentences that a stage reads, because each assistant has its
own, and a stage may read a small part of a large corpus.
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
KIND = "targets"  # kind of the entries in the store
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
        return _encode_sentences(directory, load(), corpus, wanted, target, precision, max_tokens, settings)

    waiting = waits_for(f"computing the targets of {target.encoder}", quiet=settings.quiet)
    entry = get_or_build(settings.home, KIND, entry_key, build, waiting=waiting)
    row_of = np.full(len(corpus.sentences), -1, dtype=np.int64)
    row_of[wanted] = np.arange(len(wanted))
    return TargetTable(entry_key, np.load(entry.path / "vectors.npy", mmap_mode="r"), row_of)


def _wanted_sentences(target: Target, corpus: PreparedCorpus, sentences: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Return the ids of the sentences to encode, ascending, and what stands for them in the entry's fingerprint."""
    if target.side == "english":
        return np.union1d(corpus.english_ids(), np.asarray(corpus.dev_pairs[:, 0])), "english"
    if sentences is None or len(sentences) == len(corpus.sentences):
        return np.arange(len(corpus.sentences)), "all"
    return sentences, fingerprint(sentences.tolist())


def _encode_sentences(
    directory: Path,
    model: SentenceTransformer,
    corpus: PreparedCorpus,
    wanted: np.ndarray,
    target: Target,
    precision: Precision,
    max_tokens: int,
    settings: Settings,
) -> dict[str, Json]:
    """Encode sentences into ``vectors.npy`` in a directory, going on where an interrupted run stopped; return facts."""
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
