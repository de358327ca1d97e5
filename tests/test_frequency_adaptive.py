"""Frequency-adaptive embedding: whole rows of frequent tokens beside narrow ones, in the size of a student spec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from xlbench.api import FrequencyAdaptiveEmbedding, Loop, TrimVocabulary
from xlbench.errors import XlbenchError
from xlbench.plugins.registry import load_registry
from xlbench.students.shape import MINILM
from xlbench.students.surgery import stock_encoder, transformer_shape
from xlbench.testing.toys import toy_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.distill.context import StageContext


def test_twelve_whole_layers_fit_into_the_bytes_of_six() -> None:
    half = MINILM.with_bottleneck(128).with_layers(6, 2)
    shape = FrequencyAdaptiveEmbedding(width=16, layers=6, bottleneck=128).reshape(MINILM)
    # Six layers of 1,774,464 take the place of (V + H) (128 - 16) = 28,047,152 parameters of the table, and the rest,
    # 17,400,368, holds 45,313 rows of 384, one of them the zeros of the tokens without a correction.
    assert MINILM.encoder_parameters // 2 == 6 * 1_774_464
    assert (250_037 + 384) * 112 - 6 * 1_774_464 == 17_400_368
    assert shape.frequent == 17_400_368 // 384 - 1 == 45_312
    assert (shape.layers, shape.repeats, shape.bottleneck) == (12, 1, 16)
    assert 0 <= half.parameters - shape.parameters < 384


def test_frequent_tokens_keep_their_rows_and_the_rest_lie_in_few_directions(context: StageContext) -> None:
    model = context.load("toy")
    before = stock_encoder(model).embeddings.word_embeddings.weight.detach().numpy().copy()
    counts = context.tokens(model).counts(40)
    edit = FrequencyAdaptiveEmbedding(width=2, layers=4, bottleneck=8)
    declared = edit.reshape(transformer_shape(stock_encoder(model)))
    cut = edit.apply(model, context)
    after = stock_encoder(cut).embeddings.word_embeddings.weight.detach().numpy()
    # As in a toy of 40 x 16: (40 + 16) x (8 - 2) / 16 - 1 = 20 rows.
    most = np.argsort(-counts, kind="stable")[:20]
    np.testing.assert_allclose(after[most], before[most], atol=1e-5)
    rare = np.setdiff1d(np.arange(40), most)
    assert np.linalg.matrix_rank(after[rare], tol=1e-4) == 2
    assert transformer_shape(stock_encoder(cut)) == declared
    assert declared.frequent == 20


def test_a_trimmed_vocabulary_leaves_room_for_more_whole_rows_in_the_same_size(
    context: StageContext, tmp_path: Path
) -> None:
    from xlbench.students.load import load_student
    from xlbench.testing.toys import save_toy_encoder

    model = load_student(save_toy_encoder(tmp_path / "many-rows", rows=100))  # 40 tokens, and 60 rows without one
    before = stock_encoder(model).embeddings.word_embeddings.weight.detach().numpy().copy()
    shape = transformer_shape(stock_encoder(model))
    edit = FrequencyAdaptiveEmbedding(width=2, layers=4, bottleneck=4, trim=TrimVocabulary())
    declared = edit.reshape(shape)
    # A bottleneck of 4 on 100 x 16 has 464 parameters, two columns have 232: 232 / 16 - 1 = 13 rows.
    assert (declared.vocabulary, declared.frequent, declared.trimmed) == (100, 13, True)
    cut = edit.apply(model, context)
    made = transformer_shape(stock_encoder(cut))
    # Two columns for 40 tokens are 120 parameters less: 13 + 120 / 16 = 20 rows.
    assert (made.vocabulary, made.frequent) == (40, 20)
    assert declared.parameters - 16 < made.parameters <= declared.parameters
    assert declared.admits(made)
    assert not declared.admits(made.model_copy(update={"frequent": 21}))
    after = stock_encoder(cut).embeddings.word_embeddings.weight.detach().numpy()
    most = np.argsort(-context.tokens(cut).counts(40), kind="stable")[:20]
    np.testing.assert_allclose(after[most], before[most], atol=1e-5)  # the toy's 40 tokens keep their numbers
    assert context.metadata["languages"] == ["en", "de"]


def test_a_size_that_the_layers_alone_exceed_is_refused() -> None:
    with pytest.raises(XlbenchError, match=r"12 layers and 100 columns per token .* no whole row .* fits"):
        FrequencyAdaptiveEmbedding(width=100, layers=6, bottleneck=128).reshape(MINILM)


def test_the_method_keeps_all_layers_that_the_student_runs_and_trains_only_if_asked() -> None:
    kind = load_registry().methods["frequency-adaptive"]
    experiment = toy_experiment("frequency-adaptive", kind.options())  # B = 8, two layers that run twice; 512 pairs
    stage = kind.plan(experiment, kind.options()).stage("student")
    assert stage is not None
    assert stage.edits == (
        Loop(layers=4),
        FrequencyAdaptiveEmbedding(width=1, layers=2, bottleneck=8),
    )  # an eighth of 8
    assert stage.training is None
    stage = kind.plan(experiment, kind.options.model_validate({"recovery_share": 0.5})).stage("student")
    assert stage is not None
    assert stage.training is not None
    assert (stage.training.pairs, stage.inputs()) == (256, ("aligned",))
    whole = experiment.model_copy(update={"student": experiment.student.model_copy(update={"bottleneck": None})})
    with pytest.raises(XlbenchError, match="has no bottleneck"):
        kind.plan(whole, kind.options())
    stage = kind.plan(experiment, kind.options.model_validate({"trim": True})).stage("student")
    assert stage is not None
    assert stage.edits[1] == FrequencyAdaptiveEmbedding(width=1, layers=2, bottleneck=8, trim=TrimVocabulary())
