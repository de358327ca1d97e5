"""Evaluation on the dev pairs: what it measures, and when it stops a stage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from xlbench import XlbenchError
from xlbench.distill.health import Evaluation, bitext_accuracy, check_health, mean_cosine


def evaluation(loss: float = 1.0, accuracy: float = 0.5, mean_cosine: float = 0.1, step: int = 10) -> Evaluation:
    return Evaluation(step=step, loss=loss, accuracy=accuracy, mean_cosine=mean_cosine)


def test_accuracy_is_the_mean_over_languages() -> None:
    english = torch.eye(4)
    other = english[[0, 1, 3, 2]]
    # In the first language both translations are found, in the second one they are exchanged.
    assert bitext_accuracy(english, other, np.array([0, 0, 1, 1])) == 0.5


def test_mean_cosine_leaves_the_diagonal_out() -> None:
    # The cosines of the three pairs of rows are 0, 1 / sqrt(2) and 1 / sqrt(2).
    rows = torch.tensor([[1.0, 0.0], [0.0, 5.0], [2.0, 2.0]])
    assert mean_cosine(rows) == pytest.approx(2 / math.sqrt(2) / 3)


def test_vectors_of_zeros_are_alike() -> None:
    assert mean_cosine(torch.zeros(5, 3)) == 1
    # Of the ordered pairs of four rows, those of the two zero rows have the cosine 1, all others 0: 2 of 12.
    rows = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    assert mean_cosine(rows) == pytest.approx(2 / 12)


def test_a_point_of_accuracy_is_worth_about_one_per_cent_of_the_loss() -> None:
    assert evaluation(loss=1.0, accuracy=0.90).selection_score == pytest.approx(1.10)
    assert evaluation(loss=1.005, accuracy=0.91).selection_score < evaluation(loss=1.0, accuracy=0.90).selection_score


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (evaluation(loss=math.nan), "loss of nan"),
        (evaluation(loss=math.inf), "loss of inf"),
        (evaluation(loss=3.1, accuracy=0.45), "diverged"),
        (evaluation(mean_cosine=0.99), "collapsed"),
    ],
)
def test_a_diverged_and_a_collapsed_student_are_different_errors(now: Evaluation, message: str) -> None:
    with pytest.raises(XlbenchError, match=message):
        check_health("student", now, evaluation(), target_mean_cosine=0.1)


def test_in_the_first_steps_only_a_loss_that_is_not_finite_is_an_error() -> None:
    check_health("student", evaluation(mean_cosine=0.99, step=9), evaluation(), target_mean_cosine=0.1)
    check_health("student", evaluation(loss=3.1, step=9), evaluation(), target_mean_cosine=0.1)
    with pytest.raises(XlbenchError, match="loss of nan"):
        check_health("student", evaluation(loss=math.nan, step=1), evaluation(), target_mean_cosine=0.1)


def test_a_small_loss_may_grow_as_long_as_translations_are_found() -> None:
    # The loss of a student that equals its targets at the start can only rise.
    check_health("student", evaluation(loss=0.3, accuracy=0.46), evaluation(loss=0.02), target_mean_cosine=0.1)


def test_high_cosines_are_no_collapse_if_the_targets_have_them_too() -> None:
    check_health("student", evaluation(mean_cosine=0.99), evaluation(), target_mean_cosine=0.9)
    check_health("student", evaluation(loss=2.9), evaluation(), target_mean_cosine=0.1)


def test_a_student_that_is_collapsed_before_training_may_go_on() -> None:
    check_health("student", evaluation(mean_cosine=0.99), evaluation(mean_cosine=0.99), target_mean_cosine=0.1)
