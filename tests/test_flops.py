from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from xlbench.distill.flops import encoding_work, layer_flops, training_work
from xlbench.students.shape import Shape
from xlbench.students.surgery import as_student, cut_bottleneck, keep_layers, transformer_shape

if TYPE_CHECKING:
    from xlbench.distill.plan import Trainable
    from xlbench.students.architecture import StudentModel

SENTENCES, TOKENS = 3, 7
LENGTHS = [TOKENS] * SENTENCES


def toy(bottleneck: int | None, repeats: int) -> StudentModel:
    """Hidden 8, inner 20, four layers; without a pooler, which counts nothing for us and something for torch."""
    config = BertConfig(
        vocab_size=50,
        hidden_size=8,
        intermediate_size=20,
        num_hidden_layers=4,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    student = as_student(BertModel(config, add_pooling_layer=False))
    if bottleneck is not None:
        cut_bottleneck(student, bottleneck, None, torch.Generator().manual_seed(0))
    if repeats > 1:
        keep_layers(student, 4 // repeats, repeats, "spaced")
    student.set_attn_implementation("eager")  # torch's counter does not know the fused attention of CPUs
    return student


def freeze(model: StudentModel, trainable: Trainable) -> None:
    model.requires_grad_(trainable != "embeddings")
    if trainable == "embeddings":
        model.embeddings.requires_grad_(True)
    if trainable == "all-but-token-embeddings":
        model.get_submodule("embeddings.word_embeddings").requires_grad_(False)


@pytest.mark.parametrize(("bottleneck", "repeats"), [(None, 1), (4, 1), (4, 2)])
def test_forward_count_is_that_of_torch(bottleneck: int | None, repeats: int) -> None:
    model = toy(bottleneck, repeats)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.ones(SENTENCES, TOKENS, dtype=torch.int64))
    assert encoding_work(transformer_shape(model), LENGTHS).total == counter.get_total_flops()


@pytest.mark.parametrize("trainable", ["all", "all-but-token-embeddings", "embeddings"])
@pytest.mark.parametrize(("bottleneck", "repeats"), [(None, 1), (4, 2)])
def test_training_count_is_that_of_torch(bottleneck: int | None, repeats: int, trainable: Trainable) -> None:
    model = toy(bottleneck, repeats)
    freeze(model, trainable)
    with FlopCounterMode(display=False) as counter:
        model(torch.ones(SENTENCES, TOKENS, dtype=torch.int64)).last_hidden_state.sum().backward()
    assert training_work(transformer_shape(model), LENGTHS, trainable).total == counter.get_total_flops()


def test_only_real_tokens_count() -> None:
    shape = Shape(
        architecture="bert", vocabulary=50, hidden=8, intermediate=20, positions=16, types=2, layers=4, bottleneck=4
    )
    # 2 (4 x 8 x 8 + 2 x 8 x 20) = 1152 for each of 2 + 5 tokens; 4 x 8 = 32 for each of 4 + 25 pairs of tokens.
    assert layer_flops(shape, [2, 5]) == (8064, 928)
    # Four layers, and the bottleneck's 2 x 4 x 8 = 64 for each token.
    assert encoding_work(shape, [2, 5]).total == 4 * (8064 + 928) + 7 * 64
