"""How corpora become training data: what is dropped, limited, held out and stored."""

from __future__ import annotations

import hashlib
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
from toy_corpora import data_of, numbered, toy

from xlbench.corpora.choose import rank_within, water_fill
from xlbench.corpora.overlap import fold, text_key
from xlbench.corpora.prepare import prepare
from xlbench.corpora.starter import starter_items
from xlbench.errors import XlbenchError
from xlbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.corpora.prepare import PreparedCorpus


def nothing() -> set[int]:
    return set()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", quiet=True)


def texts_of(prepared: PreparedCorpus, pairs: npt.NDArray[np.int32]) -> list[tuple[str, str]]:
    return [(prepared.sentences[english], prepared.sentences[other]) for english, other in pairs.tolist()]


@pytest.mark.parametrize(
    ("sizes", "total", "taken"),
    [
        ([20, 100, 200], 90, [20, 35, 35]),  # the small one whole, the others share the rest equally
        ([20, 20, 20], 10, [3, 3, 4]),  # 10 // 3, 7 // 2, 4: the last takes the remainder
        ([5, 0, 7], 100, [5, 0, 7]),  # less than the total: everything
        ([50, 10], 0, [0, 0]),
    ],
)
def test_shares_are_level_and_small_ones_whole(sizes: list[int], total: int, taken: list[int]) -> None:
    assert water_fill(np.array(sizes), total).tolist() == taken


def test_rank_within_groups() -> None:
    # Group 0 has keys 9, 2, 5 (ranks 2, 0, 1), group 3 keys 7, 1 (ranks 1, 0).
    ranks = rank_within(np.array([0, 3, 0, 3, 0]), np.array([9, 7, 2, 1, 5], np.uint64))
    assert ranks.tolist() == [2, 1, 0, 0, 1]


def test_every_pair_is_accounted_for(settings: Settings) -> None:
    bad = [
        ("?!", "Nur Deutsch."),  # no letter on one side
        ("x" * 2001, "zu lang"),
        ("A test sentence!", "Ein Satz."),  # English side in the evaluation data
        ("Harmless.", "Ein TEST-Satz"),  # other side in it
        ("SENTENCE, NUMBER 1", "de satz 1"),  # folds to the same as an earlier pair
        ("Sentence number 2.", "de Satz 2."),
        ("Sentence number 2.", "de Satz 2."),
    ]
    # Spaces around a side are removed.
    padded = [(f" {english}\t", f"{other}  ") for english, other in numbered(100)]
    corpus = toy("mine", {"de": [*padded, *bad]}, note="invented")
    prepared = prepare(
        data_of(corpus), [corpus], lambda: {text_key("a test sentence"), text_key("ein test satz")}, settings
    )
    (count,) = prepared.facts.corpora
    # 100 numbered pairs are left. A tenth of them is held out, which is less than the 700 asked for.
    assert count.model_dump() == {
        "reference": "mine",
        "read": 107,
        "unusable": 2,
        "overlap": 2,
        "duplicates": 3,
        "surplus": 0,
        "withheld": 0,
        "dev": 10,
        "kept": {"de": 90},
    }
    assert prepared.facts.train == {"de": 90}
    assert prepared.facts.dev == {"de": 10}
    assert prepared.facts.overlap() == 2
    assert prepared.facts.notes == ("mine: invented",)
    assert prepared.facts.sentences == len(prepared.sentences) == 200
    train, dev = texts_of(prepared, prepared.pairs), texts_of(prepared, prepared.dev_pairs)
    assert sorted(train + dev) == sorted(numbered(100))


