"""Batches of pairs of similar length, the same for a seed on every machine, and their tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xlbench.corpora.tokens import TokenTable
    from xlbench.distill.objectives import Target
    from xlbench.distill.targets import TargetTable

POOL = 50  # batches that are sorted by length together: enough to waste little padding, few enough to mix


class Batch(TypedDict):
    """n pairs: the n English sentences come first, then the n others.

    ``input_ids`` and ``attention_mask`` are int64 [2n, tokens]; each target is float32 [2n, dimension].
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    targets: list[torch.Tensor]


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
            batches = []
            for start in range(0, whole, pool):
                chunk = order[start : min(start + pool, whole)]
                chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
                batches += np.split(chunk, len(chunk) // self.batch_size)
            for number in generator.permutation(len(batches))[:left]:
                yield [int(pair) for pair in batches[number]]
            left -= min(left, len(batches))


@dataclass(frozen=True)
class Collator:
    """Turns pair numbers into tensors.

    Attributes:
        pairs: Sentence ids, int [n, 2]: English, other.
        tokens: Token ids of every sentence.
        position_of: Maps a token id to its row in the shrunken word table, int [V].
        padding: Row of the padding token.
        targets: The stage's targets, in a fixed order, with their vectors.
    """

    pairs: np.ndarray
    tokens: TokenTable
    position_of: np.ndarray
    padding: int
    targets: Mapping[Target, TargetTable]

    def __call__(self, numbers: list[int]) -> Batch:
        """Return the batch of these pairs."""
        chosen = np.asarray(self.pairs[np.asarray(numbers)], dtype=np.int64)
        sentences = np.concatenate([chosen[:, 0], chosen[:, 1]])
        rows = [self.position_of[self.tokens.row(int(sentence))] for sentence in sentences]
        width = max(len(row) for row in rows)
        ids = np.full((len(rows), width), self.padding, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        english = np.concatenate([chosen[:, 0], chosen[:, 0]])
        return Batch(
            input_ids=torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            targets=[
                table.take(english if target.side == "english" else sentences) for target, table in self.targets.items()
            ],
        )


def pair_lengths(pairs: np.ndarray, tokens: TokenTable) -> np.ndarray:
    """Return the tokens of the longer side of each pair, int [n]."""
    lengths = tokens.lengths()
    longer: np.ndarray = np.maximum(lengths[pairs[:, 0]], lengths[pairs[:, 1]])
    return longer
