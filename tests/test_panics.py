"""Panics of Rust code in a library, which are no Exception, are errors of the encoder; interrupts stay interrupts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from toy_runs import settings_at

from xlbench import XlbenchError
from xlbench.cli.signals import Interrupted
from xlbench.encoders.directories import load_directory
from xlbench.encoders.encode import encode
from xlbench.encoders.unknown import unknown_shares
from xlbench.encoders.verify import check_vectors
from xlbench.students.frequent_words import word_tokens
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

TOO_LONG = "a" * 60 + "!"
READERS: dict[str, Callable[[SentenceTransformer], object]] = {
    "encode": lambda model: encode(model, [TOO_LONG]),
    "words": lambda model: word_tokens(model.tokenizer, [TOO_LONG]),
    "unknown": lambda model: unknown_shares(model, {"de": [TOO_LONG]}),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_tokenizer_that_panics_at_a_later_sentence_is_an_error_too(tmp_path: Path, reader: str) -> None:
    path = save_toy_encoder(tmp_path / "toy", layers=1)
    found = json.loads((path / "tokenizer.json").read_text("utf-8"))
    # What takes longer than the expression's library allows ends in a panic.
    split = {"type": "Split", "pattern": {"Regex": "((a+)+)+$"}, "behavior": "Isolated", "invert": False}
    (path / "tokenizer.json").write_text(json.dumps({**found, "pre_tokenizer": split}), "utf-8")
    model = load_directory(path, settings_at(tmp_path / "home"))
    with pytest.raises(XlbenchError, match="The encoder cannot encode: PanicException: Onig") as caught:
        READERS[reader](model)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, Interrupted, SystemExit, GeneratorExit])
def test_an_interrupt_in_an_encoder_stays_one(tmp_path: Path, interrupt: type[BaseException]) -> None:
    def interrupted(*_: object) -> None:
        raise interrupt

    path = save_toy_encoder(tmp_path / "toy", layers=1)
    model = load_directory(path, settings_at(tmp_path / "home"))
    next(iter(model.children())).register_forward_pre_hook(interrupted)
    with pytest.raises(interrupt):
        encode(model, ["cat sees dog"])
    with pytest.raises(interrupt):
        check_vectors(model, "toy")
