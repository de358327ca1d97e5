"""What tasks take, counted from shapes and lengths: numbers worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from xlbench.distill.objectives import PullToTarget
from xlbench.distill.plan import Training
from xlbench.distill.stages import english_target
from xlbench.runs.estimate import CorpusLengths, forward_operations, step_operations, trained_parameters
from xlbench.runs.rates import Amounts, Rates
from xlbench.students.shape import Shape

if TYPE_CHECKING:
    from xlbench.distill.plan import Trainable

SHAPE = Shape(
    architecture="bert", vocabulary=50, hidden=8, intermediate=20, positions=16, types=2, layers=4, bottleneck=4
)
# Two sentences of 2 and 5 tokens; in a layer 1152 for a token and 32 n^2, in the bottleneck's map 64 for a token.
SHORT, LONG = 4 * (2 * 1152 + 32 * 4) + 2 * 64, 4 * (5 * 1152 + 32 * 25) + 5 * 64
CORPUS = CorpusLengths(np.array([2, 5]), np.array([[0, 1]]), np.array([[0, 1]]), used=10)


def training(**changes: object) -> Training:
    given = {"objectives": (PullToTarget(target=english_target("teacher")),), "pairs": 64, "seed": 0, **changes}
    return Training.model_validate(given)


def test_forward_passes_by_architecture_and_level() -> None:
    assert forward_operations(SHAPE, CORPUS.lengths) == SHORT + LONG
    assert forward_operations(SHAPE, CORPUS.lengths, "embeddings") == 7 * 64
    other = Shape(architecture="other", vocabulary=10, hidden=8, pooler=False, head=1000)
    assert forward_operations(other, CORPUS.lengths) == 7 * 2 * (1000 - 80)
    assert forward_operations(SHAPE.as_static(4), CORPUS.lengths) == 0


def test_steps_read_both_sides_of_all_pairs_and_of_english_their_share() -> None:
    # One step of 64 pairs: the only pair 64 times. Backward takes twice as much as forward.
    assert step_operations(SHAPE, training(), CORPUS) == 64 * 3 * (SHORT + LONG)
    assert step_operations(SHAPE, training(english_share=0.5), CORPUS) == 64 * 3 * (SHORT / 2 + LONG)
    assert step_operations(SHAPE, training(pairs=128), CORPUS) == 2 * 64 * 3 * (SHORT + LONG)
    assert step_operations(SHAPE, training(level="embeddings"), CORPUS) == 64 * 3 * 7 * 64
    cut = CORPUS._replace(lengths=np.array([2, 900]))  # to 8 tokens
    assert step_operations(SHAPE, training(max_tokens=8), cut) == 64 * 3 * (SHORT + 4 * (8 * 1152 + 32 * 64) + 8 * 64)


@pytest.mark.parametrize(
    ("trainable", "parameters"),
    [
        # Of 50 rows of the table 10 are used: (10 + 8) x 4, and (16 + 2 + 2) x 8 more in the embedding layer.
        ("embeddings", 72 + 160),
        # A layer: 4 x (64 + 8), 2 x 160 + 28, and 32 in norms.
        ("all", 72 + 160 + 4 * 668),
        ("all-but-token-embeddings", 160 + 4 * 668),
    ],
)
def test_the_optimiser_changes_the_rows_that_are_used(trainable: Trainable, parameters: int) -> None:
    assert trained_parameters(SHAPE, training(trainable=trainable), CORPUS.used) == parameters


def test_rates_turn_amounts_into_seconds() -> None:
    amounts = Amounts(encoded=10, loaded=1) + Amounts(encoded=2, trained=4)
    assert amounts == Amounts(encoded=12, loaded=1, trained=4)
    assert Rates(encoded=0.5, loaded=3, trained=0.25, moved=9).seconds(amounts) == 6 + 3 + 1
