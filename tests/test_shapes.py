"""Sizes of encoders: the published table of Ding et al. (2022) is reproduced to its last digit."""

from __future__ import annotations

import pytest

from xlbench import XlbenchError
from xlbench.experiment import StudentSpec
from xlbench.students.shape import MINILM, XLMR, Shape

# Base, width B, layers K; then millions of parameters as published, pooler included: in all, of the embedding layer.
TABLE = [
    (MINILM, None, 12, 117.7, 96.2),
    (MINILM, None, 6, 107.0, 96.2),
    (MINILM, None, 3, 101.7, 96.2),
    (MINILM, 256, 12, 85.7, 64.3),
    (MINILM, 256, 6, 75.1, 64.3),
    (MINILM, 256, 3, 69.8, 64.3),
    (MINILM, 128, 12, 53.7, 32.3),
    (MINILM, 128, 6, 43.1, 32.3),
    (MINILM, 128, 3, 37.7, 32.3),
    (XLMR, None, 12, 278.0, 192.4),
    (XLMR, None, 6, 235.5, 192.4),
    (XLMR, None, 3, 214.3, 192.4),
    (XLMR, 256, 12, 150.2, 64.6),
    (XLMR, 256, 6, 107.7, 64.6),
    (XLMR, 256, 3, 86.5, 64.6),
    (XLMR, 128, 12, 118.1, 32.5),
    (XLMR, 128, 6, 75.6, 32.5),
    (XLMR, 128, 3, 54.4, 32.5),
]


@pytest.mark.parametrize(("base", "width", "layers", "total", "embedding"), TABLE)
def test_the_size_table_is_reproduced(
    base: Shape, width: int | None, layers: int, total: float, embedding: float
) -> None:
    shape = base.cut(StudentSpec(name="x", bottleneck=width, layers=layers))
    # The table prints sums of rounded parts, e.g. 43,046,656 as 43.1 (32.3 + 10.6 + 0.15 for the pooler) and
    # 54,353,664 as 54.4. So the tolerance is slightly more than half a unit of the last digit; the next test is exact.
    assert shape.parameters / 1e6 == pytest.approx(total, abs=0.055)
    assert shape.embedding_parameters / 1e6 == pytest.approx(embedding, abs=0.05)


def test_a_student_counted_by_hand() -> None:
    # Table 250037 x 128, map 128 x 384, positions 512 x 384, types 2 x 384, LayerNorm 2 x 384; six layers of
    # 4 (384^2 + 384) + 2 x 384 x 1536 + 384 + 1536 + 4 x 384; pooler 384^2 + 384.
    embedding = 32_004_736 + 49_152 + 196_608 + 768 + 768
    half = MINILM.cut(StudentSpec(name="x", bottleneck=128, layers=6, repeats=2))
    assert half.parameters == embedding + 6 * 1_774_464 + 147_840 == 43_046_656
    assert MINILM.parameters == 117_653_760


def test_corrections_of_frequent_tokens_leave_the_size_unchanged() -> None:
    # Half of the bottleneck's parameters go to frequent tokens: (250,037 + 384) x 64 = 16,026,944 numbers are 41,736
    # rows of 384, with 320 numbers left over. One of the rows is the row of zeros for all other tokens.
    shared = MINILM.with_bottleneck(128, 0.5)
    assert (shared.bottleneck, shared.frequent) == (64, 41_735)
    assert shared.parameters == MINILM.with_bottleneck(128).parameters - 320


def test_the_layers_of_the_bases_counted_by_hand() -> None:
    # 12 x (4 (384^2 + 384) + 2 x 384 x 1536 + 384 + 1536 + 4 x 384) and the same with 768 and 3072.
    assert MINILM.encoder_parameters == 12 * 1_774_464
    assert XLMR.encoder_parameters == 12 * 7_087_872


def test_looping_layers_changes_the_executed_layers_and_not_the_stored_parameters() -> None:
    once = MINILM.cut(StudentSpec(name="x", bottleneck=128, layers=6))
    twice = MINILM.cut(StudentSpec(name="x", bottleneck=128, layers=6, repeats=2))
    assert (once.executed_layers, twice.executed_layers) == (6, 12)
    assert once.parameters == twice.parameters


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (StudentSpec(name="wide", bottleneck=384, layers=6), "not narrower than the assistant"),
        (StudentSpec(name="deep", layers=13), "has only 12"),
        (StudentSpec(name="other", layers=6, hidden=768), "hidden size 768, this one has 384"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(spec: StudentSpec, message: str) -> None:
    with pytest.raises(XlbenchError, match=message):
        MINILM.cut(spec)


def test_cutting_twice_is_refused() -> None:
    half = MINILM.cut(StudentSpec(name="x", bottleneck=128, layers=6, repeats=2))
    with pytest.raises(XlbenchError, match="bottleneck of 128 already"):
        half.with_bottleneck(64)
    with pytest.raises(XlbenchError, match="looped already"):
        half.with_layers(3, 2)
