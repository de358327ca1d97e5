"""Edits in a context: the bottleneck's weighting, and centring without a new parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from xlbench.api import Average, Bottleneck, Centre
from xlbench.errors import XlbenchError
from xlbench.students.surgery import stock_encoder

if TYPE_CHECKING:
    from xlbench.distill.context import StageContext


def test_centring_takes_the_mean_out_and_adds_no_parameter(context: StageContext) -> None:
    texts = context.english_sample(100)
    model = context.load("toy")
    before = model.encode(texts)
    size = sum(parameter.numel() for parameter in model.parameters())
    after = Centre().apply(model, context).encode(texts)
    assert sum(parameter.numel() for parameter in model.parameters()) == size
    # Exactly: subtract the mean of the unit vectors, then normalise. One length stands for all here.
    exact = before - before.mean(axis=0)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    cosines = (after * exact).sum(axis=1)
    assert cosines.min() > 0.99
    assert np.linalg.norm(after.mean(axis=0)) < 0.3 * np.linalg.norm(before.mean(axis=0))


def test_the_bottleneck_serves_the_tokens_of_the_corpus(context: StageContext) -> None:
    counts = context.tokens(context.load("toy")).counts(40)
    table = stock_encoder(context.load("toy")).embeddings.word_embeddings.weight.detach().numpy()

    def loss(weighting: str) -> float:
        cut = Bottleneck(width=3, weighting=weighting).apply(context.load("toy"), context)  # type: ignore[arg-type]
        got = stock_encoder(cut).embeddings.word_embeddings.weight.detach().numpy()
        return float((counts * ((got - table) ** 2).sum(axis=1)).sum())

    assert loss("frequency") < loss("uniform")


def test_the_tokens_that_the_corpus_uses_most_keep_their_rows(context: StageContext) -> None:
    model = context.load("toy")
    table = stock_encoder(model).embeddings.word_embeddings.weight.detach().numpy().copy()
    counts = context.tokens(model).counts(40)
    cut = Bottleneck(width=4, frequent_share=0.5).apply(model, context)
    got = stock_encoder(cut).embeddings.word_embeddings.weight.detach().numpy()
    # (40 + 16) x (4 - 2) / 16 - 1 = 6 rows in place of two columns.
    most = np.argsort(-counts, kind="stable")[:6]
    np.testing.assert_allclose(got[most], table[most], atol=1e-5)
    assert stock_encoder(cut).config.bottleneck == 2
    assert stock_encoder(cut).config.frequent == 6


def test_an_average_lies_between_two_encoders(context: StageContext) -> None:
    import torch

    model = context.load("toy")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    before = context.load("toy").state_dict()
    after = Average(other="toy", share=0.25).apply(model, context).state_dict()
    # A quarter of one and three quarters of three times as much: 2.5 times.
    weights = [name for name, _ in model.named_parameters()]
    for name in weights:
        torch.testing.assert_close(after[name], 2.5 * before[name])


def test_an_average_of_encoders_that_differ_is_refused(context: StageContext) -> None:
    cut = Bottleneck(width=3).apply(context.load("toy"), context)
    with pytest.raises(XlbenchError, match="'toy' has tensors of other names or shapes"):
        Average(other="toy", share=0.5).apply(cut, context)


def test_a_random_bottleneck_depends_on_its_seed_alone(context: StageContext) -> None:
    def table(seed: int) -> np.ndarray:
        cut = Bottleneck(width=3, start="random", seed=seed).apply(context.load("toy"), context)
        weights: np.ndarray = stock_encoder(cut).embeddings.word_embeddings.weight.detach().numpy()
        return weights

    np.testing.assert_array_equal(table(1), table(1))
    assert not np.array_equal(table(1), table(2))
