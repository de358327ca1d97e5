"""The shipped sentences: complete, in the right script, all different, and of plausible length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from xlbench.corpora.corpus import Corpus
from xlbench.corpora.overlap import fold
from xlbench.corpora.starter import LANGUAGES, open_starter, starter_corpus, starter_items
from xlbench.errors import XlbenchError
from xlbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ALL = {"en", *LANGUAGES}
NAMES: tuple[Literal["train", "bitext"], ...] = ("train", "bitext")


def sentences(name: str) -> list[Mapping[str, str]]:
    """Return every sentence of a file, each in eight languages."""
    if name == "sts":
        return [side for row in starter_items("sts") for side in (row.sentence1, row.sentence2)]
    return [row.texts for row in starter_items("bitext" if name == "bitext" else "train")]


@pytest.mark.parametrize(("name", "least"), [("train", 300), ("bitext", 100), ("sts", 120)])
def test_there_are_enough_sentences(name: str, least: int) -> None:
    # 60 pairs of the similarity task are 120 sentences.
    assert len(sentences(name)) >= least


@pytest.mark.parametrize("name", ["train", "bitext", "sts"])
def test_every_row_is_complete(name: str) -> None:
    for row in sentences(name):
        assert set(row) == ALL, row
        for text in row.values():
            # No-break spaces before French punctuation are intended; two spaces or a line end are mistakes.
            assert text == text.strip(), text
            assert not set(text) & set("\t\r\n"), text
            assert "  " not in text, text
            assert fold(text), row


@pytest.mark.parametrize("name", ["train", "bitext", "sts"])
def test_each_language_is_in_its_script(name: str) -> None:
    for row in sentences(name):
        for code, text in row.items():
            letters = [letter for letter in text if letter.isalpha()]
            arabic = sum("\u0600" <= letter <= "\u06ff" for letter in letters) / len(letters)
            latin = sum(letter < "\u0250" for letter in letters) / len(letters)
            assert (arabic if code == "ar" else latin) > 0.6, (code, text)


@pytest.mark.parametrize("name", ["train", "bitext", "sts"])
def test_translations_have_plausible_lengths(name: str) -> None:
    # A text half or more than twice as long is not a translation. Arabic is shorter: it writes no short vowels.
    for row in sentences(name):
        for code, text in row.items():
            ratio = len(text) / len(row["en"])
            assert (0.4 if code == "ar" else 0.5) <= ratio <= 2.2, (code, round(ratio, 2), text)


def test_no_sentence_occurs_twice() -> None:
    # Over the training corpus and both tasks, so that no scored sentence is trained on.
    for code in sorted(ALL):
        seen: dict[str, str] = {}
        for name in ("train", "bitext", "sts"):
            for row in sentences(name):
                folded = fold(row[code])
                assert folded not in seen, (name, code, row[code], seen[folded])
                seen[folded] = f"{name}: {row[code]}"


def test_no_row_repeats_a_text_in_two_languages() -> None:
    for name in ("train", "bitext", "sts"):
        for row in sentences(name):
            assert len(set(row.values())) == len(ALL), row


def test_every_sentence_has_a_domain() -> None:
    domains = {name: {row.domain for row in starter_items(name)} for name in NAMES}
    assert all(domain for found in domains.values() for domain in found)
    assert len(domains["train"]) >= 3


def test_similarity_scores_cover_the_scale() -> None:
    scores = [row.score for row in starter_items("sts")]
    assert all(0 <= score <= 5 for score in scores)
    assert len(set(scores)) >= 10
    for low in range(5):
        share = sum(low <= score < low + 1 or score == low + 1 == 5 for score in scores) / len(scores)
        assert share >= 0.08, f"only {share:.0%} of the scores are from {low} to {low + 1}"


def test_the_corpus_pairs_english_with_each_language(tmp_path: Path) -> None:
    corpus = starter_corpus()
    assert isinstance(corpus, Corpus)
    assert corpus.languages() == ("ar", "de", "es", "fr", "it", "nl", "tr")
    assert "example" in corpus.note
    rows = starter_items("train")
    for code in corpus.languages():
        assert list(corpus.pairs(code)) == [(row.texts["en"], row.texts[code]) for row in rows]
    settings = Settings(home=tmp_path)
    assert open_starter("", settings).digest == corpus.digest
    with pytest.raises(XlbenchError, match="takes no argument"):
        open_starter("large", settings)
