"""How many tokens are encoded at once: what memory does not hold is halved, and what is fastest is measured.

No GPU is needed: an encoder on the CPU refuses large batches, and the clock is a pretended one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fixtures_encoders import WORDS, toy_encoder

from xlbench.encoders import encode as encode_module
from xlbench.encoders import fitting
from xlbench.encoders.encode import encode
from xlbench.encoders.fitting import Room
from xlbench.errors import XlbenchError
from xlbench.progress import note_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentence_transformers import SentenceTransformer


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    return toy_encoder(tmp_path_factory.mktemp("toy") / "model")


@pytest.fixture
def model(whole: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SentenceTransformer]:
    """An encoder of which nothing is known yet."""
    monkeypatch.setattr(fitting, "_rooms", {})
    note_once.cache_clear()
    yield whole
    whole[0]._forward_pre_hooks.clear()


def sentences(count: int) -> list[str]:
    generator = np.random.default_rng(1)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 40))) for _ in range(count)]


def refuse(model: SentenceTransformer, limit: int) -> list[int]:
    """Have the encoder run out of memory beyond a number of padded tokens; return those of the batches that it took."""
    taken: list[int] = []

    def check(module: torch.nn.Module, inputs: tuple[dict[str, torch.Tensor]]) -> None:
        size = inputs[0]["input_ids"].numel()
        if size > limit:
            raise torch.OutOfMemoryError
        taken.append(size)

    model[0].register_forward_pre_hook(check)
    return taken


def test_what_memory_does_not_hold_is_halved_once_and_remembered(
    model: SentenceTransformer, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = sentences(120)
    expected = encode(model, texts)
    taken = refuse(model, 300)
    np.testing.assert_allclose(encode(model, texts, batch_tokens=1000), expected, atol=1e-6)
    said = capsys.readouterr().err.splitlines()
    assert 1 <= len(said) <= 2  # 1000 tokens or a few less, and half of them
    assert all("does not hold" in line and "tokens at once" in line for line in said)
    assert max(taken) <= 300
    count = len(taken)
    np.testing.assert_allclose(encode(model, texts, batch_tokens=1000), expected, atol=1e-6)
    assert capsys.readouterr().err == ""  # the second time nothing is tried that does not fit
    assert len(taken) <= 2 * count


def test_a_sentence_that_does_not_fit_is_refused(model: SentenceTransformer) -> None:
    refuse(model, 10)
    with pytest.raises(XlbenchError, match="The memory of cpu does not hold the encoder and one sentence of"):
        encode(model, sentences(8))


@pytest.mark.parametrize(
    ("limit", "rates", "chosen"),
    [
        (10**9, {}, 524_288),  # all are as fast: the most at once
        (100_000, {}, 65_536),
        (10**9, {524_288: 0.5, 262_144: 0.98}, 262_144),
        (1000, {}, 16_384),  # none fits: the least, which is halved when it is needed
    ],
)
def test_the_fastest_that_fits_is_taken(
    monkeypatch: pytest.MonkeyPatch, limit: int, rates: dict[int, float], chosen: int
) -> None:
    now = 0.0
    tried: list[int] = []

    def run(tokens: int) -> None:
        nonlocal now
        tried.append(tokens)
        if tokens > limit:
            raise torch.OutOfMemoryError
        now += tokens / rates.get(tokens, 1.0)

    monkeypatch.setattr(fitting, "perf_counter", lambda: now)
    room = Room("toy")
    assert room.measured(run) == chosen
    count = len(tried)
    assert room.measured(run) == chosen
    assert len(tried) == count  # once in a process


def test_encoding_measures_where_it_pays(model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = sentences(60)
    expected = encode(model, texts)
    taken = refuse(model, 500)
    monkeypatch.setattr(encode_module, "MEASURED", ("cpu",))
    monkeypatch.setattr(encode_module, "ENOUGH", 60)
    monkeypatch.setattr(fitting, "BUDGETS", (960, 480))
    np.testing.assert_allclose(encode(model, texts[:59]), expected[:59], atol=1e-6)
    assert 480 not in taken
    del taken[:]
    np.testing.assert_allclose(encode(model, texts), expected, atol=1e-6)
    assert taken[:2] == [480, 480]  # ten full sentences of 48 tokens, the longest that the encoder takes, twice
    assert max(taken) <= 480
