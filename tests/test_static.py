"""Static encoders: their arithmetic, and token vectors that are what the encoder makes of each token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, pre_tokenizers
from toy_corpora import data_of

from xlbench import XlbenchError
from xlbench.api import Plan, PullToTarget, Stage, Target, TokenVectors, Training, encode
from xlbench.corpora.corpus import open_corpus
from xlbench.corpora.prepare import prepare
from xlbench.distill.check import check_plan
from xlbench.distill.context import StageContext
from xlbench.distill.training import train_stage
from xlbench.plugins.registry import load_registry
from xlbench.settings import Settings
from xlbench.students.load import load_student
from xlbench.students.shape import MINILM
from xlbench.students.static import bag_features, reduce_dimensions, sif_weights, static_encoder, zipf_probabilities
from xlbench.testing.toys import save_toy_encoder, write_toy_corpus

if TYPE_CHECKING:
    from pathlib import Path

LETTERS = "cat"  # ids 6, 4, 23 of the toy tokenizer, all in its corpus


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    place = tmp_path_factory.mktemp("static")
    settings = Settings(home=place / "home", quiet=True, device="cpu")
    path = save_toy_encoder(place / "toy")
    corpus = open_corpus(f"tsv:{write_toy_corpus(place / 'corpus', 100)}", load_registry().corpora, settings)
    prepared = prepare(data_of(corpus, dev_pairs=16), [corpus], set, settings)
    return StageContext(prepared, settings, "float32", {"toy": "toy"}, lambda _: load_student(path))


def table_of(model: SentenceTransformer) -> np.ndarray:
    table: np.ndarray = model[0].get_parameter("embedding.weight").detach().numpy()
    return table


def test_reduction_by_hand() -> None:
    vectors = np.array([[0.0, 0.0], [6.0, 8.0], [3.0, 4.0]], np.float32)
    # Mean (3, 4); all on a line along (0.6, 0.8).
    np.testing.assert_allclose(reduce_dimensions(vectors, 1), [[-5], [5], [0]], atol=1e-6)
    # Weights 3, 1, 0: mean (1.5, 2).
    np.testing.assert_allclose(reduce_dimensions(vectors, 1, np.array([3, 1, 0])), [[-2.5], [7.5], [2.5]], atol=1e-6)


def test_at_full_width_vectors_are_only_centred_and_rotated() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    centred = vectors - vectors.mean(axis=0)
    got = reduce_dimensions(vectors, 6)
    np.testing.assert_allclose(got @ got.T, centred @ centred.T, atol=1e-5)


def test_weights_by_hand() -> None:
    # 0.001 / (0.001 + p)
    np.testing.assert_allclose(sif_weights(np.array([0, 0.001, 0.009]), 0.001), [1, 0.5, 0.1])
    # 1/2, 1/3, 1/4, whose sum is 13/12.
    np.testing.assert_allclose(zipf_probabilities(3), [6 / 13, 4 / 13, 3 / 13])


def test_a_sentence_is_the_mean_of_its_tokens() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    model = static_encoder(tokenizer, np.array([[1, 0], [0, 1], [0, 0]], np.float32))
    # 'a a b x': (2, 1, and 0 for the unknown x) / 4, of unit length (2, 1) / sqrt 5.
    np.testing.assert_allclose(model.encode("a a b x"), [2 / 5**0.5, 1 / 5**0.5], atol=1e-6)


@pytest.mark.parametrize("depth", ["encoder", "embeddings"])
def test_token_vectors_are_the_encoders_own(context: StageContext, depth: Literal["encoder", "embeddings"]) -> None:
    table = table_of(TokenVectors(depth=depth, weighting="none").apply(context.load("toy"), context))
    assert table.shape == (40, 16)
    assert not table[:4].any()  # <s>, <pad>, </s>, <unk>
    whole = context.load("toy")
    bare = SentenceTransformer(modules=list(whole)[:2], device="cpu")
    raw = encode(bare, list(LETTERS), level="embeddings" if depth == "embeddings" else "sentence")
    got = table[whole.tokenizer.convert_tokens_to_ids(list(LETTERS))]
    # A rotation about the mean keeps differences.
    np.testing.assert_allclose(
        np.linalg.norm(got[1:] - got[:2], axis=1), np.linalg.norm(raw[1:] - raw[:2], axis=1), atol=1e-5
    )


def test_frequent_tokens_count_for_less(context: StageContext) -> None:
    def table(**options: object) -> np.ndarray:
        edit = TokenVectors.model_validate({"width": 8, "smoothing": 0.01, **options})
        return table_of(edit.apply(context.load("toy"), context))

    plain, weighted = table(weighting="none"), table(weighting="corpus")
    texts = [context.corpus.sentences[int(row)] for row in context.corpus.training_ids()]
    letters = "".join(texts)
    share = letters.count("e") / len(letters)
    number = context.load("toy").tokenizer.convert_tokens_to_ids("e")
    np.testing.assert_allclose(weighted[number], plain[number] * 0.01 / (0.01 + share), rtol=1e-5)
    # By rank: token 5 is the sixth, 1 / 7 over the sum of 1/2 to 1/41.
    rank = (1 / 7) / sum(1 / place for place in range(2, 42))
    np.testing.assert_allclose(table(weighting="zipf")[5], plain[5] * 0.01 / (0.01 + rank), rtol=1e-5)


def test_the_pca_can_serve_the_tokens_of_the_corpus(context: StageContext) -> None:
    counts = context.tokens(context.load("toy")).counts(40)
    counts[:4] = 0

    def kept(fit: str) -> float:
        edit = TokenVectors.model_validate({"width": 2, "weighting": "none", "fit": fit})
        table = table_of(edit.apply(context.load("toy"), context))
        mean = counts @ table / counts.sum()
        return float((counts * ((table - mean) ** 2).sum(axis=1)).sum())

    assert kept("frequency") > kept("uniform")


def test_declared_shapes() -> None:
    assert TokenVectors(width=128).reshape(MINILM).parameters == 250_037 * 128
    assert TokenVectors().reshape(MINILM).width == 384
    with pytest.raises(XlbenchError, match="width 385 cannot come from an encoder whose vectors have width 384"):
        TokenVectors(width=385).reshape(MINILM)
    with pytest.raises(XlbenchError, match="an encoder that is static"):
        TokenVectors(depth="encoder").reshape(TokenVectors().reshape(MINILM))


def test_without_a_pca_vectors_are_centred_and_keep_the_encoders_axes(context: StageContext) -> None:
    edit = TokenVectors(depth="encoder", weighting="none", fit="none")
    table = table_of(edit.apply(context.load("toy"), context))
    whole = context.load("toy")
    raw = encode(SentenceTransformer(modules=list(whole)[:2], device="cpu"), list(LETTERS))
    got = table[whole.tokenizer.convert_tokens_to_ids(list(LETTERS))]
    np.testing.assert_allclose(got - got[:1], raw - raw[:1], atol=1e-5)
    np.testing.assert_allclose(table[4:].mean(0), np.zeros(16), atol=1e-6)  # all but the special tokens
    with pytest.raises(XlbenchError, match="as wide as the encoder's, 384, and not 128"):
        TokenVectors(width=128, fit="none").reshape(MINILM)


def test_a_static_encoder_reads_real_tokens_only() -> None:
    ids, mask = (
        torch.tensor([[5, 6, 0], [7, 0, 0], [0, 0, 0], [8, 9, 5]]),
        torch.tensor([[1, 1, 0], [1, 0, 0], [0] * 3, [1] * 3]),
    )
    features = bag_features(ids, mask)
    assert features["input_ids"].tolist() == [5, 6, 7, 8, 9, 5]
    assert features["offsets"].tolist() == [0, 2, 3, 3]


def static_at(context: StageContext) -> SentenceTransformer:
    return TokenVectors(depth="encoder", fit="none").apply(context.load("toy"), context)


def pull(**settings: object) -> Training:
    target = Target(encoder="toy", side="english")
    given = {"objectives": (PullToTarget(target=target),), "pairs": 640, "seed": 0, "batch_size": 32, **settings}
    return Training.model_validate({"learning_rate": 0.02, "evaluations": 1, "weight_decay": 0.0, **given})


def test_training_moves_the_tokens_of_the_corpus_towards_the_target(context: StageContext, tmp_path: Path) -> None:
    model = static_at(context)
    before, tokenizer = table_of(model).copy(), model.tokenizer
    first, last = train_stage(model, Stage("student", "toy", (), pull()), context, tmp_path)
    assert last["loss"] < 0.5 * first["loss"]
    assert last["accuracy"] > first["accuracy"]
    after = table_of(model)
    texts = [context.corpus.sentences[int(row)] for row in np.unique(context.corpus.pairs)]
    used = {number for text in texts for number in tokenizer.encode(text, add_special_tokens=False).ids}
    assert 4 < len(used) < len(before)
    moved = {int(row) for row in np.flatnonzero((before != after).any(1))}
    assert moved == used  # no other token, and no special one
    # The encoder with the trained table is the one that is scored: the loss on dev pairs from its own vectors.
    dev = context.corpus.dev_pairs
    wanted = encode(context.load("toy"), [context.corpus.sentences[int(row)] for row in dev[:, 0]])
    sides = [encode(model, [context.corpus.sentences[int(row)] for row in dev[:, side]]) for side in (0, 1)]
    loss = sum(np.square(side - wanted).sum(1).mean() for side in sides)
    assert last["loss"] == pytest.approx(loss, abs=2e-3)  # targets are kept in float16


def test_a_static_encoder_is_trained_as_a_whole(context: StageContext) -> None:
    shapes = {"assistant": MINILM, "toy": MINILM}
    for settings in ({"level": "embeddings"}, {"trainable": "embeddings"}):
        stage = Stage("student", "assistant", (TokenVectors(),), pull(**settings))
        with pytest.raises(XlbenchError, match="Stage 'student': A static encoder has no layers"):
            check_plan(Plan((stage,), "student", "toy"), shapes, dict.fromkeys(shapes, 384))
