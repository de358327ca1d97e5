"""The encoding mode and packed kernels: results stay the same, and the model is restored afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fixtures_encoders import DIMENSION, WORDS, toy_encoder

from xlbench.encoders import packing
from xlbench.encoders.encode import encode, encoding_mode
from xlbench.encoders.runtime import keep_memory

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Precision

TEXTS = [" ".join(WORDS[: 1 + number % 7]) for number in range(40)]


@pytest.fixture
def model(tmp_path: Path) -> SentenceTransformer:
    return toy_encoder(tmp_path)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("bfloat16", 1e-2)])
def test_packed_kernels_give_the_results_of_plain_ones(
    model: SentenceTransformer, precision: Precision, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # bfloat16 has 8 significant bits: unit vectors may differ by a few times 2^-9 where results round differently.
    packed = encode(model, TEXTS, precision=precision)
    monkeypatch.setattr(packing, "is_available", lambda: False)
    np.testing.assert_allclose(packed, encode(model, TEXTS, precision=precision), atol=tolerance)


def test_every_linear_layer_uses_packed_kernels(model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    apply_packed = packing._apply_packed
    monkeypatch.setattr(packing, "_apply_packed", lambda *inputs: calls.append(1) or apply_packed(*inputs))
    encode(model, TEXTS)
    layers = model[0].auto_model.config.num_hidden_layers
    assert len(calls) == 6 * layers + 1  # one batch: query, key, value, output, up, down; and the pooler


def test_the_model_is_restored_after_an_interruption(model: SentenceTransformer) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt), encoding_mode(model, "bfloat16"):
        raise KeyboardInterrupt
    after = model.state_dict()
    assert all(torch.equal(after[name], value) and after[name].dtype == value.dtype for name, value in before.items())
    assert not [module for module in model.modules() if "forward" in vars(module)]


def test_one_encoding_mode_serves_many_calls(model: SentenceTransformer) -> None:
    alone = encode(model, TEXTS, precision="bfloat16")
    with encoding_mode(model, "bfloat16"):
        first = encode(model, TEXTS, precision="bfloat16")
        again = encode(model, TEXTS, precision="bfloat16")
        dtypes = {name.split(".")[2]: value.dtype for name, value in model.named_parameters()}
        assert dtypes == {"embeddings": torch.float32, "encoder": torch.bfloat16, "pooler": torch.bfloat16}
    np.testing.assert_array_equal(first, alone)
    np.testing.assert_array_equal(again, alone)
    assert alone.shape == (40, DIMENSION)


def test_only_glibc_keeps_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("musl", "1.2"))
    assert not keep_memory()
