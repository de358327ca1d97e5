"""Batches of pairs of similar length, and their tensors; the same for a seed on every machine.

Padding is reduced twice: a batch holds pairs of similar length, and since the two sides of a pair may differ in length,
its sentences run through the encoder in parts of similar length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np
import torch

from xlbench.encoders.encode import batches, pad

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.corpora.tokens import TokenTable
    from xlbench.distill.objectives import Target
    from xlbench.distill.plan import Training
    from xlbench.distill.targets import TargetTable

POOL = 50  # batches whose pairs are sorted by length together: more of them waste less padding, but mix less


class Part(TypedDict):
    """Sentences that run through the encoder together; both tensors are int64 [sentences, tokens]."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor


class Batch(TypedDict):
    """A batch of n pairs; the English sides of the first m of them are read, and all n other sides.

    Its sentences are the m English ones, then the n others. Several processes share them, see :class:`Share`; a single
    one has them all.

    Attributes:
        parts: The sentences of this process, grouped by length.
        places: Position of each of them among the rows of all parts in order, int64 [own sentences].
        sizes: How many of the batch's sentences each process has.
        order: Position of each of the batch's sentences among those of all processes in order, int64 [m + n].
        tokens: Real tokens of all m + n sentences.
        targets: The vectors of each target, float32 [m + n + k, dimension]: one for each sentence, then k of the
            target's bank.
        english_count: The number m.
    """

    parts: list[Part]
    places: torch.Tensor
    sizes: list[int]
    order: torch.Tensor
    tokens: int
    targets: list[torch.Tensor]
    english_count: int


class Share(NamedTuple):
    """Which pairs of every batch a process reads: of N processes, every N-th one.

    A batch is sorted by length, so that all have sentences of about the same lengths to read. The batch stays that of
    the stage, whatever N is: each pair has one reader, and a batch that N does not divide has shares of two sizes.

    Attributes:
        rank: The process's number, from 0.
        processes: The number N, at most the pairs of a batch.
    """

    rank: int = 0
    processes: int = 1

    def divide(self, english: int, pairs: int) -> list[np.ndarray]:
        """Return the positions of each process's sentences in a batch, int64 [its sentences].

        Args:
            english: The number m of English sentences, which come first.
            pairs: The number n of others.
        """
        every = self.processes
        return [
            np.concatenate([np.arange(rank, english, every), english + np.arange(rank, pairs, every)])
            for rank in range(every)
        ]


WHOLE = Share()  # of a process that trains alone


