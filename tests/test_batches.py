"""Batches: every pair in every pass, similar lengths together, the same for a seed."""

from __future__ import annotations

import numpy as np

from xlbench.distill.batches import LengthBuckets

LENGTHS = np.random.default_rng(0).integers(3, 60, 103)


def test_every_pass_shows_every_pair_once() -> None:
    # 8 does not divide 103: the batch that a pass cannot fill takes its missing pairs from the next pass.
    batches = list(LengthBuckets(LENGTHS, 8, 103, seed=1))
    shown = np.bincount(np.concatenate(batches), minlength=103)
    assert len(batches) == 103
    assert shown.tolist() == [8] * 103  # 103 batches of 8 are 8 passes


def test_batches_are_the_same_for_a_seed_and_differ_between_seeds() -> None:
    first = list(LengthBuckets(LENGTHS, 8, 20, seed=1))
    assert first == list(LengthBuckets(LENGTHS, 8, 20, seed=1))
    assert first != list(LengthBuckets(LENGTHS, 8, 20, seed=2))


def test_a_batch_holds_similar_lengths() -> None:
    spread = [np.ptp(LENGTHS[batch]) for batch in LengthBuckets(LENGTHS, 8, 12, seed=0)]
    # 103 sorted lengths between 3 and 59 in 12 batches: about 5 apart within one; shuffled they would be about 45.
    assert np.mean(spread) < 8


def test_a_corpus_smaller_than_a_batch_still_fills_it() -> None:
    assert [len(batch) for batch in LengthBuckets(LENGTHS[:5], 8, 3, seed=0)] == [8, 8, 8]
