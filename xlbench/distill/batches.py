"""Batches of pairs of similar length, the same for a seed on every machine, and their tensors.

Padding is avoided twice: pairs of similar length come together, and the sentences of a batch, whose two languages
need not be equally long, run through the encoder in parts of like length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import torch

from xlbench.encoders.encode import batches, pad

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from xlbench.corpora.tokens import TokenTable
    from xlbench.distill.objectives import Target
    from xlbench.distill.targets import TargetTable

POOL = 50  # batches that are sorted by length together: enough to waste little padding, few enough to mix


class Part(TypedDict):
    """Sentences that run through the encoder together: both int64 [sentences, tokens]."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor


class Batch(TypedDict):
    """n pairs, of m of which the English side is read too: the m English sentences come first, then the n others.

    ``parts`` holds the sentences by length; ``places``, int64 [m + n], is where each of them comes among the rows
    of all parts, one after the other. Each target is float32 [m + n + k, dimension], the last k rows those of its
    bank. ``english`` is m.
    """

    parts: list[Part]
    places: torch.Tensor
    targets: list[torch.Tensor]
    english: int


@dataclass(frozen=True)
class LengthBuckets:
    """A fixed number of batches of pair numbers, in an order that the seed decides.

    Every pass over the pairs is shuffled, cut into pools of :data:`POOL` batches, sorted by length within a pool
    and dealt out in a shuffled order. No pair is left out of a pass; the last batch of a pass takes its missing
    pairs from the next one.

    Attributes:
        lengths: Tokens of the longer side of each pair, int [n].
        batch_size: Pairs in a batch.
        batches: How many batches in all.
        seed: Decides the order.
    """

    lengths: np.ndarray
    batch_size: int
    batches: int
    seed: int

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches."""
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
            cut = []
            for start in range(0, whole, pool):
                chunk = order[start : min(start + pool, whole)]
                chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
                cut += np.split(chunk, len(chunk) // self.batch_size)
            for number in generator.permutation(len(cut))[:left]:
                yield [int(pair) for pair in cut[number]]
            left -= min(left, len(cut))


@dataclass(frozen=True)
class Collator:
    """Turns pair numbers into tensors.

    Attributes:
        pairs: Sentence ids, int [n, 2]: English, other.
        tokens: Token ids of every sentence.
        position_of: Maps a token id to its row in the shrunken word table, int [V].
        padding: Row of the padding token.
        targets: The stage's targets, in a fixed order, with their vectors.
        part_tokens: Padded tokens that a part may hold; None leaves a batch whole.
        english_share: Of a batch's pairs, those whose English side is read, at least one.
    """

    pairs: np.ndarray
    tokens: TokenTable
    position_of: np.ndarray
    padding: int
    targets: Mapping[Target, TargetTable]
    part_tokens: int | None = None
    english_share: float = 1.0

    def __call__(self, numbers: Sequence[int]) -> Batch:
        """Return the batch of these pairs."""
        chosen, read = _read_first(self.pairs, numbers, self.english_share)
        sentences = np.concatenate([chosen[:read, 0], chosen[:, 1]])
        rows = [self.position_of[self.tokens.row(int(sentence))] for sentence in sentences]
        lengths = np.array([len(row) for row in rows])
        budget = self.part_tokens or len(rows) * int(lengths.max())
        order = list(batches(lengths, budget))
        places = np.empty(len(rows), np.int64)
        places[np.concatenate(order)] = np.arange(len(rows))
        english = np.concatenate([chosen[:read, 0], chosen[:, 0]])
        wanted = [
            np.concatenate([english if target.side == "english" else sentences, self._bank(target.bank, numbers)])
            for target in self.targets
        ]
        return Batch(
            parts=[self._part([rows[place] for place in part]) for part in order],
            places=torch.from_numpy(places),
            targets=[table.take(ids) for ids, table in zip(wanted, self.targets.values(), strict=True)],
            english=read,
        )

    @cached_property
    def _english_ids(self) -> np.ndarray:
        return np.unique(self.pairs[:, 0])

    def _bank(self, size: int, numbers: Sequence[int]) -> np.ndarray:
        """Return ids of English sentences, the same whenever these pairs are a batch; of a small corpus no more."""
        if size == 0:  # most targets: no generator, and nothing sorted
            return np.empty(0, np.int64)
        drawn = min(size, len(self._english_ids))
        return self._english_ids[np.random.default_rng(list(numbers)).integers(len(self._english_ids), size=drawn)]

    def _part(self, rows: list[np.ndarray]) -> Part:
        ids, mask = pad(rows, self.padding)
        return Part(input_ids=ids, attention_mask=mask)


def sentences_read(pairs: np.ndarray, batches: LengthBuckets, english_share: float) -> np.ndarray:
    """Return the distinct ids of the sentences that a student reads in these batches, ascending, int64 [sentences]."""
    read = [np.empty(0, np.int64)]
    for numbers in batches:
        chosen, first = _read_first(pairs, numbers, english_share)
        read += [chosen[:first, 0], chosen[:, 1]]
    return np.unique(np.concatenate(read))


def _read_first(pairs: np.ndarray, numbers: Sequence[int], english_share: float) -> tuple[np.ndarray, int]:
    """Return a batch's pairs, int64 [n, 2], those whose English side is read first, and how many these are.

    A batch comes sorted by length: those chosen are evenly spread over it, and so as long as the rest.
    """
    chosen = np.asarray(pairs[np.asarray(numbers)], dtype=np.int64)
    count = len(chosen)
    spread = np.linspace(0, count - 1, max(1, round(english_share * count))).round().astype(np.int64)
    return chosen[np.concatenate([spread, np.setdiff1d(np.arange(count), spread)])], len(spread)


def pair_lengths(pairs: np.ndarray, tokens: TokenTable) -> np.ndarray:
    """Return the tokens of the longer side of each pair, int [n]."""
    lengths = tokens.lengths()
    longer: np.ndarray = np.maximum(lengths[pairs[:, 0]], lengths[pairs[:, 1]])
    return longer
