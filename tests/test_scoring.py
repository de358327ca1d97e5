"""Scoring: MTEB's numbers on tasks worked out by hand, and the items behind them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
import torch
from toy_scoring import PARALLEL, STS, SUITE, ToySTS, WordCounts, toy_encoder, toy_settings
from xlbench_plugins.builtin import STARTER

from xlbench import XlbenchError, load
from xlbench.corpora.starter import starter_items
from xlbench.encoders.unknown import unknown_shares
from xlbench.experiment import Suite, TaskRef
from xlbench.report.markdown import subset_table
from xlbench.scoring.harness import Scored, mean_cosine, score
from xlbench.scoring.item_files import read_items, write_items
from xlbench.scoring.items import main_score
from xlbench.scoring.scores import SuiteScores

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer


def scored(tmp_path: Path, encoder: SentenceTransformer | None = None, suite: Suite = SUITE) -> Scored:
    return score(encoder or toy_encoder(), suite, toy_settings(tmp_path), precision="float32", title="Scoring")


def test_sts_is_the_spearman_of_cosines(tmp_path: Path) -> None:
    task = scored(tmp_path).scores.tasks["ToySTS"]
    # Cosines 1, 1/sqrt(2), 1/2, 0 have ranks 4, 3, 2, 1. Golds 5, 3, 4, 0 have ranks 4, 2, 3, 1:
    # rho = 1 - 6 * (0 + 1 + 1 + 0) / (4 * (16 - 1)) = 0.8. The golds of zz have the ranks of the cosines.
    assert task.subsets["xx"].main == pytest.approx(80, abs=1e-9)
    assert task.subsets["zz"].main == pytest.approx(100, abs=1e-9)
    assert list(task.subsets) == ["zz", "xx", "yy"]  # the suite's order, not the task's
    assert task.subsets["xx"].items == 4
    assert task.metric == "cosine_spearman"


def test_bitext_is_the_f1_of_nearest_neighbours(tmp_path: Path) -> None:
    result = scored(tmp_path)
    subset = result.scores.tasks["ToyBitext"].subsets["xx-en"]
    # Neighbours of a, b, 'a b b b' (cosine with b: 3/sqrt(10)) are rows 0, 1, 1. F1 by class: 1; 2/3, of
    # precision 1/2 and recall 1; 0. Their mean is 5/9. Two of three rows are right.
    assert subset.main == pytest.approx(500 / 9, abs=1e-9)
    assert subset.metrics["accuracy"] == pytest.approx(200 / 3, abs=1e-9)
    assert result.items["ToyBitext", "xx-en"].prediction.tolist() == [0, 1, 1]
    assert result.items["ToyBitext", "xx-en"].gold.tolist() == [0, 1, 2]


def test_a_column_per_language_is_scored_by_subset(tmp_path: Path) -> None:
    result = scored(tmp_path)
    subsets = result.scores.tasks["ToyParallel"].subsets
    # xx-en: 'a a' finds a, 'a b b' finds b, and back. en-yy: both find the other one's translation.
    mains = {name: subset.main for name, subset in subsets.items()}
    assert mains == {"xx-en": 100.0, "en-xx": 100.0, "en-yy": 0.0}
    assert result.items["ToyParallel", "en-yy"].prediction.tolist() == [1, 0]


def test_means_are_over_subsets_and_then_over_tasks(tmp_path: Path) -> None:
    scores = scored(tmp_path).scores
    # STS: (100 + 80 + 80) / 3. Bitext: ToyBitext (500/9 + 100) / 2 = 700/9 and ToyParallel 200/3.
    assert scores.families == {
        "sts": pytest.approx(260 / 3, abs=1e-9),
        "bitext": pytest.approx((700 / 9 + 200 / 3) / 2, abs=1e-9),
    }


def test_each_distinct_sentence_is_encoded_once(tmp_path: Path) -> None:
    counts = WordCounts()
    result = scored(tmp_path, toy_encoder(counts))
    # STS: a, a b, a b c d, b. Bitext adds a b b b, c, d d, d, b b. Parallel adds a a, a b b.
    assert sorted(counts.encoded) == [
        "a",
        "a a",
        "a b",
        "a b b",
        "a b b b",
        "a b c d",
        "b",
        "b b",
        "c",
        "d",
        "d d",
    ]
    assert result.scores.sentences == 11


def test_main_scores_can_be_computed_from_items(tmp_path: Path) -> None:
    result = scored(tmp_path)
    for (task, subset), items in result.items.items():
        family = result.scores.tasks[task].family
        expected = result.scores.tasks[task].subsets[subset].main
        assert main_score(family, items.prediction, items.gold) == pytest.approx(expected, abs=1e-9)
    assert list(result.items) == [(ref.task, subset) for ref in SUITE.tasks for subset in ref.subsets]


def test_translations_of_an_item_share_its_number(tmp_path: Path) -> None:
    numbers = {name: items.item.tolist() for name, items in scored(tmp_path).items.items()}
    assert numbers["ToySTS", "zz"] == [0, 1, 2, 3]
    # yy has the golds of xx, row by row.
    assert numbers["ToySTS", "xx"] == numbers["ToySTS", "yy"] == [4, 5, 6, 7]
    # (b, b) and (b b, b) share the second sentence.
    assert numbers["ToyBitext", "xx-en"] == [0, 1, 2]
    assert numbers["ToyBitext", "yy-en"] == [3, 1]


def test_items_are_written_and_read_unchanged(tmp_path: Path) -> None:
    items = scored(tmp_path).items
    write_items(tmp_path / "deep" / "items.parquet", items)
    restored = read_items(tmp_path / "deep" / "items.parquet")
    assert list(restored) == list(items)
    for name, original in items.items():
        for column in ("item", "prediction", "gold"):
            before, after = getattr(original, column), getattr(restored[name], column)
            assert after.dtype == before.dtype
            assert after.tolist() == before.tolist()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["items.parquet"]


def test_a_damaged_item_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(XlbenchError, match=r"items\.parquet' cannot be read"):
        read_items(tmp_path / "items.parquet")
    with pytest.raises(XlbenchError, match=r"gone\.parquet' cannot be read"):
        read_items(tmp_path / "gone.parquet")


def test_scoring_is_deterministic_and_scores_round_trip_through_json(tmp_path: Path) -> None:
    first, second = scored(tmp_path).scores, scored(tmp_path).scores
    assert first.model_dump(exclude={"encode_seconds"}) == second.model_dump(exclude={"encode_seconds"})
    assert SuiteScores.model_validate_json(first.model_dump_json()) == first


def test_scoring_prints_nothing_of_mteb(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scored(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_collapsed_encoder_is_marked(tmp_path: Path) -> None:
    result = scored(tmp_path, toy_encoder(WordCounts(torch.ones_like)))
    assert result.scores.collapsed
    assert result.scores.mean_cosine == pytest.approx(1)
    assert result.scores.tasks["ToySTS"].subsets["xx"].main is None  # Spearman is undefined
    assert result.scores.families["sts"] is None
    assert not scored(tmp_path).scores.collapsed


def test_an_encoder_of_zeros_has_collapsed_and_the_table_says_so(tmp_path: Path) -> None:
    zeros = scored(tmp_path, toy_encoder(WordCounts(torch.zeros_like))).scores
    assert (zeros.collapsed, zeros.mean_cosine) == (True, 1.0)
    table = subset_table(zeros)
    assert table.count("†") == 11  # of eight subsets and two means, and the note
    assert "†: collapsed" in table
    assert "†" not in subset_table(scored(tmp_path).scores)


def test_an_encoder_that_gives_most_sentences_no_vector_has_collapsed(tmp_path: Path) -> None:
    # Of the suite's eleven sentences, those without an a get zeros: b, c, d d, d, b b; with 'a' that of 'a b' too.
    def drop(*words: int) -> SentenceTransformer:
        return toy_encoder(WordCounts(lambda vectors: vectors * (vectors[:, list(words)] == 0).all(1, keepdim=True)))

    assert not scored(tmp_path, drop(2, 3)).scores.collapsed  # 4 of 11: a b c d, c, d d, d
    assert scored(tmp_path, drop(0)).scores.collapsed  # 6 of 11: a, a b, a b c d, a b b b, a a, a b b


def test_languages_that_a_tokenizer_does_not_know_are_told(tmp_path: Path) -> None:
    from xlbench.testing.toys import save_toy_encoder

    model = load(save_toy_encoder(tmp_path / "toy", layers=1))
    # One token a letter; of 'hund' all are known, of Greek and of digits none, of 'rot 12' two of six are not.
    known = {"de": ["hund"], "el": ["σκύλος"], "xx": ["rot 12"], "none": []}
    assert unknown_shares(model, known) == {"el": 1.0, "xx": pytest.approx(2 / 6)}
    scores = scored(tmp_path).scores
    assert scores.unknown == {}
    told = subset_table(scores.model_copy(update={"unknown": {"el": 1.0, "xx": 1 / 3}}))
    assert "does not know el 100 %, xx 33 % of the tokens of suite toy." in told


def test_embeddings_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(XlbenchError, match="Scoring: embeddings that are not finite, of suite 'toy' first for 'a"):
        scored(tmp_path, toy_encoder(WordCounts(lambda vectors: vectors / 0)))


def test_global_random_states_are_restored(tmp_path: Path) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    first = draw()
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    scored(tmp_path)
    assert draw() == first


def test_mean_cosine_is_over_all_pairs() -> None:
    # Pairs: (1,0) with (0,2): 0; (1,0) with (3,3): 1/sqrt(2); (0,2) with (3,3): the same. Mean: sqrt(2)/3.
    vectors = np.array([[1, 0], [0, 2], [3, 3]], np.float32)
    assert mean_cosine(vectors) == pytest.approx(2**0.5 / 3, abs=1e-6)
    assert mean_cosine(vectors[:1]) == 0


def test_a_task_must_be_listed_once(tmp_path: Path) -> None:
    twice = Suite(name="twice", summary="", tasks=(STS, PARALLEL, STS))
    with pytest.raises(XlbenchError, match="'twice' lists ToySTS more than once"):
        scored(tmp_path, suite=twice)


def test_the_starter_suite_scores_all_shipped_rows(tmp_path: Path) -> None:
    result = scored(tmp_path, suite=STARTER)
    assert result.scores.example
    for task, rows in (
        ("StarterSTS", len(starter_items("sts"))),
        ("StarterBitext", len(starter_items("bitext"))),
    ):
        subsets = result.scores.tasks[task].subsets
        assert {subset.items for subset in subsets.values()} == {rows}
    assert len(result.scores.tasks["StarterSTS"].subsets) == 10
    assert len(result.scores.tasks["StarterBitext"].subsets) == 7
    # All subsets of StarterSTS translate the same pairs.
    numbers = {tuple(items.item) for (task, _), items in result.items.items() if task == "StarterSTS"}
    assert len(numbers) == 1


class UndefinedSTS(ToySTS):
    """The golds of 'xx' as they are (rho 0.8); of 'yy' one is not a number; those of 'zz' are all equal."""

    metadata = ToySTS.metadata.model_copy(update={"name": "UndefinedSTS"})
    golds: ClassVar = {"xx": [5.0, 3.0, 4.0, 0.0], "yy": [5.0, float("nan"), 4.0, 0.0], "zz": [2.0] * 4}


UNDEFINED = TaskRef(task="UndefinedSTS", family="sts", subsets=("xx", "yy", "zz"), loader="test_scoring:UndefinedSTS")


def test_an_undefined_score_is_named_and_no_mean_includes_it(tmp_path: Path) -> None:
    suite = Suite(name="undefined", summary="", tasks=(UNDEFINED,))
    result = score(toy_encoder(), suite, toy_settings(tmp_path), precision="float32", title="toy")
    task = result.scores.tasks["UndefinedSTS"]
    assert [subset.main for subset in task.subsets.values()] == [pytest.approx(80), None, None]
    assert task.undefined() == {"yy": "the gold of row 2 is not a number", "zz": "all 4 golds are equal"}
    assert task.mean() == result.scores.families["sts"] == pytest.approx(80)
    assert SuiteScores.model_validate_json(result.scores.model_dump_json()) == result.scores
    table = subset_table(result.scores)
    assert "undefined: all 4 golds are equal" in table
    assert "mean over 1 of 3 subsets" in table
