"""Encoding many sentences: the same vectors as sentence-transformers, in batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fixtures_encoders import DIMENSION, WORDS, toy_encoder

from xlbench.encoders import encode as encode_module
from xlbench.encoders.encode import batches, dimension, encode, pad
from xlbench.encoders.modules import mean_pool, transformer_of
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Precision


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    return toy_encoder(tmp_path_factory.mktemp("toy") / "model")


def sentences(count: int) -> list[str]:
    generator = np.random.default_rng(1)
    return [" ".join(generator.choice(WORDS, generator.integers(0, 60))) for _ in range(count)]


def test_equals_sentence_transformers_in_float32(model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["", "unknownword", *sentences(150)]  # up to 60 words: longer than the 48 tokens the model takes
    monkeypatch.setattr(encode_module, "CHUNK", 64)  # three chunks, the last one short
    vectors = encode(model, texts, batch_tokens=200)
    assert vectors.dtype == np.float32
    assert vectors.shape == (152, DIMENSION)
    np.testing.assert_allclose(vectors, model.encode(texts), atol=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_close_to_float32(model: SentenceTransformer, precision: Precision) -> None:
    texts = sentences(50)
    half = encode(model, texts, precision=precision)
    assert half.dtype == np.float32
    exact = encode(model, texts)
    cosines = (half * exact).sum(1)
    assert not np.array_equal(half, exact)  # half precision was used
    assert cosines.min() > 1 - 1e-3


def test_pooling_stays_in_float32_after_a_bfloat16_transformer(model: SentenceTransformer) -> None:
    def halve(module: torch.nn.Module, inputs: object, features: dict[str, torch.Tensor]) -> None:
        features["token_embeddings"] = features["token_embeddings"].bfloat16()

    hook = model[0].register_forward_hook(halve)
    try:
        vectors = encode(model, sentences(50), precision="bfloat16")
    finally:
        hook.remove()
    # Vectors normalised in bfloat16 would have lengths off by up to 2**-8.
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_embeddings_level_is_the_mean_before_any_layer(model: SentenceTransformer) -> None:
    texts = ["a b c", "d", ""]
    vectors = encode(model, texts, level="embeddings")
    for text, vector in zip(texts, vectors, strict=True):
        features = model.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = transformer_of(model)(**features, output_hidden_states=True).hidden_states
        np.testing.assert_allclose(vector, states[0][0].mean(0).numpy(), atol=1e-6)


@pytest.mark.parametrize("level", ["sentence", "embeddings"])
def test_no_sentences_give_no_rows(model: SentenceTransformer, level: encode_module.Level) -> None:
    assert encode(model, [], level=level).shape == (0, DIMENSION)
    assert dimension(model, level) == DIMENSION


def test_max_tokens_includes_special_tokens(model: SentenceTransformer) -> None:
    # Four tokens: [CLS] a b [SEP].
    np.testing.assert_allclose(encode(model, ["a b c d e"], max_tokens=4), encode(model, ["a b"]), rtol=0, atol=1e-6)
    assert model.max_seq_length == 48


def test_writes_into_a_memory_map(model: SentenceTransformer, tmp_path: Path) -> None:
    texts = sentences(20)
    out = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float16, (20, DIMENSION))
    assert encode(model, texts, out=out) is out
    out.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), encode(model, texts).astype(np.float16))
    with pytest.raises(ValueError, match=r"shape \(3, 16\)"):
        encode(model, texts, out=np.empty((3, DIMENSION)))


class Recorder(Sequence[str]):
    """A sequence of texts that records how many are read at a time."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.sizes: list[int] = []

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, key):  # noqa: ANN001, ANN204
        texts = self.texts[key]
        self.sizes.append(len(texts) if isinstance(key, slice) else 1)
        return texts


def test_reads_chunks_and_reports_every_sentence(model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode_module, "CHUNK", 10)
    texts = Recorder(sentences(25))
    done: list[float] = []

    def advance(amount: float = 1, note: str = "") -> None:
        done.append(amount)

    encode(model, texts, advance=advance, batch_tokens=64)
    assert texts.sizes == [10, 10, 5]
    assert sum(done) == 25
    assert len(done) > 3  # more often than once a chunk


def test_the_training_mode_is_restored(model: SentenceTransformer) -> None:
    texts = sentences(4)
    model.train()
    first = encode(model, texts)
    assert model.training
    model.eval()
    # Dropout was off in both.
    np.testing.assert_array_equal(first, encode(model, texts))
    assert not model.training


def test_a_default_prompt_is_applied_as_the_model_would(tmp_path: Path) -> None:
    prompted = toy_encoder(tmp_path / "model")
    plain = encode(prompted, ["c d"])
    prompted.prompts = {"query": "a b "}
    prompted.default_prompt_name = "query"
    vectors = encode(prompted, ["c d", "e"], max_tokens=40)
    np.testing.assert_allclose(vectors, prompted.encode(["c d", "e"]), atol=1e-6)
    assert not np.allclose(vectors[0], plain[0], atol=1e-3)
    assert prompted.max_seq_length == 48


def test_an_encoder_without_a_transformer() -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    weights = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")
    # Each vector is the mean of its tokens' rows.
    np.testing.assert_allclose(encode(static, ["a b", "a", "b b"]), [[0.5, 0.5], [1, 0], [0, 1]], atol=1e-6)
    with pytest.raises(XlbenchError, match="holds no transformers model"):
        encode(static, ["a"], level="embeddings")


def test_batches_hold_at_most_their_padded_tokens() -> None:
    # Longest first: 9 alone (2 x 9 > 16), 5 5 5 (15), 2 2 1 (6).
    lengths = np.array([5, 2, 9, 5, 1, 5, 2])
    assert [positions.tolist() for positions in batches(lengths, 16)] == [[2], [0, 3, 5], [1, 6, 4]]
    # A sentence longer than the maximum makes a batch of its own.
    assert [positions.tolist() for positions in batches(np.array([3, 40]), 16)] == [[1], [0]]


def test_pad_on_either_side() -> None:
    ids, mask = pad([[5, 6, 7], [8]], 1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    ids, mask = pad([[5, 6, 7], [8]], 1, left=True)
    assert ids.tolist() == [[5, 6, 7], [1, 1, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_mean_pool_ignores_padding() -> None:
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]], [[7.0, 8.0], [9.0, 9.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    # (1 + 3) / 2, (2 + 6) / 2; a row without tokens gives zeros.
    assert mean_pool(hidden.to(torch.bfloat16), mask).tolist() == [[2.0, 4.0], [0.0, 0.0]]
    assert mean_pool(hidden.to(torch.bfloat16), mask).dtype == torch.float32


def test_a_batch_with_enough_tokens_ends_where_sentences_get_shorter() -> None:
    lengths = np.array([20, 19, 18, 10, 10, 10, 10, 4])
    # 20 and 19 (95 % of 20) are 40 padded tokens, the minimum: 18 begins a batch. That one needs three sentences to
    # reach 40, so two of length 10 are in it. The next one needs four at length 10, so the shortest is in it.
    found = [positions.tolist() for positions in batches(lengths, 64, 40)]
    assert found == [[0, 1], [2, 3, 4], [5, 6, 7]]
    # Without a minimum batches are filled: three times 20 and six times 10 are 60.
    assert [positions.tolist() for positions in batches(lengths, 64)] == [[0, 1, 2], [3, 4, 5, 6, 7]]
