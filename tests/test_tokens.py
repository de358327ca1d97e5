"""The sentences of a corpus as token ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from toy_corpora import data_of, toy
from transformers import PreTrainedTokenizerFast

from xlbench.corpora import tokens
from xlbench.corpora.prepare import prepare
from xlbench.corpora.tokens import tokenise
from xlbench.errors import XlbenchError
from xlbench.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.corpora.prepare import PreparedCorpus

WORDS = ["<s>", "</s>", "<unk>", "<pad>", "one", "eins", *map(str, range(100))]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, quiet=True)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Gives each word its position in WORDS as id, and puts <s> and </s> around."""
    backend = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>")


@pytest.fixture
def corpus(settings: Settings) -> PreparedCorpus:
    rows = [("one " * (n % 4) + str(n), "eins " * (n % 4) + f"{n} x") for n in range(100)]
    opened = toy("mine", {"de": rows})
    return prepare(data_of(opened), [opened], set, settings)


def _expected(text: str, limit: int) -> list[int]:
    ids = [WORDS.index(word) if word in WORDS else 2 for word in text.split()]
    return [0, *ids[: limit - 2], 1]


@pytest.mark.parametrize("chunk", [7, 8192])
def test_rows_are_what_the_tokenizer_gives(
    chunk: int,
    corpus: PreparedCorpus,
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "_CHUNK", chunk)
    # Six tokens hold "eins eins eins N"; the "x" that follows is cut off.
    table = tokenise(corpus, tokenizer, "words", 6, settings)
    assert table.ids.dtype == np.uint32
    assert table.offsets.dtype == np.int64
    assert len(table) == len(corpus.sentences) == 200
    rows = [_expected(text, 6) for text in corpus.sentences]
    assert [table.row(n).tolist() for n in range(200)] == rows
    assert table.lengths().tolist() == [len(row) for row in rows]
    assert table.lengths().max() == 6

    # Counts are over the sentences of the 90 pairs that are not held out.
    expected = [0] * len(WORDS)
    for sentence in corpus.training_ids():
        for number in rows[sentence]:
            expected[number] += 1
    counts = table.counts(len(WORDS))
    assert counts.dtype == np.int64
    assert counts.tolist() == expected
    assert counts[0] == 180
    with pytest.raises(XlbenchError, match="beyond a vocabulary of 50"):
        table.counts(50)


def test_computed_once_per_tokenizer_and_length(
    corpus: PreparedCorpus, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    first = tokenise(corpus, tokenizer, "words", 6, settings)

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("tokenised again")

    assert tokenise(corpus, never, "words", 6, settings).digest == first.digest  # type: ignore[arg-type]
    others = {
        tokenise(corpus, tokenizer, "words", 5, settings).digest,
        tokenise(corpus, tokenizer, "other", 6, settings).digest,
    }
    assert len({*others, first.digest}) == 3
