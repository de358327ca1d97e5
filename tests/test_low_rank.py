"""Maps of low rank: the nearest ones as their inputs see them, saved, counted and trained like any other part."""

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
from xlbench.students.low_rank import LowRankLinear, factorise_maps, linear_maps
from xlbench.students.shape import MINILM, rank_of
from xlbench.students.surgery import shape_of, stock_encoder
from xlbench.testing.toys import toy_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.distill.context import StageContext

TEXTS = ["cat sees dog", "old house near green tree", "bread"]


def test_ranks_at_half_of_the_parameters() -> None:
    # 0.5 x 384 x 384 / 768 = 96; 0.5 x 384 x 1536 / 1920 = 153.6, down to a multiple of 8. Small ones are not rounded.
    assert (rank_of(384, 384, 0.5), rank_of(384, 1536, 0.5), rank_of(1536, 384, 0.5)) == (96, 152, 152)
    assert (rank_of(16, 16, 0.5), rank_of(4, 4, 0.1)) == (4, 1)


def test_twelve_narrow_layers_are_no_larger_than_six_whole_ones() -> None:
    # A layer: four maps of 2 x 96 x 384, two of 152 x 1920; biases 4 x 384 + 1536 + 384, LayerNorms 4 x 384.
    narrow = MINILM.with_low_rank(0.5)
    assert narrow.encoder_parameters == 12 * (4 * 73_728 + 2 * 291_840 + 3_456 + 1_536)
    assert narrow.encoder_parameters < MINILM.with_layers(6, 2).encoder_parameters


def test_the_nearest_map_is_the_truncated_decomposition_where_all_inputs_count_alike() -> None:
    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Linear(12, 20)])
    weight, bias = layers[0].weight.detach().double(), layers[0].bias.detach()
    factorise_maps(layers, 0.5, {"0": torch.eye(12, dtype=torch.float64)})
    new = layers[0]
    assert isinstance(new, LowRankLinear)
    # 0.5 x 12 x 20 / 32 = 3.75.
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    best = (left[:, :3] * values[:3]) @ right[:3]
    torch.testing.assert_close((new.up.weight @ new.down.weight).double(), best, atol=1e-5, rtol=0)
    torch.testing.assert_close(new.up.bias, bias)


def test_a_map_is_kept_whole_on_inputs_of_few_directions() -> None:
    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Linear(12, 20)])
    inputs = torch.randn(500, 3, dtype=torch.float64) @ torch.randn(3, 12, dtype=torch.float64)  # rank 3, as the map
    before = layers[0](inputs.float())
    factorise_maps(layers, 0.5, {"0": inputs.T @ inputs})
    torch.testing.assert_close(layers[0](inputs.float()), before, atol=2e-2, rtol=0)
    # Without the moments the same rank leaves much more.
    torch.manual_seed(0)
    blind = nn.ModuleList([nn.Linear(12, 20)])
    factorise_maps(blind, 0.5, {"0": torch.eye(12, dtype=torch.float64)})
    assert (blind[0](inputs.float()) - before).abs().max() > 0.2


def test_moments_are_of_real_tokens_only(context: StageContext) -> None:
    encoder = stock_encoder(context.load("toy"))
    tokens = context.tokens(context.load("toy"))
    together = input_moments(encoder, tokens, [0, 1, 2, 3])
    alone = [input_moments(encoder, tokens, [sentence]) for sentence in range(4)]
    assert set(together) == set(linear_maps(encoder.encoder.layer))
    for name, moment in together.items():
        torch.testing.assert_close(moment, torch.stack([it[name] for it in alone]).sum(0), rtol=1e-4, atol=1e-4)
    # The first map reads the embedding layer's output, normalised: each token's squares sum to the toy's 16 columns.
    counted = sum(len(tokens.row(sentence)) for sentence in range(4))
    assert together["0.attention.self.query"].trace().item() == pytest.approx(16 * counted, rel=1e-3)


def test_a_narrow_student_is_saved_loaded_and_counted(context: StageContext, tmp_path: Path) -> None:
    model = context.load("toy")
    declared = LowRank(share=0.5).reshape(shape_of(stock_encoder(model)))
    before = sum(parameter.numel() for parameter in model.parameters())
    narrow = LowRank(share=0.5).apply(model, context)
    save_student(narrow, tmp_path / "student")
    loaded = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_array_equal(loaded.encode(TEXTS), narrow.encode(TEXTS))
    shape = shape_of(stock_encoder(loaded))
    assert shape == declared
    assert shape.parameters == sum(parameter.numel() for parameter in loaded.parameters()) < before


def test_layers_can_be_narrowed_and_looped_but_not_narrowed_twice(context: StageContext) -> None:
    model = Loop(layers=2, repeats=2).apply(context.load("toy"), context)
    assert len(list(stock_encoder(LowRank(share=0.5).apply(model, context)).encoder.layer)) == 4
    with pytest.raises(XlbenchError, match="have a low rank already"):
        LowRank(share=0.5).reshape(shape_of(stock_encoder(model)))


def test_the_method_is_as_large_as_the_student_says_and_refuses_one_without_loops() -> None:
    kind = load_registry().methods["low-rank"]
    options = kind.options()
    experiment = toy_experiment("low-rank", options)  # two layers that run twice
    stage = kind.plan(experiment, options).stage("recurrent")
    assert stage is not None
    assert stage.edits[-2:] == (Loop(layers=4), LowRank(share=0.5))
    once = experiment.model_copy(update={"student": experiment.student.model_copy(update={"repeats": 1})})
    with pytest.raises(XlbenchError, match="runs its layers once"):
        kind.plan(once, options)
    stage = kind.plan(once, kind.options.model_validate({"rank_share": 0.25})).stage("recurrent")
    assert stage is not None
    assert stage.edits[-1] == LowRank(share=0.25)
