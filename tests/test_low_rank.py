"""Low-rank linear maps: nearest to the original on its own inputs; saved, counted and looped like any other layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from xlbench.api import Loop, LowRank
from xlbench.distill.low_rank import input_moments
from xlbench.errors import XlbenchError
from xlbench.plugins.registry import load_registry
from xlbench.students.load import save_student
from xlbench.students.low_rank import LowRankLinear, factorise_linear_maps, linear_maps
from xlbench.students.shape import MINILM, rank_for_share
from xlbench.students.surgery import stock_encoder, transformer_shape
from xlbench.testing.toys import toy_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.distill.context import StageContext

TEXTS = ["cat sees dog", "old house near green tree", "bread"]


def test_the_rank_keeps_the_share_of_the_parameters() -> None:
    # 0.5 x 384 x 384 / 768 = 96; 0.5 x 384 x 1536 / 1920 = 153.6, rounded down to a multiple of 8.
    assert rank_for_share(384, 384, 0.5) == 96
    assert rank_for_share(384, 1536, 0.5) == rank_for_share(1536, 384, 0.5) == 152
    # Ranks below 8 are only rounded down, to at least 1.
    assert (rank_for_share(16, 16, 0.5), rank_for_share(4, 4, 0.1)) == (4, 1)


def test_twelve_low_rank_layers_are_no_larger_than_six_full_ones() -> None:
    # Of each layer: four maps of 2 x 96 x 384, two of 152 x 1920, biases 4 x 384 + 1536 + 384, LayerNorms 4 x 384.
    low_rank = MINILM.with_low_rank(0.5)
    assert low_rank.encoder_parameters == 12 * (4 * 73_728 + 2 * 291_840 + 3_456 + 1_536)
    assert low_rank.encoder_parameters < MINILM.with_layers(6, 2).encoder_parameters


def test_on_uncorrelated_inputs_the_nearest_map_is_the_truncated_singular_value_decomposition() -> None:
    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Linear(12, 20)])
    weight, bias = layers[0].weight.detach().double(), layers[0].bias.detach()
    factorise_linear_maps(layers, 0.5, {"0": torch.eye(12, dtype=torch.float64)})
    low_rank = layers[0]
    assert isinstance(low_rank, LowRankLinear)
    # The rank is 3: 0.5 x 12 x 20 / 32 = 3.75.
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    best = (left[:, :3] * values[:3]) @ right[:3]
    torch.testing.assert_close((low_rank.up.weight @ low_rank.down.weight).double(), best, atol=1e-5, rtol=0)
    torch.testing.assert_close(low_rank.up.bias, bias)


def test_a_map_is_exact_on_inputs_of_no_higher_rank() -> None:
    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Linear(12, 20)])
    # Inputs of rank 3, like the map.
    inputs = torch.randn(500, 3, dtype=torch.float64) @ torch.randn(3, 12, dtype=torch.float64)
    before = layers[0](inputs.float())
    factorise_linear_maps(layers, 0.5, {"0": inputs.T @ inputs})
    torch.testing.assert_close(layers[0](inputs.float()), before, atol=2e-2, rtol=0)
    # With moments that say nothing about the inputs, the error of the same rank is much larger.
    torch.manual_seed(0)
    uninformed = nn.ModuleList([nn.Linear(12, 20)])
    factorise_linear_maps(uninformed, 0.5, {"0": torch.eye(12, dtype=torch.float64)})
    assert (uninformed[0](inputs.float()) - before).abs().max() > 0.2


def test_moments_leave_padding_out(context: StageContext) -> None:
    encoder = stock_encoder(context.load("toy"))
    tokens = context.tokens(context.load("toy"))
    together = input_moments(encoder, tokens, [0, 1, 2, 3])
    alone = [input_moments(encoder, tokens, [sentence]) for sentence in range(4)]
    assert set(together) == set(linear_maps(encoder.encoder.layer))
    for name, moment in together.items():
        expected = torch.stack([moments[name] for moments in alone]).sum(0)
        torch.testing.assert_close(moment, expected, rtol=1e-4, atol=1e-4)
    # The first map reads the output of a LayerNorm, so the squares of each token sum to the toy's hidden size of 16.
    tokens_read = sum(len(tokens.row(sentence)) for sentence in range(4))
    assert together["0.attention.self.query"].trace().item() == pytest.approx(16 * tokens_read, rel=1e-3)


def test_a_low_rank_student_is_saved_loaded_and_counted(context: StageContext, tmp_path: Path) -> None:
    model = context.load("toy")
    declared = LowRank(share=0.5).reshape(transformer_shape(stock_encoder(model)))
    before = sum(parameter.numel() for parameter in model.parameters())
    student = LowRank(share=0.5).apply(model, context)
    save_student(student, tmp_path / "student")
    loaded = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_array_equal(loaded.encode(TEXTS), student.encode(TEXTS))
    shape = transformer_shape(stock_encoder(loaded))
    assert shape == declared
    assert shape.parameters == sum(parameter.numel() for parameter in loaded.parameters()) < before


def test_looped_layers_can_be_factorised_but_not_twice(context: StageContext) -> None:
    model = Loop(layers=2, repeats=2).apply(context.load("toy"), context)
    assert len(list(stock_encoder(LowRank(share=0.5).apply(model, context)).encoder.layer)) == 4
    with pytest.raises(XlbenchError, match="have a low rank already"):
        LowRank(share=0.5).reshape(transformer_shape(stock_encoder(model)))


def test_the_method_keeps_the_size_of_a_looped_student_and_refuses_one_without_loops() -> None:
    method = load_registry().methods["low-rank"]
    options = method.options()
    experiment = toy_experiment("low-rank", options)  # two layers that run twice
    stage = method.plan(experiment, options).stage("recurrent")
    assert stage is not None
    assert stage.edits[-2:] == (Loop(layers=4), LowRank(share=0.5))
    once = experiment.model_copy(update={"student": experiment.student.model_copy(update={"repeats": 1})})
    with pytest.raises(XlbenchError, match="runs its layers once"):
        method.plan(once, options)
    stage = method.plan(once, method.options.model_validate({"rank_share": 0.25})).stage("recurrent")
    assert stage is not None
    assert stage.edits[-1] == LowRank(share=0.25)
