"""Near-duplicates of test sentences in the training data: what counts as one, and that all are found."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from toy_board import example_records
from toy_runs import make_place, settings_at, toy_request, toy_run

from xlbench.corpora.overlap import near_duplicates, words
from xlbench.records.rows import rows_of
from xlbench.report.figures import figures
from xlbench.report.markdown import markdown
from xlbench.store import entries

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop!", {"don", "t", "stop"}),
        ("Été, ÉTÉ -- ete", {"ete"}),
        ("IĞDIR'da 12 ev", {"igdir", "da", "12", "ev"}),
        ("我們去 Berlin", {"我", "們", "去", "berlin"}),
        ("ไปไหน", set("ไปไหน")),
        ("?! _", set()),
    ],
)
def test_the_words_of_a_text(text: str, expected: set[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("A man plays a guitar", True),  # the same words
        ("a guitar! PLAYS: a man", True),  # in another order
        ("the man plays a guitar", True),  # 4 of 5
        ("one man plays the guitar", False),  # 3 of 6
        ("man plays guitar", False),  # 3 of 4
        ("", False),
    ],
)
def test_four_words_in_five_are_near(text: str, near: bool) -> None:
    assert near_duplicates({"task": ["a man plays a guitar"]}, [text]) == {"task": float(near)}


def test_shares_are_of_the_distinct_sentences_of_each_task() -> None:
    tested = {
        "one": ["a b c", "a b c", "d e f", "g h i", "..."],
        "two": ["A, B, C"],
        "three": iter(["x y z"]),
        "none": [],
    }
    # One of the four distinct sentences of the first task has a near-duplicate, and the only one of the second task.
    assert near_duplicates(tested, ["c b a", "d e g"]) == {"one": 0.25, "two": 1.0, "three": 0.0, "none": 0.0}


def test_prefix_filtering_finds_what_comparing_all_pairs_finds() -> None:
    draw = random.Random(0)
    letters = "abcdefghijklm"

    def sentence() -> str:
        return " ".join(draw.choices(letters, weights=range(1, 14), k=draw.randint(1, 16)))

    tested, corpus = [sentence() for _ in range(300)], [sentence() for _ in range(300)]
    pairs = [(set(text.split()), [set(other.split()) for other in corpus]) for text in dict.fromkeys(tested)]
    expected = [any(5 * len(own & other) >= 4 * len(own | other) for other in others) for own, others in pairs]
    assert 0.05 < sum(expected) / len(expected) < 0.95
    assert near_duplicates({"task": tested}, corpus) == {"task": sum(expected) / len(expected)}
    # Task by task, to see that they are the same sentences and not only as many.
    for text, near in zip(dict.fromkeys(tested), expected, strict=True):
        assert near_duplicates({"task": [text]}, corpus) == {"task": float(near)}


def test_a_run_records_near_duplicates_and_counts_them_once(tmp_path: Path) -> None:
    make_place(tmp_path)
    settings = settings_at(tmp_path / "home")
    for method in ("single-stage", "vocab-trim"):
        request = toy_request(tmp_path, method=method, suite="starter", student_pairs=64, assistant_pairs=0)
        *_, student = toy_run(request, settings)[0].records
        assert student.corpus is not None
        # No sentence of the suite has words of the toy corpus.
        assert student.corpus.near_duplicates == dict.fromkeys(student.scores.tasks, 0.0)
    assert [entry.kind for entry in entries(settings.home)].count("near-duplicates") == 1


def test_a_board_states_near_duplicates() -> None:
    records = example_records()
    line = "- Test sentences that share four words in five or more with one of the training data: "
    assert line not in markdown(figures(rows_of(records)))
    assert records[-1].corpus is not None
    facts = [
        records[-1].corpus.model_copy(update={"near_duplicates": shares})
        for shares in ({"STS17": 0.01, "Tatoeba": 0.0426}, {"STS17": 0.03})
    ]
    rows = [record.model_copy(update={"corpus": fact}) for record, fact in zip(records[-2:], facts, strict=True)]
    assert f"{line}STS17 3.0 %, Tatoeba 4.3 %." in markdown(figures(rows_of([*records[:-2], *rows]))).splitlines()
