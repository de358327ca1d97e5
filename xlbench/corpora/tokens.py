"""The sentences of a prepared corpus as token ids, computed once for each tokenizer and maximum length."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from xlbench.errors import XlbenchError, encoding_errors
from xlbench.fingerprint import fingerprint
from xlbench.progress import progress
from xlbench.store import get_or_build, require_files

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from transformers import PreTrainedTokenizerBase

    from xlbench.corpora.prepared import PreparedCorpus
    from xlbench.fingerprint import Json
    from xlbench.settings import Settings

KIND = "tokens"
VERSION = 1
_CHUNK = 8192  # sentences tokenised at once; as Python lists, ids take twenty times the memory of an array
_SCAN = 1 << 22  # ids read at once
_IDS, _OFFSETS = "ids.u32", "offsets.npy"


@dataclass(frozen=True)
class TokenTable:
    """Token ids of every sentence of a corpus, special tokens included.

    Attributes:
        path: Directory in the store.
        digest: Identifies the content.
        corpus: The corpus whose sentences these are.
        ids: The ids of all sentences, one after the other, uint32 [tokens], memory-mapped.
        offsets: int64 [sentences + 1]; sentence i is ``ids[offsets[i]:offsets[i + 1]]``.
    """

    path: Path
    digest: str
    corpus: PreparedCorpus
    ids: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of tokens of each sentence, int64 [sentences]."""
        return np.diff(self.offsets)

    def row(self, sentence: int) -> npt.NDArray[np.uint32]:
        """Return the ids of one sentence, uint32 [its tokens]."""
        return self.ids[self.offsets[sentence] : self.offsets[sentence + 1]]

    def used(self) -> npt.NDArray[np.int64]:
        """Return the distinct ids of all sentences, those of dev pairs included, ascending, int64."""
        used: npt.NDArray[np.int64] = np.empty(0, np.int64)
        for low in range(0, len(self.ids), _SCAN):
            used = np.union1d(used, self.ids[low : low + _SCAN])
        return used.astype(np.int64)

    def counts(self, vocab_size: int) -> npt.NDArray[np.int64]:
        """Return how often each token occurs in the distinct training sentences, int64 [vocab_size].

        Special tokens count like any other. Sentences that occur in dev pairs only do not count.

        Raises:
            XlbenchError: An id is not below ``vocab_size``.
        """
        training = np.zeros(len(self), np.bool_)
        training[self.corpus.training_ids()] = True
        counts = np.zeros(vocab_size, np.int64)
        for low in range(0, len(self), _CHUNK):
            high = min(low + _CHUNK, len(self))
            ids = self.ids[self.offsets[low] : self.offsets[high]]
            used = ids[np.repeat(training[low:high], np.diff(self.offsets[low : high + 1]))]
            if len(used) and used.max() >= vocab_size:
                raise XlbenchError(
                    f"The tokenizer gives id {used.max()}, beyond a vocabulary of {vocab_size}.",
                    "Use the tokenizer that belongs to the encoder.",
                )
            counts += np.bincount(used, minlength=vocab_size)
        return counts


def tokenise(
    corpus: PreparedCorpus,
    tokenizer: PreTrainedTokenizerBase,
    tokenizer_key: str,
    max_tokens: int,
    settings: Settings,
    prompt: str = "",
) -> TokenTable:
    """Return the token ids of all sentences of ``corpus``, from the store or computed now.

    Args:
        corpus: The sentences.
        tokenizer: Splits them and adds its special tokens.
        tokenizer_key: Identifies the tokenizer: equal keys must mean equal ids.
        max_tokens: The most tokens of a sentence, special tokens included; the rest is cut off.
        settings: Where the store is.
        prompt: Stands before every sentence.

    Raises:
        XlbenchError: The disk is full or read-only.
    """
    facts: dict[str, Json] = {
        "corpus": corpus.digest,
        "tokenizer": tokenizer_key,
        "max": max_tokens,
        "version": VERSION,
    }
    key = fingerprint({**facts, "prompt": prompt} if prompt else facts)

    def build(directory: Path) -> dict[str, Json]:
        total = len(corpus.sentences)
        lengths = np.empty(total, np.int64)
        with (
            (directory / _IDS).open("wb") as stream,
            progress("tokenising the corpus", total, quiet=settings.quiet, unit="sentences") as advance,
        ):
            for low in range(0, total, _CHUNK):
                texts = [prompt + text for text in corpus.sentences[low : low + _CHUNK]]
                with encoding_errors():
                    rows = tokenizer(
                        texts,
                        truncation=True,
                        max_length=max_tokens,
                        return_attention_mask=False,
                        return_token_type_ids=False,
                    )["input_ids"]
                lengths[low : low + len(texts)] = [len(row) for row in rows]
                np.fromiter(chain.from_iterable(rows), np.dtype("<u4")).tofile(stream)
                advance(len(texts))
        np.save(directory / _OFFSETS, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
        return {"sentences": total, "tokens": int(lengths.sum())}

    path = get_or_build(
        settings.home,
        KIND,
        key,
        build,
        doing="tokenising the corpus",
        quiet=settings.quiet,
        check=lambda entry: require_files(entry, _IDS, _OFFSETS),
    ).path
    return TokenTable(
        path=path,
        digest=key,
        corpus=corpus,
        ids=np.memmap(path / _IDS, np.dtype("<u4"), "r"),
        offsets=np.load(path / _OFFSETS, mmap_mode="r"),
    )
