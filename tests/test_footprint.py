"""The footprint of a small BERT, with parameters counted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models
from torch import nn
from toy_scoring import toy_encoder
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from xlbench.encoders.modules import transformer_of
from xlbench.scoring.footprint import measure_footprint

if TYPE_CHECKING:
    from pathlib import Path

# Token embeddings 10 * 4, positions 16 * 4, types 2 * 4, LayerNorm 2 * 4.
EMBEDDING = 40 + 64 + 8 + 8
# Four linear layers 4 * 4 + 4, feed-forward 4 * 8 + 8 and 8 * 4 + 4, two LayerNorms of 2 * 4.
LAYER = 4 * 20 + 40 + 36 + 16
POOLER = 4 * 4 + 4


@pytest.fixture
def small_bert(tmp_path: Path) -> SentenceTransformer:
    words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *"abcdefgh"])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="[UNK]")),
        pad_token="[PAD]",
        unk_token="[UNK]",
    )
    config = BertConfig(
        vocab_size=10,
        hidden_size=4,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=16,
    )
    tokenizer.save_pretrained(tmp_path / "bert")
    BertModel(config).save_pretrained(tmp_path / "bert")
    transformer = Transformer(str(tmp_path / "bert"))
    return SentenceTransformer(modules=[transformer, Pooling(4)], device="cpu")


def test_parameters_and_layers_of_an_encoder(small_bert: SentenceTransformer) -> None:
    footprint = measure_footprint(small_bert, None)
    assert footprint.parameters == EMBEDDING + 2 * LAYER + POOLER == 484
    assert footprint.embedding_parameters == 120
    assert footprint.encoder_parameters == footprint.executed_parameters == 344
    assert (footprint.stored_layers, footprint.executed_layers) == (2, 2)
    assert footprint.dimension == 4
    assert footprint.weight_bytes is footprint.directory_bytes is None


def test_repeated_layers_are_stored_once(small_bert: SentenceTransformer) -> None:
    encoder = transformer_of(small_bert).get_submodule("encoder")
    first, second = encoder.get_submodule("layer").children()
    encoder.layer = nn.ModuleList([first, second, first, second, first, second])
    footprint = measure_footprint(small_bert, None)
    assert footprint.parameters == 484
    assert footprint.encoder_parameters == 344
    assert footprint.executed_parameters == 3 * 344
    assert (footprint.stored_layers, footprint.executed_layers) == (2, 6)


def test_frozen_parameters_count_too(small_bert: SentenceTransformer) -> None:
    for parameter in small_bert.parameters():
        parameter.requires_grad_(False)
    assert measure_footprint(small_bert, None).parameters == 484


def test_bytes_of_weights_and_of_all_files(small_bert: SentenceTransformer, tmp_path: Path) -> None:
    path = tmp_path / "saved"
    (path / "0_Transformer").mkdir(parents=True)
    (path / "0_Transformer" / "model.safetensors").write_bytes(b"x" * 1000)
    (path / "2_Dense").mkdir()
    (path / "2_Dense" / "model.safetensors").write_bytes(b"x" * 30)
    (path / "tokenizer.json").write_bytes(b"x" * 500)
    (path / "entry.json").write_bytes(b"x" * 7)  # the store's, with times in it
    footprint = measure_footprint(small_bert, path)
    assert footprint.weight_bytes == 1030
    assert footprint.directory_bytes == 1530


def test_parts_of_another_architecture_are_unknown() -> None:
    footprint = measure_footprint(toy_encoder(), None)
    assert footprint.parameters == 0
    assert footprint.dimension == 4
    assert footprint.stored_layers is footprint.embedding_parameters is None
