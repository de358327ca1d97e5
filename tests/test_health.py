"""Looks at the dev pairs: what they measure, and when they stop a run."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from xlbench import XlbenchError
from xlbench.distill.health import Evaluation, bitext_accuracy, check_health, mean_cosine


def look(loss: float = 1.0, accuracy: float = 0.5, spread: float = 0.1, step: int = 10) -> Evaluation:
    return Evaluation(step=step, loss=loss, accuracy=accuracy, spread=spread)


def test_accuracy_is_counted_by_language_and_then_averaged() -> None:
    english = torch.eye(4)
    other = english[[0, 1, 3, 2]]
    # First language: both right. Second: its two translations are exchanged.
    assert bitext_accuracy(english, other, np.array([0, 0, 1, 1])) == 0.5


def test_mean_cosine_leaves_the_diagonal_out() -> None:
    # Cosines 0, 1 / sqrt 2 and 1 / sqrt 2 over three pairs.
    rows = torch.tensor([[1.0, 0.0], [0.0, 5.0], [2.0, 2.0]])
    assert mean_cosine(rows) == pytest.approx(2 / math.sqrt(2) / 3)


def test_a_point_of_accuracy_is_worth_about_a_per_cent_of_loss() -> None:
    assert look(loss=1.0, accuracy=0.90).choice == pytest.approx(1.10)
    assert look(loss=1.005, accuracy=0.91).choice < look(loss=1.0, accuracy=0.90).choice


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (look(loss=math.nan), "loss of nan"),
        (look(loss=math.inf), "loss of inf"),
        (look(loss=3.1, accuracy=0.45), "diverged"),
        (look(spread=0.99), "collapsed"),
    ],
)
def test_a_hopeless_run_is_stopped_with_its_cause(now: Evaluation, words: str) -> None:
    with pytest.raises(XlbenchError, match=words):
        check_health("student", now, look(), target_mean_cosine=0.1)


def test_the_first_steps_may_throw_a_student_but_not_out_of_the_numbers() -> None:
    check_health("student", look(spread=0.99, step=9), look(), target_mean_cosine=0.1)
    check_health("student", look(loss=3.1, step=9), look(), target_mean_cosine=0.1)
    with pytest.raises(XlbenchError, match="loss of nan"):
        check_health("student", look(loss=math.nan, step=1), look(), target_mean_cosine=0.1)


def test_a_loss_that_was_small_may_grow_while_translations_are_found() -> None:
    # A stage that begins at its targets can only leave them.
    check_health("student", look(loss=0.3, accuracy=0.46), look(loss=0.02), target_mean_cosine=0.1)


def test_high_cosines_are_no_collapse_where_the_targets_have_them_too() -> None:
    check_health("student", look(spread=0.99), look(), target_mean_cosine=0.9)
    check_health("student", look(loss=2.9), look(), target_mean_cosine=0.1)


def test_a_student_that_surgery_left_collapsed_is_trained_on() -> None:
    check_health("student", look(spread=0.99), look(spread=0.99), target_mean_cosine=0.1)
