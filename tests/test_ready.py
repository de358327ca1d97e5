"""What makes encoding fast changes no result, and nothing of it stays behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fixtures_encoders import DIMENSION, WORDS, toy_encoder

from xlbench.encoders import packing
from xlbench.encoders.encode import encode, ready
from xlbench.encoders.runtime import keep_memory

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Precision

TEXTS = [" ".join(WORDS[: 1 + number % 7]) for number in range(40)]


@pytest.fixture
def model(tmp_path: Path) -> SentenceTransformer:
    return toy_encoder(tmp_path)


@pytest.mark.parametrize(("precision", "apart"), [("float32", 1e-6), ("bfloat16", 1e-2)])
def test_packed_products_are_the_plain_ones(
    model: SentenceTransformer, precision: Precision, apart: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # bfloat16 keeps 8 bits: unit vectors may differ by a few times 2^-9 where a rounding falls the other way.
    packed = encode(model, TEXTS, precision=precision)
    monkeypatch.setattr(packing, "is_available", lambda: False)
    np.testing.assert_allclose(packed, encode(model, TEXTS, precision=precision), atol=apart)


def test_products_were_packed(model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    product = packing._product
    monkeypatch.setattr(packing, "_product", lambda *given: calls.append(1) or product(*given))
    encode(model, TEXTS)
    layers = model[0].auto_model.config.num_hidden_layers
    assert len(calls) == 6 * layers + 1  # one batch: query, key, value, output, up, down; and the pooler


def test_the_model_is_left_as_it_was(model: SentenceTransformer) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt), ready(model, "bfloat16"):
        raise KeyboardInterrupt
    after = model.state_dict()
    assert all(torch.equal(after[name], value) and after[name].dtype == value.dtype for name, value in before.items())
    assert not [module for module in model.modules() if "forward" in vars(module)]


def test_being_ready_once_serves_many_calls(model: SentenceTransformer) -> None:
    alone = encode(model, TEXTS, precision="bfloat16")
    with ready(model, "bfloat16"):
        first = encode(model, TEXTS, precision="bfloat16")
        again = encode(model, TEXTS, precision="bfloat16")
        dtypes = {name.split(".")[2]: value.dtype for name, value in model.named_parameters()}
        assert dtypes == {"embeddings": torch.float32, "encoder": torch.bfloat16, "pooler": torch.bfloat16}
    np.testing.assert_array_equal(first, alone)
    np.testing.assert_array_equal(again, alone)
    assert alone.shape == (40, DIMENSION)


def test_memory_is_kept_where_the_c_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("musl", "1.2"))
    assert not keep_memory()