def test_arrays_and_sentences(settings: Settings) -> None:
    corpus = toy("mine", {"de": numbered(60), "fr": numbered(60, "fr")})
    prepared = prepare(data_of(corpus, languages=("fr", "de")), [corpus], nothing, settings)
    assert prepared.pairs.dtype == np.int32
    assert prepared.pairs.shape == (108, 2)
    assert prepared.dev_pairs.shape == (12, 2)
    assert prepared.languages.dtype == np.uint8
    assert prepared.facts.languages == ("de", "fr")
    for (_, other), number in zip(texts_of(prepared, prepared.pairs), prepared.languages, strict=True):
        assert other.startswith(prepared.facts.languages[number])
    # 60 English sentences, each with two translations: 180 texts, the English ones shared.
    assert len(prepared.sentences) == len(set(prepared.sentences)) == 180
    assert len(prepared.english_ids()) == 54
    assert np.array_equal(prepared.english_ids(), np.unique(prepared.pairs[:, 0]))
    assert len(prepared.training_ids()) == 162
    assert prepared.sentences[3:170] == list(prepared.sentences)[3:170]
    assert prepared.sentences[10:2:-3] == list(prepared.sentences)[10:2:-3]
    assert prepared.sentences[-1] == list(prepared.sentences)[-1]
    with pytest.raises(IndexError):
        prepared.sentences[180]
    # Worker processes receive the path, not the texts.
    copy = pickle.loads(pickle.dumps(prepared.sentences))
    assert copy[5] == prepared.sentences[5]
    assert len(pickle.dumps(prepared.sentences)) < 1000


def test_the_same_english_is_held_out_in_every_language(settings: Settings) -> None:
    corpus = toy("mine", {code: numbered(100, code) for code in ("ar", "de", "fr")})
    prepared = prepare(data_of(corpus, languages=("ar", "de", "fr"), dev_pairs=24), [corpus], nothing, settings)
    assert prepared.facts.dev == {"ar": 8, "de": 8, "fr": 8}
    english = [set(prepared.dev_pairs[prepared.dev_languages == number, 0]) for number in range(3)]
    assert english[0] == english[1] == english[2]
    # So no training pair has to be withheld.
    assert prepared.facts.train == {"ar": 92, "de": 92, "fr": 92}
    assert np.array_equal(prepared.dev_languages, np.repeat(np.arange(3), 8))


def test_no_dev_text_is_in_training(settings: Settings) -> None:
    # Every English sentence comes in two spellings with two German translations; each French translation belongs to two
    # sentences. Dev and training pairs must not share any of these texts.
    german = [
        (spelling, f"{verb} {n // 3}")
        for n in range(300)
        for spelling, verb in ((f"Number {n}.", "Zahl"), (f"NUMBER  {n}!", "Nummer"))
    ]
    french = [(f"number {n}", f"numéro {n // 2}") for n in range(300)]
    one, two = toy("one", {"de": german}), toy("two", {"fr": french, "de": german[:50]})
    prepared = prepare(data_of(one, two, languages=("de", "fr"), dev_pairs=40), [one, two], nothing, settings)
    train = {fold(text) for pair in texts_of(prepared, prepared.pairs) for text in pair}
    dev = [tuple(fold(text) for text in pair) for pair in texts_of(prepared, prepared.dev_pairs)]
    assert len(dev) == 40
    assert not train & {text for pair in dev for text in pair}
    for number in (0, 1):
        of_language = [pair for pair, code in zip(dev, prepared.dev_languages, strict=True) if code == number]
        assert len(of_language) == 20
        assert len({english for english, _ in of_language}) == len({other for _, other in of_language}) == 20
    assert sum(count.withheld for count in prepared.facts.corpora) > 0
    for count in prepared.facts.corpora:
        dropped = count.unusable + count.overlap + count.duplicates + count.surplus + count.withheld
        assert count.read == dropped + count.dev + sum(count.kept.values())


def test_small_corpora_are_used_whole_and_large_ones_share_the_rest(settings: Settings) -> None:
    small, middle, large = (
        toy("small", {"de": numbered(20)}),
        toy("middle", {"de": numbered(100, first=1000)}),
        toy("large", {"de": numbered(900, first=2000)}),
    )
    corpora = [small, middle, large]
    prepared = prepare(data_of(*corpora, pairs_per_language=90, dev_pairs=8), corpora, nothing, settings)
    counts = {count.reference: count for count in prepared.facts.corpora}
    assert prepared.facts.train == {"de": 90}
    assert prepared.facts.dev == {"de": 8}
    assert counts["small"].kept["de"] + counts["small"].dev == 20
    assert abs(counts["middle"].kept["de"] - counts["large"].kept["de"]) <= 1


