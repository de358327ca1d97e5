"""What an encoder does with a sentence is done wherever sentences are encoded: scoring, targets, centring, training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

import xlbench
from xlbench import XlbenchError
from xlbench.api import Centre, Target
from xlbench.distill.objectives import PullToTarget
from xlbench.distill.plan import Stage, Training
from xlbench.distill.training import train_stage
from xlbench.encoders.encode import encode
from xlbench.encoders.pipeline import pipeline_of, with_modules
from xlbench.students.load import save_student

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.distill.context import StageContext

PROMPT = "stone night "  # 12 tokens, one a letter
TRAINING = Training(
    objectives=(PullToTarget(target=Target(encoder="toy", side="own")),), pairs=16, batch_size=8, seed=0
)
TEXTS = ["cat sees dog", "old house near green tree under night", "", "bread"]


def prompted(model: SentenceTransformer) -> SentenceTransformer:
    model.prompts["query"] = PROMPT
    model.default_prompt_name = "query"
    return model


def without_prompt_in_pooling(model: SentenceTransformer) -> SentenceTransformer:
    prompted(model).set_pooling_include_prompt(False)
    return model


def first_columns(model: SentenceTransformer) -> SentenceTransformer:
    prompted(model).truncate_dim = 6
    return model


def shorter(model: SentenceTransformer) -> SentenceTransformer:
    model.max_seq_length = 9
    return model


KINDS = [prompted, without_prompt_in_pooling, first_columns, shorter]


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_sentence_transformers(context: StageContext, kind) -> None:  # noqa: ANN001
    model = kind(context.load("toy"))
    bare = encode(context.load("toy"), TEXTS)
    vectors = encode(model, TEXTS)
    np.testing.assert_allclose(vectors, model.encode(TEXTS), atol=1e-6)
    assert not np.allclose(vectors, bare[:, : vectors.shape[1]], atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_is_trained_and_saved_as_it_is_scored(
    context: StageContext,
    tmp_path: Path,
    kind,  # noqa: ANN001
) -> None:
    # The student is its own target. Where training encodes as scoring does, the loss before training is nothing but
    # what float16, in which targets are stored, takes from numbers below one: 2**-11 each, squared.
    context = replace(context, load=lambda _, load=context.load: kind(load("toy")))
    model = context.load("toy")
    evaluations = train_stage(model, Stage("same", "toy", (), TRAINING), context, tmp_path)
    assert evaluations[0]["loss"] < 1e-6
    save_student(model, tmp_path / "saved")
    np.testing.assert_allclose(encode(xlbench.load(tmp_path / "saved"), TEXTS), encode(model, TEXTS), atol=1e-6)


@pytest.mark.parametrize("kind", [prompted, first_columns])
def test_centring_measures_the_mean_with_the_prompt(context: StageContext, kind) -> None:  # noqa: ANN001
    # All but one of a vector's tokens are the prompt's: without it, the mean would be that of other vectors.
    texts = context.english_sample(100)
    before = encode(kind(context.load("toy")), texts)
    after = encode(Centre().apply(kind(context.load("toy")), context), texts)
    assert np.linalg.norm(after.mean(axis=0)) < 0.2 * np.linalg.norm(before.mean(axis=0))


def test_pooling_that_scales_a_shift_cannot_be_centred(context: StageContext) -> None:
    model = with_modules(context.load("toy"), [context.load("toy")[0], Pooling(16, "mean_sqrt_len_tokens")])
    with pytest.raises(XlbenchError, match="does not pass on what is added to every token"):
        Centre().apply(model, context)


class ReadsIds(torch.nn.Module):
    """Weights a vector by the ids of its tokens, which training exchanges for rows of a smaller table."""

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights = features["input_ids"].float().mean(1, keepdim=True)
        features["sentence_embedding"] = features["sentence_embedding"] + weights
        return features


def test_what_training_cannot_do_as_scoring_does_is_refused(context: StageContext, tmp_path: Path) -> None:
    parts = [*context.load("toy")]
    parts.insert(2, ReadsIds())
    model = with_modules(context.load("toy"), parts)
    with pytest.raises(XlbenchError, match="Stage 'odd' would train other vectors"):
        train_stage(model, Stage("odd", "toy", (), TRAINING), context, tmp_path)
    model = context.load("toy")
    model[0].processing_kwargs = {"text": {"padding": "max_length"}}
    with pytest.raises(XlbenchError, match=r"cannot be trained: its processing_kwargs .*\(text\)"):
        train_stage(model, Stage("odd", "toy", (), TRAINING), context, tmp_path)


def test_the_prompt_goes_with_other_modules(context: StageContext) -> None:
    model = prompted(context.load("toy"))
    bare = with_modules(model, (part for part in model if not isinstance(part, Normalize)))
    assert pipeline_of(bare) == pipeline_of(model)
    pooled = encode(bare, TEXTS)
    lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(pooled / lengths, encode(model, TEXTS), atol=1e-6)
