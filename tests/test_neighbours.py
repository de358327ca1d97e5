"""Nearest neighbours: block search is what comparing all with all gives; an index, with its recall; margins by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from xlbench.errors import XlbenchError
from xlbench.retrieval import exact, index, neighbours
from xlbench.retrieval.exact import Neighbours, exact_both_ways, exact_neighbours
from xlbench.retrieval.margins import mine_pairs
from xlbench.retrieval.vectors import Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cloud(count: int, seed: int, width: int = 24) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def brute(queries: NDArray[np.float32], corpus: NDArray[np.float32], k: int) -> Neighbours:
    units = [it / np.linalg.norm(it, axis=1, keepdims=True) for it in (queries.astype(float), corpus.astype(float))]
    cosines = units[0] @ units[1].T
    ids = np.argsort(-cosines, axis=1)[:, :k]
    return Neighbours(np.take_along_axis(cosines, ids, axis=1).astype(np.float32), ids)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 10), (64, 64), (500, 3)])
def test_a_search_in_blocks_of_any_size_gives_what_comparing_all_with_all_gives(
    rows: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "ROWS", rows)
    monkeypatch.setattr(exact, "COLUMNS", columns)
    first, second = cloud(37, 0), 3 * cloud(50, 1)  # lengths are no matter
    forward, backward = exact_both_ways(Vectors(first), Vectors(second), (4, 3), device="cpu")
    for found, expected in ((forward, brute(first, second, 4)), (backward, brute(second, first, 3))):
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_allclose(found.cosines, expected.cosines, atol=1e-6)
    alone = exact_neighbours(Vectors(first), Vectors(second), 4, device="cpu")
    np.testing.assert_array_equal(alone.ids, forward.ids)


def test_some_rows_of_an_array_are_searched_as_if_they_were_all() -> None:
    array, queries = cloud(40, 2), Vectors(cloud(5, 3))
    rows = np.array([30, 4, 17, 8], np.int64)
    found = exact_neighbours(queries, Vectors(array, rows), 2, device="cpu")
    np.testing.assert_array_equal(found.ids, exact_neighbours(queries, Vectors(array[rows]), 2, device="cpu").ids)
    np.testing.assert_array_equal(Vectors(array, rows).part(1, 3).block(0, 9), Vectors(array[[4, 17]]).block(0, 9))


def test_a_vector_of_zeros_is_near_to_nothing() -> None:
    corpus = np.array([[0, 0], [1, 0]], np.float32)
    found = exact_neighbours(Vectors(np.array([[2, 0]], np.float32)), Vectors(corpus), 2, device="cpu")
    assert found.ids.tolist() == [[1, 0]]
    assert found.cosines.tolist() == [[1, 0]]


# Unit vectors of two dimensions, by their tenths. x0 = (1, 0), x1 = (0, 1); y0 = (0.8, 0.6), y1 = (0.6, 0.8),
# y2 = (1, 0). Cosines: x0: 0.8, 0.6, 1; x1: 0.6, 0.8, 0. With k = 2:
#   NN(x0) = y2, y0: mean (1 + 0.8) / 2 = 0.9       NN(x1) = y1, y0: mean (0.8 + 0.6) / 2 = 0.7
#   NN(y0) = x0, x1: mean 0.7;  NN(y1) = x1, x0: mean 0.7;  NN(y2) = x0, x1: mean 0.5
# Margin = cosine / ((mean of x + mean of y) / 2):
#   x0 y2: 1 / 0.7 = 10/7;  x0 y0: 0.8 / 0.8 = 1;  x0 y1: 0.6 / 0.8 = 0.75
#   x1 y1: 0.8 / 0.7 = 8/7;  x1 y0: 0.6 / 0.7 = 6/7;  x1 y2: 0
X = np.array([[1, 0], [0, 1]], np.float32)
Y = np.array([[0.8, 0.6], [0.6, 0.8], [1, 0]], np.float32)


@pytest.mark.parametrize(
    ("retrieval", "expected"),
    [
        ("forward", [(0, 2, 10 / 7), (1, 1, 8 / 7)]),
        ("backward", [(0, 2, 10 / 7), (1, 1, 8 / 7), (0, 0, 1)]),  # y0's best is x0
        ("intersection", [(0, 2, 10 / 7), (1, 1, 8 / 7)]),
        ("max", [(0, 2, 10 / 7), (1, 1, 8 / 7)]),  # x0 is in a pair already when y0 asks for it
    ],
)
def test_margins_and_the_pairs_of_each_retrieval_are_those_derived_by_hand(
    retrieval: Literal["forward", "backward", "intersection", "max"], expected: list[tuple[int, int, float]]
) -> None:
    forward, backward = exact_both_ways(Vectors(X), Vectors(Y), (2, 2), device="cpu")
    found = mine_pairs(forward, backward, retrieval, threshold=0.0)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [pair[:2] for pair in expected]
    np.testing.assert_allclose(found.margin, [margin for *_, margin in expected], rtol=1e-6)
    above = mine_pairs(forward, backward, retrieval, threshold=1.2)
    assert above.first.tolist() == [0]


def test_max_gives_each_sentence_to_its_largest_margin_and_leaves_the_others_alone() -> None:
    # Both x point at y0, the nearer with the larger margin; y1 points at x0 too. With k = 1, margins are at most 1.
    forward = Neighbours(np.array([[0.9], [0.8]], np.float32), np.array([[0], [0]]))
    backward = Neighbours(np.array([[0.9], [0.5]], np.float32), np.array([[0], [0]]))
    found = mine_pairs(forward, backward, "max", threshold=0.0)
    assert (found.first.tolist(), found.second.tolist()) == ([0], [0])
    # x1 y0: 0.8 / ((0.8 + 0.9) / 2); x0 y1: 0.5 / ((0.9 + 0.5) / 2)
    ahead = mine_pairs(forward, backward, "forward", threshold=0.0)
    np.testing.assert_allclose(ahead.margin, [1, 0.8 / 0.85], rtol=1e-6)
    behind = mine_pairs(forward, backward, "backward", threshold=0.0)
    np.testing.assert_allclose(behind.margin, [1, 0.5 / 0.7], rtol=1e-6)


def test_neighbourhoods_around_zero_give_finite_margins_without_a_change_of_sign() -> None:
    forward = Neighbours(np.array([[0.1, -0.3]], np.float32), np.array([[0, 1]]))
    backward = Neighbours(np.array([[0.1], [-0.3]], np.float32), np.array([[0], [0]]))
    found = mine_pairs(forward, backward, "forward", threshold=-100)
    # The means are -0.1 and 0.1, so that 0.01 is taken instead of 0.
    np.testing.assert_allclose(found.margin, [0.1 / 0.01], rtol=1e-5)


def test_no_candidates_give_no_pairs() -> None:
    forward, backward = exact_both_ways(Vectors(X), Vectors(Y), (2, 2), device="cpu")
    assert len(mine_pairs(forward, backward, "max", threshold=2).first) == 0


def grouped(count: int, seed: int) -> NDArray[np.float32]:
    """Vectors of 30 numbers, which 4 does not divide, around 60 centres, as sentences of subjects have them."""
    centres = cloud(60, 99, 30)
    which = np.random.default_rng(seed).integers(0, 60, count)
    return centres[which] + 0.7 * cloud(count, seed + 1, 30)


def test_an_index_finds_what_it_promises_and_its_measured_recall_is_the_share_of_the_exact_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(index, "SHARD", 2500)  # so that the corpus has three, of which one is smaller
    queries, corpus = grouped(900, 0), grouped(6000, 5)
    found, way = neighbours.neighbours(Vectors(queries), Vectors(corpus), 4, exact=False, device="cpu", quiet=True)
    expected = brute(queries, corpus, 4)
    shares = np.array([len({*one} & {*other}) / 4 for one, other in zip(found.ids, expected.ids, strict=True)])
    assert way.recall is not None
    assert index.WANTED - 0.03 < shares.mean() < 1
    # Measured on all but the first 7 queries.
    assert way.recall == pytest.approx(shares[7:].mean(), abs=1e-9)
    assert f"finds {100 * way.recall:.1f} % of the 4 nearest" in str(way)
    # Cosines are those of the sentences that were found.
    units = [it / np.linalg.norm(it, axis=1, keepdims=True) for it in (queries, corpus)]
    np.testing.assert_allclose(found.cosines[:, 0], (units[0] * units[1][found.ids[:, 0]]).sum(axis=1), atol=1e-6)
    again, _ = neighbours.neighbours(Vectors(queries), Vectors(corpus), 4, exact=False, device="cpu", quiet=True)
    np.testing.assert_array_equal(found.ids, again.ids)


def test_an_index_takes_over_beyond_a_size_and_the_remedy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "find_spec", lambda name: None)
    assert neighbours.is_exact(10**5, 10**5, None, "cpu")
    assert neighbours.is_exact(10**6, 10**6, True, "cpu")
    assert neighbours.is_exact(10**6, 10**6, None, "cuda")
    with pytest.raises(
        XlbenchError, match=r"^Comparing 100,000 sentences with 100,001 goes through an index"
    ) as refused:
        neighbours.is_exact(10**5, 10**5 + 1, None, "cpu")
    assert "pip install 'xlbench[search]'" in refused.value.remedy
    assert "--exact" in refused.value.remedy
    monkeypatch.setattr(index, "find_spec", lambda name: object())
    assert not neighbours.is_exact(10**5, 10**5 + 1, None, "cpu")
    assert not neighbours.is_exact(10, 10, False, "cpu")