def test_a_cap_limits_each_language_of_its_corpus(settings: Settings) -> None:
    capped = toy("capped", {"de": numbered(300), "fr": numbered(60, "fr")}, "?cap=80")
    other = toy("other", {"de": numbered(50, first=500)})
    prepared = prepare(data_of(capped, other, languages=("de", "fr"), dev_pairs=10), [capped, other], nothing, settings)
    counts = {count.reference: count for count in prepared.facts.corpora}
    # 80 of 300 German pairs and all 60 French ones are within the cap.
    assert counts["capped?cap=80"].surplus == 220
    assert sum(counts["capped?cap=80"].kept.values()) + counts["capped?cap=80"].dev <= 140
    assert counts["other"].surplus == 0
    assert counts["other"].kept["de"] + counts["other"].dev == 50


def test_languages_of_a_corpus_can_be_left_out(settings: Settings) -> None:
    narrow = toy("narrow", {"de": numbered(100), "fr": numbered(100, "fr")}, "?languages=fr")
    plain = toy("plain", {"de": numbered(100, first=500)})
    prepared = prepare(data_of(narrow, plain, languages=("de", "fr")), [narrow, plain], nothing, settings)
    counts = {count.reference: count for count in prepared.facts.corpora}
    assert set(counts["narrow?languages=fr"].kept) == {"fr"}
    assert counts["narrow?languages=fr"].read == 100


def _content_digest(prepared: PreparedCorpus) -> str:
    content = hashlib.sha256()
    for array in (prepared.pairs, prepared.languages, prepared.dev_pairs, prepared.dev_languages):
        content.update(np.ascontiguousarray(array).tobytes())
    content.update("\n".join(prepared.sentences).encode())
    return content.hexdigest()[:16]


def _three_corpora() -> list[OpenCorpus]:
    return [
        toy("alpha", {"de": numbered(200), "tr": numbered(90, "tr")}),
        toy("beta", {"de": numbered(150, first=100)}, "?cap=60"),
        toy("gamma", {"tr": numbered(70, "tr", first=50)}),
    ]


def test_the_result_does_not_depend_on_the_order_of_corpora(tmp_path: Path) -> None:
    contents = set()
    for number, order in enumerate(([0, 1, 2], [2, 1, 0])):
        corpora = [_three_corpora()[position] for position in order]
        prepared = prepare(
            data_of(*corpora, languages=("de", "tr"), pairs_per_language=120, dev_pairs=20),
            corpora,
            nothing,
            Settings(home=tmp_path / str(number), quiet=True),
        )
        contents.add(_content_digest(prepared))
    # The result of version 1 for these corpora: if it changes, prepare.VERSION must be raised.
    assert contents == {"ff10e8d879299d2c"}


def test_the_second_time_the_store_is_used(settings: Settings) -> None:
    first = toy("here", {"de": numbered(100)}, digest="same", note="old")
    prepared = prepare(data_of(first), [first], nothing, settings)

    def never() -> set[int]:
        raise AssertionError("built again")

    moved = toy("there", {"de": []}, digest="same", note="new")
    again = prepare(data_of(moved), [moved], never, settings)
    assert again.digest == prepared.digest
    assert again.facts.train == prepared.facts.train
    # The facts name the corpus as the second experiment does.
    assert again.facts.corpora[0].reference == "there"
    assert again.facts.notes == ("there: new",)
    other = prepare(data_of(first, excluded="other suite"), [first], nothing, settings)
    assert other.digest != prepared.digest


