"""The arithmetic of the loss terms, against values worked out by hand."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from xlbench.distill.objectives import MatchSimilarities, PairVectors, PullToTarget, Target

ENGLISH = Target(source="teacher", side="english")
SECOND = Target(source="teacher:1", side="english")


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


def test_a_similarity_matrix_is_of_english_vectors() -> None:
    with pytest.raises(ValidationError, match="side 'english'"):
        MatchSimilarities(mix=((Target(source="teacher", side="own"), 1.0),))


def test_nothing_is_left_to_learn_at_the_target() -> None:
    same = vectors([[0.6, 0.8], [1.0, 0.0]], [[0.6, 0.8], [1.0, 0.0]])
    assert PullToTarget(target=ENGLISH).loss(same, {ENGLISH: same}).item() == 0.0
    assert MatchSimilarities(mix=((ENGLISH, 1.0),)).loss(same, {ENGLISH: same}).item() == pytest.approx(0.0, abs=1e-12)
