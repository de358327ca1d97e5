"""When two texts count as the same."""

from __future__ import annotations

import pytest

from xlbench.corpora.overlap import fold, text_key

SAME = [
    ("Don't panic!", "DON 'T  PANIC"),  # punctuation, case, tokenised spelling
    ("Élan vital", "elan vital"),  # accents
    ("STRASSE", "Straße"),
    ("İSTANBUL'UN IŞIĞI", "istanbul'un ışığı"),  # Turkish dotted and dotless i, either case
    ("كَتَبَ", "كتب"),  # Arabic vowel points
    ("كتـــاب", "كتاب"),  # tatweel
    ("أكل", "اكل"),  # hamza on alef
    ("ﬁne", "fine"),  # ligature
    ("Ｆｕｌｌ", "full"),  # full-width forms
    ("Ёлка", "елка"),
]
DIFFERENT = [
    ("か", "が"),  # the dakuten marks another syllable
    ("की", "का"),  # Indic vowel signs
    ("น้ำ", "นา"),
    ("cat", "cats"),
    ("5 km", "6 km"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_text_fold_to_the_same(one: str, other: str) -> None:
    assert fold(one) == fold(other)
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_texts_fold_differently(one: str, other: str) -> None:
    assert fold(one) != fold(other)
    assert text_key(one) != text_key(other)


def test_only_letters_and_digits_are_left() -> None:
    assert fold("  Hello, World_2! ") == "helloworld2"
    assert fold("한국어 문장.") == "한국어문장"
    assert fold("?! … 🙂\t") == ""


@pytest.mark.parametrize("text", [text for pair in SAME + DIFFERENT for text in pair])
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_the_key_is_the_same_on_every_machine() -> None:
    # BLAKE2b with 8 bytes of output over b"abc" is d8bb14d833d59559 (`printf abc | b2sum -l 64`), read as
    # a little-endian number.
    assert text_key("A. b. c.") == 0x5995D533D814BBD8