@pytest.mark.parametrize(
    ("corpus", "languages", "words"),
    [
        (toy("mine", {"de": numbered(100)}), ("de", "nl"), ["'nl'", "mine has de"]),
        (toy("mine", {"de": numbered(100), "fr": []}), ("de", "fr"), ["mine", "no pair", "'fr'"]),
        (toy("mine", {"de": numbered(9)}), ("de",), ["Too few pairs in 'de'", "9 to train on", "0 held out"]),
        (  # A tenth of 40 is 4; 80 pairs give the 8 that are needed.
            toy("mine", {"de": numbered(40)}),
            ("de",),
            ["Only 4 pairs", "of the 40 that are kept of 40; 8 are needed", "--pairs-per-language 80"],
        ),
        (toy("mine", {"de": numbered(70)}), ("de",), ["Only 7 pairs", "8 are needed"]),
        (toy("mine", {"de": [("?", "!")] * 90}), ("de",), ["Too few pairs in 'de'", "0 to train on"]),
        (toy("mine", {"de": [("Yes.", f"Ja {n}.") for n in range(99)]}), ("de",), ["Too few pairs in 'de'"]),
    ],
)
def test_too_few_pairs_are_refused(
    corpus: OpenCorpus, languages: tuple[str, ...], words: list[str], settings: Settings
) -> None:
    with pytest.raises(XlbenchError) as caught:
        prepare(data_of(corpus, languages=languages), [corpus], nothing, settings)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert caught.value.remedy
    assert not [path for path in settings.home.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_an_error_says_how_many_pairs_overlap_the_evaluation_data(settings: Settings) -> None:
    corpus = toy("mine", {"de": numbered(100)})
    seen = {text_key(english) for english, _ in numbered(95)}
    with pytest.raises(XlbenchError, match="95 occur in the evaluation data"):
        prepare(data_of(corpus), [corpus], lambda: seen, settings)


def test_corpora_and_data_must_belong_together(settings: Settings) -> None:
    mine, yours = toy("mine", {"de": numbered(100)}), toy("yours", {"de": numbered(100)})
    with pytest.raises(ValueError, match="not those of the experiment"):
        prepare(data_of(mine), [yours], nothing, settings)


GERMAN = [row.texts["de"] for row in starter_items("train")[:90]]
ENGLISH = [row.texts["en"] for row in starter_items("train")[:90]]


@pytest.mark.parametrize(
    ("pairs", "warnings"),
    [
        (zip(ENGLISH, GERMAN, strict=True), []),
        (zip(GERMAN, ENGLISH, strict=True), ["the sides look swapped: the first column reads as 'de'"]),
        (zip(ENGLISH, ENGLISH[::-1], strict=True), ["the second column reads as 'en' and not as 'de'"]),
        (zip(GERMAN, GERMAN[::-1], strict=True), ["the first column reads as 'de' and not as English"]),
        ([("English", "Deutsch"), *zip(ENGLISH, GERMAN, strict=True)], ["the first row looks like a header"]),
        ([("sentence1", "sentence2"), *numbered(89)], ["the first row looks like a header"]),
    ],
)
def test_a_header_and_other_languages_are_told(
    pairs: Iterable[tuple[str, str]], warnings: list[str], settings: Settings
) -> None:
    corpus = toy("mine", {"de": list(pairs)})
    facts = prepare(data_of(corpus, dev_pairs=8), [corpus], set, settings).facts
    assert len(facts.warnings) == len(warnings)
    for told, words in zip(facts.warnings, warnings, strict=True):
        assert told.startswith(f"warning: corpus 'mine', de: {words}")


def test_one_line_accounts_for_every_pair(settings: Settings) -> None:
    # 100 pairs, one of them twice and one empty; one is a test sentence. Of the other 98, 8 are held out, and 10 kept.
    corpus = toy("mine", {"de": [*numbered(99), numbered(1)[0], ("...", "x")]})
    excluded = {text_key("Sentence number 7.")}
    data = data_of(corpus, dev_pairs=8, pairs_per_language=80)
    facts = prepare(data, [corpus], lambda: excluded, settings).facts
    assert facts.summary() == (
        "pairs: 101 read; 1 duplicates, 1 in a test set, 10 over the budget or a cap, 1 empty or too long;"
        " 88 kept (80 to train on, 8 held out)"
    )