@dataclass(frozen=True)
class LengthBuckets:
    """A fixed number of batches of pair indices, in an order that the seed decides.

    Each pass over the pairs is shuffled, cut into pools of :data:`POOL` batches, sorted by length within each pool, cut
    into batches, and the batches are shuffled. A pass uses every pair once; pairs that do not fill a batch at its end
    go into the next pass.

    Attributes:
        lengths: Tokens of the longer side of each pair, int [n].
        batch_size: Pairs in a batch.
        batches: Number of batches in all.
        seed: Seed of the order.
    """

    lengths: np.ndarray
    batch_size: int
    batches: int
    seed: int

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        """Yield each batch as a list of pair indices."""
        left = self.batches
        carried = np.empty(0, dtype=np.int64)
        passes = 0
        pool = POOL * self.batch_size
        while left:
            generator = np.random.default_rng((self.seed, passes))
            passes += 1
            order = np.concatenate([carried, generator.permutation(len(self.lengths))])
            whole = len(order) // self.batch_size * self.batch_size
            carried = order[whole:]
            pass_batches = []
            for start in range(0, whole, pool):
                chunk = order[start : min(start + pool, whole)]
                chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
                pass_batches += np.split(chunk, len(chunk) // self.batch_size)
            for index in generator.permutation(len(pass_batches))[:left]:
                yield [int(pair) for pair in pass_batches[index]]
            left -= min(left, len(pass_batches))


@dataclass(frozen=True)
class Collator:
    """Turns pair indices into the tensors of a batch.

    Attributes:
        pairs: Sentence ids of each pair, English and other side, int [n, 2].
        tokens: Token ids of every sentence.
        position_of: Row of each token id in the shrunken embedding table, int [V].
        padding: Row of the padding token in that table.
        targets: Vectors of each of the stage's targets, in a fixed order.
        part_tokens: Largest number of tokens in a part, padding included; None for one part per batch.
        english_share: Share of a batch's pairs whose English side is read, of at least one pair.
        share: Which of a batch's pairs this process reads.
    """

    pairs: np.ndarray
    tokens: TokenTable
    position_of: np.ndarray
    padding: int
    targets: Mapping[Target, TargetTable]
    part_tokens: int | None = None
    english_share: float = 1.0
    share: Share = WHOLE

    def __call__(self, indices: Sequence[int]) -> Batch:
        """Return the batch of the pairs with these indices."""
        chosen, read = _english_read_first(self.pairs, indices, self.english_share)
        sentences = np.concatenate([chosen[:read, 0], chosen[:, 1]])
        divided = self.share.divide(read, len(chosen))
        own = sentences[divided[self.share.rank]]
        rows = [self.position_of[self.tokens.row(int(sentence))] for sentence in own]
        lengths = np.array([len(row) for row in rows])
        budget = self.part_tokens or len(rows) * int(lengths.max())
        order = list(batches(lengths, budget))
        places = np.empty(len(rows), np.int64)
        places[np.concatenate(order)] = np.arange(len(rows))
        english = np.concatenate([chosen[:read, 0], chosen[:, 0]])
        wanted = [
            np.concatenate([english if target.side == "english" else sentences, self._bank(target.bank, indices)])
            for target in self.targets
        ]
        return Batch(
            parts=[self._part([rows[place] for place in part]) for part in order],
            places=torch.from_numpy(places),
            sizes=[len(positions) for positions in divided],
            order=torch.from_numpy(np.argsort(np.concatenate(divided))),
            tokens=sum(len(self.tokens.row(int(sentence))) for sentence in sentences),
            targets=[table.take(ids) for ids, table in zip(wanted, self.targets.values(), strict=True)],
            english_count=read,
        )

    @cached_property
    def _english_ids(self) -> np.ndarray:
        return np.unique(self.pairs[:, 0])

    def _bank(self, size: int, indices: Sequence[int]) -> np.ndarray:
        """Return ids of English sentences drawn for a batch, int64 [size or less], always the same for these pairs.

        At most as many are drawn as the corpus has English sentences.
        """
        if size == 0:  # as for most targets: saves sorting the ids
            return np.empty(0, np.int64)
        drawn = min(size, len(self._english_ids))
        return self._english_ids[np.random.default_rng(list(indices)).integers(len(self._english_ids), size=drawn)]

    def _part(self, rows: list[np.ndarray]) -> Part:
        ids, mask = pad(rows, self.padding)
        return Part(input_ids=ids, attention_mask=mask)


def pairs_to_train_on(corpus: PreparedCorpus, training: Training) -> np.ndarray:
    """Return the pairs that a stage draws its batches from, int32 [n, 2]: those of the corpus, and of its lines.

    Where every sentence is compared with an encoder's own vector of it, and none with its translation's, a line serves
    as a pair of itself. Other stages have no use for lines.
    """
    english = any(target.side == "english" for term in training.terms for target in term.targets())
    if english or not len(corpus.lines):
        return corpus.pairs
    return np.concatenate([corpus.pairs, np.stack([corpus.lines, corpus.lines], axis=1)])


def sentences_read(pairs: np.ndarray, batches: LengthBuckets, english_share: float) -> np.ndarray:
    """Return the distinct ids of the sentences that a student reads in these batches, ascending, int64 [sentences].

    Args:
        pairs: Sentence ids of each pair, English and other side, int [n, 2].
        batches: The batches of pair indices.
        english_share: As in :class:`Collator`.
    """
    read = [np.empty(0, np.int64)]
    for indices in batches:
        chosen, count = _english_read_first(pairs, indices, english_share)
        read += [chosen[:count, 0], chosen[:, 1]]
    return np.unique(np.concatenate(read))


def _english_read_first(pairs: np.ndarray, indices: Sequence[int], english_share: float) -> tuple[np.ndarray, int]:
    """Return a batch's pairs, int64 [n, 2], with those first whose English side is read, and the number of these.

    A batch is sorted by length; the pairs whose English side is read are evenly spaced in it, so that their lengths are
    those of the whole batch.
    """
    chosen = np.asarray(pairs[np.asarray(indices)], dtype=np.int64)
    count = len(chosen)
    spaced = np.linspace(0, count - 1, max(1, round(english_share * count))).round().astype(np.int64)
    return chosen[np.concatenate([spaced, np.setdiff1d(np.arange(count), spaced)])], len(spaced)


def pair_lengths(pairs: np.ndarray, tokens: TokenTable) -> np.ndarray:
    """Return the number of tokens of the longer side of each pair, int [n]."""
    lengths = tokens.lengths()
    longer: np.ndarray = np.maximum(lengths[pairs[:, 0]], lengths[pairs[:, 1]])
    return longer
