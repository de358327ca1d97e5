"""Untranslated lines: counted and filtered like pairs, held out of nothing, read by stages that need no translation."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from toy_corpora import data_of, numbered, toy

from xlbench.api import Target
from xlbench.corpora.corpus import open_corpus
from xlbench.corpora.overlap import text_key
from xlbench.corpora.prepare import prepare
from xlbench.distill.batches import pairs_to_train_on
from xlbench.distill.objectives import MatchSimilarities, PullToTarget
from xlbench.distill.plan import Stage, Training
from xlbench.distill.training import train_stage
from xlbench.errors import XlbenchError
from xlbench.plugins.registry import load_registry
from xlbench.settings import Settings
from xlbench.students.load import load_student
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.corpora.prepare import PreparedCorpus
    from xlbench.distill.context import StageContext


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", quiet=True, device="cpu")


def text(path: Path, lines: list[str], settings: Settings, options: str = "?language=de") -> OpenCorpus:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return open_corpus(f"text:{path}{options}", load_registry().corpora, settings)


def lines_of(prepared: PreparedCorpus) -> list[str]:
    return sorted(prepared.sentences[int(row)] for row in prepared.lines)


def test_every_line_is_accounted_for(tmp_path: Path, settings: Settings) -> None:
    pairs = toy("pairs", {"de": numbered(100)})
    alone = prepare(data_of(pairs), [pairs], set, settings)
    held_out = alone.sentences[int(alone.dev_pairs[0, 1])]
    trained = alone.sentences[int(alone.pairs[0, 1])]
    given = ["Neu eins.", "Neu zwei!", "neu eins", "", "...", "x" * 2001, "Im Test.", held_out, trained.upper()]
    corpus = text(tmp_path / "lines.txt", [*given, " Neu drei. "], settings)
    prepared = prepare(data_of(corpus, pairs), [corpus, pairs], lambda: {text_key("im test")}, settings)
    assert lines_of(prepared) == ["Neu drei.", "Neu eins.", "Neu zwei!"]
    (count,) = prepared.facts.lines
    assert count.model_dump(exclude={"reference"}) == {
        "language": "de",
        "read": 10,
        "unusable": 3,  # empty, without a letter, too long
        "overlap": 1,
        "duplicates": 2,  # of a line and of a pair
        "surplus": 0,
        "withheld": 1,
        "kept": 3,
    }
    assert prepared.facts.summary().endswith(
        "held out); untranslated lines: 10 read; 2 duplicates, 1 in a test set, 3 empty or too long, 1 in a held-out"
        " pair; 3 kept, for stages that match an encoder's own vectors alone"
    )
    # The pairs are what they are without lines.
    for name in ("pairs", "dev_pairs"):
        sides = [[[it.sentences[int(row)] for row in pair] for pair in getattr(it, name)] for it in (alone, prepared)]
        assert sides[0] == sides[1]
    assert prepared.facts.train == alone.facts.train
    assert "lines" not in alone.facts.model_dump()
    assert len(alone.lines) == 0
    assert set(prepared.training_ids()) - set(prepared.lines) == set(np.unique(prepared.pairs))
    assert not set(prepared.lines) & set(np.ravel([*prepared.pairs, *prepared.dev_pairs]))


def test_a_text_of_which_no_line_is_kept_changes_nothing(tmp_path: Path, settings: Settings) -> None:
    pairs = toy("pairs", {"de": numbered(100)})
    alone = prepare(data_of(pairs), [pairs], set, settings)
    sides = [alone.sentences[int(row)] for row in alone.pairs[:3, 1]]
    for name, lines in {"blank": ["", ""], "in pairs": sides, "too long": ["x" * 2001]}.items():
        corpus = text(tmp_path / f"{name}.txt", lines, settings)
        for _ in range(2):  # made, and taken from the store
            prepared = prepare(data_of(corpus, pairs), [corpus, pairs], set, settings)
            assert len(prepared.lines) == 0, name
            assert [it.read for it in prepared.facts.lines] == [len(lines)]
            assert prepared.facts.summary().endswith("; 0 kept, for stages that match an encoder's own vectors alone")


def test_caps_compression_english_and_several_texts(tmp_path: Path, settings: Settings) -> None:
    pairs = toy("pairs", {"de": numbered(100)})
    german = text(tmp_path / "a.txt", [f"Zeile {n}." for n in range(50)], settings, "?language=de&cap=20")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("\ufeffLine one.\nZeile 7.\nZeile 7.\n".encode()))
    english = open_corpus(f"text:{tmp_path / 'b.txt.gz'}?language=en", load_registry().corpora, settings)
    prepared = prepare(data_of(pairs, german, english), [pairs, german, english], set, settings)
    counts = {it.language: it for it in prepared.facts.lines}
    assert (counts["de"].kept, counts["de"].surplus + counts["de"].duplicates) == (20, 30)
    assert counts["en"].read == 3
    assert "Line one." in lines_of(prepared)
    assert len(lines_of(prepared)) == len(set(lines_of(prepared))) == 20 + counts["en"].kept
    # The same lines are kept whatever the order of the corpora.
    again = Settings(home=tmp_path / "other", quiet=True)
    assert lines_of(prepare(data_of(english, german, pairs), [english, german, pairs], set, again)) == lines_of(
        prepared
    )


@pytest.mark.parametrize(
    ("options", "content", "message"),
    [
        ("", b"a\n", "does not say which language its lines are in"),
        ("?languages=de,fr", b"a\n", "does not say which language"),
        ("?language=de,fr", b"a\n", "'de,fr' in corpus .* is not a language code"),
        ("?language=de&languages=de", b"a\n", "has the options language and languages"),
        ("?language=xx", b"a\n", "'xx' in corpus .* is not the code of a language"),
        ("?language=fr", b"a\n", "has lines in 'fr', which is none of the languages that are trained on: de"),
        ("?language=de", b"", "holds no line"),
        ("?language=de", b"a\n\xff\n", r"line 2: not UTF-8 \(byte 0xff\)"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(
    tmp_path: Path, settings: Settings, options: str, content: bytes, message: str
) -> None:
    (tmp_path / "lines.txt").write_bytes(content)
    pairs = toy("pairs", {"de": numbered(100)})

    def read() -> None:
        corpus = open_corpus(f"text:{tmp_path / 'lines.txt'}{options}", load_registry().corpora, settings)
        prepare(data_of(pairs, corpus), [pairs, corpus], set, settings)

    with pytest.raises(XlbenchError, match=message):
        read()
    assert not list((tmp_path / "home").glob("corpora/*"))


OWN = PullToTarget(target=Target(encoder="toy", side="own"))
MATRIX = MatchSimilarities(mix=((Target(encoder="toy", side="english"), 1.0),))


def training(*terms: object) -> Training:
    return Training.model_validate({"objectives": terms, "pairs": 64, "seed": 0, "batch_size": 16, "evaluations": 1})


def test_only_stages_without_an_english_target_read_lines(context: StageContext) -> None:
    corpus = replace(context.corpus, lines=np.array([3, 8], np.int32))
    for terms in ((MATRIX,), (OWN, MATRIX)):
        assert pairs_to_train_on(corpus, training(*terms)) is corpus.pairs
    pairs = pairs_to_train_on(corpus, training(OWN))
    assert pairs[-2:].tolist() == [[3, 3], [8, 8]]
    np.testing.assert_array_equal(pairs[:-2], corpus.pairs)
    assert pairs_to_train_on(context.corpus, training(OWN)) is context.corpus.pairs


def test_a_stage_trains_on_lines(tmp_path: Path, context: StageContext) -> None:
    settings = context.settings
    pairs = open_corpus(f"tsv:{tmp_path / 'corpus'}", load_registry().corpora, settings)
    corpus = text(tmp_path / "lines.txt", [f"der hund {word} sieht brot" for word in "abcdefghij"], settings)
    prepared = prepare(data_of(corpus, pairs, dev_pairs=16), [corpus, pairs], set, settings)
    used = replace(context, corpus=prepared, targets_used=[])
    (tmp_path / "scratch").mkdir()
    # 400 of about 190 pairs and lines: each is read at least once, so each has a vector.
    stage = Stage("s", "toy", (), training(OWN).model_copy(update={"pairs": 400}))
    student = load_student(save_toy_encoder(tmp_path / "student", seed=9))
    train_stage(student, stage, used, tmp_path / "scratch")
    (key,) = set(used.targets_used)
    assert len(prepared.lines) == 10
    assert len(np.load(settings.home / "targets" / key / "vectors.npy")) == len(prepared.sentences)
