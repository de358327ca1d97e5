"""The arithmetic of the loss terms, against values worked out by hand."""

from __future__ import annotations

from math import e

import pytest
import torch
from pydantic import ValidationError

from xlbench.distill.objectives import MatchNeighbours, MatchSimilarities, PairVectors, PullToTarget, Target

ENGLISH = Target(encoder="teacher", side="english")
SECOND = Target(encoder="teacher:1", side="english")


def vectors(english: list[list[float]], other: list[list[float]]) -> PairVectors:
    return PairVectors(torch.tensor(english), torch.tensor(other))


def test_pull_is_the_mean_over_pairs_of_the_summed_squares_of_both_sides() -> None:
    student = vectors([[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [1.0, 1.0]])
    target = vectors([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    # English: (1 + 4) / 2; other: (1 + 2) / 2.
    assert PullToTarget(target=ENGLISH).loss(student, {ENGLISH: target}).item() == pytest.approx(4.0)
    assert PullToTarget(target=ENGLISH, weight=0.5).loss(student, {ENGLISH: target}).item() == pytest.approx(2.0)


def test_similarities_compare_english_rows_with_other_columns() -> None:
    student = vectors([[2.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [1.0, 0.0]])
    target = vectors([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
    # Student cosines, rows English, columns other: [[1, 1], [0, 0]]; the teacher's: [[1, 0], [0, 1]].
    # Squared differences 0, 1, 0, 1: mean 0.5.
    term = MatchSimilarities(mix=((ENGLISH, 1.0),))
    assert term.loss(student, {ENGLISH: target}).item() == pytest.approx(0.5)


def test_similarities_of_all_sides_are_the_mean_of_three_matrices() -> None:
    student = vectors([[2.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [1.0, 0.0]])
    target = vectors([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
    # Against the teacher's [[1, 0], [0, 1]]: across 0.5 as above; English by English the same matrix, 0; other by
    # other [[1, 1], [1, 1]], 0.5. Their mean is a third.
    term = MatchSimilarities(mix=((ENGLISH, 1.0),), sides="all")
    assert term.loss(student, {ENGLISH: target}).item() == pytest.approx(1 / 3)


def test_two_teachers_are_mixed_by_share_before_the_difference() -> None:
    student = vectors([[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]])  # all cosines 1
    one = vectors([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])  # off the diagonal: 0
    two = vectors([[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]])  # off the diagonal: 1
    term = MatchSimilarities(mix=((ENGLISH, 3.0), (SECOND, 1.0)), weight=2.0)
    # Off the diagonal the mix is 0.25, so the difference is 0.75 twice among four: 2 x 0.75^2 x 2 / 4.
    assert term.loss(student, {ENGLISH: one, SECOND: two}).item() == pytest.approx(0.5625)


def test_fewer_english_sides_leave_the_other_sides_whole() -> None:
    student = vectors([[1.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]])
    target = vectors([[0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    # English, one row: 1; other, two rows: (1 + 2) / 2.
    assert PullToTarget(target=ENGLISH).loss(student, {ENGLISH: target}).item() == pytest.approx(2.5)
    student = vectors([[1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]])
    target = vectors([[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]])  # cosines [[1, 0], [0, 1]]
    # Across: [0, 0] against [1, 0], 0.5; English by English: [1] against [1], 0; other by other: [[1, 1], [1, 1]]
    # against [[1, 0], [0, 1]], 0.5. Their mean is a third.
    term = MatchSimilarities(mix=((ENGLISH, 1.0),), sides="all")
    assert term.loss(student, {ENGLISH: target}).item() == pytest.approx(1 / 3)


def test_neighbours_are_those_of_the_batch_and_of_the_bank() -> None:
    # Neighbours [1, 0], the pair's own, and [0, 1], the bank's. Of the target's cosines (1, 0) the softmax is
    # (e, 1) / (e + 1); the English side has (0, 1), so (1, e) / (e + 1), and the other side, at any length, the
    # target's. Divergences (e x 1 - 1 x 1) / (e + 1) and 0: the mean is half of the first.
    wanted = vectors([[1.0, 0.0]], [[1.0, 0.0]])._replace(bank=torch.tensor([[0.0, 5.0]]))
    student = vectors([[0.0, 1.0]], [[3.0, 0.0]])
    term = MatchNeighbours(target=ENGLISH, temperature=1.0, weight=4.0)
    assert term.loss(student, {ENGLISH: wanted}).item() == pytest.approx(4.0 * (e - 1) / (e + 1) / 2)
    # Without the bank there is one neighbour, whose share is 1 whatever the student does.
    assert term.loss(student, {ENGLISH: wanted._replace(bank=None)}).item() == pytest.approx(0.0, abs=1e-7)


def test_a_lower_temperature_weights_fewer_neighbours() -> None:
    # As above with cosines over 0.5: shares (e^2, 1) / (e^2 + 1), log ratios 2 and -2.
    wanted = vectors([[1.0, 0.0]], [[1.0, 0.0]])._replace(bank=torch.tensor([[0.0, 1.0]]))
    student = vectors([[0.0, 1.0]], [[1.0, 0.0]])
    term = MatchNeighbours(target=ENGLISH, temperature=0.5)
    assert term.loss(student, {ENGLISH: wanted}).item() == pytest.approx((e**2 - 1) / (e**2 + 1))


def test_neighbours_and_banks_are_english() -> None:
    own = Target(encoder="teacher", side="own")
    with pytest.raises(ValidationError, match="neighbours are an encoder's English vectors"):
        MatchNeighbours(target=own)
    with pytest.raises(ValidationError, match="a bank is of an encoder's English sentences"):
        Target(encoder="teacher", side="own", bank=8)


def test_a_target_is_serialised_with_all_its_fields() -> None:
    assert ENGLISH.model_dump() == {"encoder": "teacher", "side": "english", "level": "sentence", "bank": 0}


def test_a_similarity_matrix_is_of_english_vectors() -> None:
    with pytest.raises(ValidationError, match="side 'english'"):
        MatchSimilarities(mix=((Target(encoder="teacher", side="own"), 1.0),))


def test_the_loss_is_zero_at_the_target() -> None:
    same = vectors([[0.6, 0.8], [1.0, 0.0]], [[0.6, 0.8], [1.0, 0.0]])
    assert PullToTarget(target=ENGLISH).loss(same, {ENGLISH: same}).item() == 0.0
    assert MatchSimilarities(mix=((ENGLISH, 1.0),)).loss(same, {ENGLISH: same}).item() == pytest.approx(0.0, abs=1e-12)
    assert MatchNeighbours(target=ENGLISH).loss(same, {ENGLISH: same}).item() == pytest.approx(0.0, abs=1e-6)
