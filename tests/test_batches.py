"""Batches: every pass has every pair, a batch has pairs of similar length, and a seed always gives the same order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from xlbench.distill.batches import Batch, Collator, LengthBuckets, Part
from xlbench.distill.objectives import PullToTarget, Target
from xlbench.distill.plan import Training
from xlbench.distill.student import Student
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from pathlib import Path

LENGTHS = np.random.default_rng(0).integers(3, 60, 103)


def test_every_pass_has_every_pair_once() -> None:
    # 8 does not divide 103: pairs that do not fill a batch at the end of a pass go into the next pass.
    batches = list(LengthBuckets(LENGTHS, 8, 103, seed=1))
    uses = np.bincount(np.concatenate(batches), minlength=103)
    assert len(batches) == 103
    assert uses.tolist() == [8] * 103  # 103 batches of 8 pairs are 8 passes over 103 pairs


def test_batches_are_the_same_for_a_seed_and_differ_between_seeds() -> None:
    first = list(LengthBuckets(LENGTHS, 8, 20, seed=1))
    assert first == list(LengthBuckets(LENGTHS, 8, 20, seed=1))
    assert first != list(LengthBuckets(LENGTHS, 8, 20, seed=2))


def test_a_batch_has_pairs_of_similar_length() -> None:
    ranges = [np.ptp(LENGTHS[batch]) for batch in LengthBuckets(LENGTHS, 8, 12, seed=0)]
    # 103 sorted lengths from 3 to 59 in 12 batches have a range of about 5 per batch; shuffled, it would be about 45.
    assert np.mean(ranges) < 8


def test_a_corpus_smaller_than_a_batch_is_repeated_within_it() -> None:
    assert [len(batch) for batch in LengthBuckets(LENGTHS[:5], 8, 3, seed=0)] == [8, 8, 8]


TOKENS = [[5, 6], [5, 6, 7, 8, 9, 9], [7], [8, 9, 5, 5, 5], [9, 9, 9], [6, 5]]


class Tokens:
    """Stands in for a TokenTable."""

    def row(self, sentence: int) -> np.ndarray:
        return np.array(TOKENS[sentence])


class Vectors:
    """Stands in for a TargetTable: the vector of sentence i is (i)."""

    def take(self, ids: np.ndarray) -> torch.Tensor:
        return torch.tensor(ids, dtype=torch.float32)[:, None]


def collator(part_tokens: int | None, english_share: float = 1.0) -> Collator:
    pairs = np.array([[0, 1], [2, 3], [4, 5]])  # English, other
    english, own = (Target(encoder="assistant", side=side) for side in ("english", "own"))
    targets = {english: Vectors(), own: Vectors()}
    return Collator(pairs, Tokens(), np.arange(10), 1, targets, part_tokens, english_share)  # type: ignore[arg-type]


def test_parts_group_sentences_by_length_within_a_limit_and_places_restore_their_order() -> None:
    # Pairs 2 and 0 are the sentences 4, 0 (English) and 5, 1, with 3, 2, 2 and 6 tokens. Longest first, with at most 6
    # tokens per part, padding included: sentence 1; sentence 4 and one of two tokens (2 x 3 = 6); the other one alone.
    batch = collator(6)([2, 0])
    assert [part["input_ids"].tolist() for part in batch["parts"]] == [
        [[5, 6, 7, 8, 9, 9]],
        [[9, 9, 9], [5, 6, 1]],
        [[6, 5]],
    ]
    assert [part["attention_mask"].tolist() for part in batch["parts"]] == [[[1] * 6], [[1, 1, 1], [1, 1, 0]], [[1, 1]]]
    rows = [row[: sum(mask)] for part in batch["parts"] for row, mask in rows_of(part)]
    assert [rows[place] for place in batch["places"]] == [TOKENS[4], TOKENS[0], TOKENS[5], TOKENS[1]]
    assert [target[:, 0].tolist() for target in batch["targets"]] == [[4, 0, 4, 0], [4, 0, 5, 1]]


def rows_of(part: Part) -> list[tuple[list[int], list[int]]]:
    return list(zip(part["input_ids"].tolist(), part["attention_mask"].tolist(), strict=True))


def test_without_a_limit_a_batch_is_one_part() -> None:
    batch = collator(None)([0, 1, 2])
    assert [list(part["input_ids"].shape) for part in batch["parts"]] == [[6, 6]]


@pytest.mark.parametrize(
    ("share", "english", "own"),
    [
        # Two thirds of three pairs are two: the first and the last of the batch, whose pairs are sorted by length.
        (0.67, [4, 2, 4, 2, 0], [4, 2, 5, 3, 1]),
        (0.1, [4, 4, 0, 2], [4, 5, 1, 3]),  # at least one pair
    ],
)
def test_english_share_limits_the_english_sides_that_are_read(share: float, english: list[int], own: list[int]) -> None:
    batch = collator(None, share)([2, 0, 1])
    rows = [row[: sum(mask)] for part in batch["parts"] for row, mask in rows_of(part)]
    assert [rows[place] for place in batch["places"]] == [TOKENS[sentence] for sentence in own]
    assert [target[:, 0].tolist() for target in batch["targets"]] == [english, own]
    assert batch["english_count"] == len(own) - 3


def test_each_batch_has_its_own_bank_of_english_sentences() -> None:
    pairs = np.stack([np.arange(0, 200, 2), np.arange(1, 200, 2)], axis=1)  # English sentences are the even ones
    target = Target(encoder="assistant", side="english", bank=40)

    class OneToken(Tokens):
        def row(self, sentence: int) -> np.ndarray:
            return np.array([5])

    collate = Collator(pairs, OneToken(), np.arange(10), 1, {target: Vectors()})  # type: ignore[arg-type]
    (one,), (again,), (other,) = (collate(indices)["targets"] for indices in ([3, 7], [3, 7], [3, 8]))
    assert one[:4, 0].tolist() == [6, 14, 6, 14]
    bank = one[4:, 0]
    assert len(bank) == 40
    assert (bank % 2 == 0).all()
    assert len(bank.unique()) > 20  # 40 draws from 100 give 33 different ones on average: 100 (1 - 0.99^40)
    assert torch.equal(one, again)
    assert not torch.equal(bank, other[4:, 0])


def test_a_bank_is_no_larger_than_the_corpus() -> None:
    pairs = np.array([[0, 1], [2, 3], [4, 5]])
    target = Target(encoder="assistant", side="english", bank=4096)
    (vectors,) = Collator(pairs, Tokens(), np.arange(10), 1, {target: Vectors()})([0])["targets"]  # type: ignore[arg-type]
    assert vectors.shape == (2 + 3, 1)


@pytest.mark.parametrize("part_tokens", [6, 12])
def test_parts_do_not_change_the_gradient(part_tokens: int, tmp_path: Path) -> None:
    model = SentenceTransformer(str(save_toy_encoder(tmp_path / "toy")), device="cpu")
    training = Training(objectives=(PullToTarget(target=Target(encoder="assistant", side="own")),), pairs=3, seed=0)
    student = Student(model, training).eval()

    def gradient(batch: Batch) -> torch.Tensor:
        student.zero_grad()
        student(batch["parts"], batch["places"]).vectors[:, :3].mul(torch.arange(6)[:, None]).sum().backward()
        return torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])

    whole = gradient(collator(None)([0, 1, 2]))
    torch.testing.assert_close(gradient(collator(part_tokens)([0, 1, 2])), whole, rtol=1e-4, atol=1e-5)
    assert whole.norm() > 0.1
