"""The markdown table: every figure where it belongs, and nothing that a name can break."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from toy_board import collapsed, example_records, example_student, statistics_of, student

from xlbench import XlbenchError
from xlbench.records.published import PublishedRow
from xlbench.records.record import Failure
from xlbench.records.rows import rows_of
from xlbench.report.figures import figures
from xlbench.report.markdown import markdown, subset_table

if TYPE_CHECKING:
    from xlbench.records.record import Record

# The example's family means: STS 52.195 teacher, 56.691 assistant, 55.192 aligned, 34.346 student;
# Bitext 97.279, 97.109, 98.321, 93.346. Toy statistics: scores ± 2 points, differences ± 1.
GIVEN = example_records()[:3]
CELL = re.compile(r"(?<!\\)\|")


def cells(text: str, number: int = 0) -> dict[str, dict[str, str]]:
    """The rows of the ``number``-th table, by name."""
    tables = [
        [line for line in part.split("\n") if line.startswith("|")]
        for part in text.split("\n\n")
        if part.startswith("|")
    ]
    split = [[cell.strip() for cell in CELL.split(line)[1:-1]] for line in tables[number]]
    return {row[0]: dict(zip(split[0], row, strict=True)) for row in split[2:]}


def test_a_row_shows_rank_score_drop_size_speed_and_cost() -> None:
    rows = rows_of([*GIVEN, student()])
    row = cells(markdown(figures(rows, statistics_of(rows))))["minilm-half"]
    assert row == {
        "Encoder": "minilm-half",
        "Method": "multistage",
        "STS rank": "4 d",  # teacher, assistant, aligned are all over a point better, and over a point apart
        "STS": "**34.3** ± 2.0",  # the smallest, so on the frontier
        "Δ STS": "−20.8 [−21.8, −19.8], −38 %",  # 34.346 - 55.192; 34.346 / 55.192 = 0.622
        "Bitext rank": "4 c",  # teacher and assistant are 0.17 apart and share the letter b
        "Bitext": "**93.3** ± 2.0",
        "Δ Bitext": "−5.0 [−6.0, −4.0], −5 %",
        "Params M": "43.0 (37 %)",  # of 117.65 million
        "Layers": "6 run as 12",
        "MB": "172",
        "Speed": "0.97×",
        "ms": "28.4",
        "Train min": "4.3",  # 257.5 seconds
    }


def test_rows_that_cannot_be_told_apart_share_rank_and_letter() -> None:
    rows = rows_of([*GIVEN, student(0.0), student(0.9, method="a"), student(2.0, method="b")])
    table = cells(markdown(figures(rows, statistics_of(rows))))
    # Differences are known to ± 1: 0.9 is none, 1.1 and 2.0 are.
    assert table["b/minilm-half"]["STS rank"] == "4 d"
    assert table["a/minilm-half"]["STS rank"] == "5 e"
    assert table["multistage/minilm-half"]["STS rank"] == "5 e"


def test_input_encoders_come_first_then_the_best_student() -> None:
    rows = rows_of([student(0.0), student(3.0, method="better"), *GIVEN])
    assert list(cells(markdown(figures(rows)))) == [
        "multilingual-e5-small, mean-centred",
        "multilingual-e5-small",
        "multilingual-e5-small, aligned (stage 1)",
        "better/minilm-half",
        "multistage/minilm-half",
    ]


def test_without_statistics_there_are_no_ranks_and_the_legend_says_so() -> None:
    text = markdown(figures(rows_of([*GIVEN, student()])))
    row = cells(text)["minilm-half"]
    assert "STS rank" not in row
    assert row["STS"] == "**34.3**"
    assert row["Δ STS"] == "−20.8, −38 %"
    assert "- No ranks and no intervals" in text


def test_the_legend_explains_ranks_in_one_line() -> None:
    rows = rows_of([*GIVEN, student()])
    lines = [line for line in markdown(figures(rows, statistics_of(rows))).split("\n") if line.startswith("- Rank:")]
    assert len(lines) == 1
    assert "rows that share a letter cannot be told apart" in lines[0]


def test_seeds_collapsed_and_failed_are_shown_and_left_out_of_the_mean() -> None:
    rows = rows_of(
        [*GIVEN, student(0.0), student(1.0, seed=1), collapsed(student(-30, seed=2)), student(9, method="b")]
    )
    failures = [
        Failure(row="multistage/minilm-half", seed=3, message="Stage 'x' diverged | badly"),
        Failure(row="gone", seed=0, message="no"),
        Failure(row="gone", seed=1, message="no"),
    ]
    text = markdown(figures(rows, statistics_of(rows), failures=failures))
    table = cells(text)
    # (34.346 + 35.346) / 2; the deviation of two values a point apart is 1 / sqrt 2.
    assert table["multistage/minilm-half"]["STS"] == "34.8 ± 2.0 (sd 0.7)"
    assert table["multistage/minilm-half"]["Seeds"] == "2 of 4 †‡"
    assert table["b/minilm-half"]["Seeds"] == "1"
    assert table["gone"]["Seeds"] == "0 of 2 ‡"
    assert table["gone"]["STS"] == ""
    assert "seed 2 collapsed" in text
    assert "‡ multistage/minilm-half, seed 3: Stage 'x' diverged \\| badly" in text


def test_a_row_whose_seeds_all_collapsed_has_no_rank_and_no_drop() -> None:
    rows = rows_of([*GIVEN, collapsed(student(0.0))])
    row = cells(markdown(figures(rows, statistics_of(rows))))["minilm-half"]
    assert row["STS"] == "34.3† ± 2.0"
    assert row["STS rank"] == row.get("Δ STS", "") == ""


def published(**scores: float) -> PublishedRow:
    tasks = GIVEN[0].scores.tasks
    values = {
        name: dict.fromkeys(list(task.subsets)[: int(scores.get(f"{name}_subsets", 99))], scores[name])
        for name, task in tasks.items()
    }
    return PublishedRow(name="org/LaBSE", citation="results", commit="f4cc", scores=values, parameters=471_000_000)


def test_published_scores_are_shown_for_a_family_only_with_the_same_subsets() -> None:
    rows = rows_of(GIVEN)
    others = [published(StarterSTS=70.0, StarterBitext=96.0, StarterBitext_subsets=3)]
    text = markdown(figures(rows, statistics_of(rows), others))
    row = cells(text)["org/LaBSE (published)"]
    assert (row["STS"], row["Bitext"], row["STS rank"], row["Params M"]) == ("70.0", "", "", "471.0")
    tasks = cells(text, 1)["org/LaBSE (published)"]
    assert (tasks["StarterSTS"], tasks["StarterBitext"]) == ("70.0", "96.0 (3 of 7 subsets)")
    assert "from results at f4cc" in text


def test_bold_is_the_frontier() -> None:
    # The second student is larger, as slow and worse in both families.
    rows = rows_of([student(1.0), student(0.0, method="worse", parameters=10**6)])
    table = cells(markdown(figures(rows)))
    assert table["multistage/minilm-half"]["STS"] == "**35.3**"
    assert table["worse/minilm-half"]["STS"] == "34.3"


def test_the_legend_states_what_the_corpus_shares_with_the_suite() -> None:
    record = example_student()
    assert record.corpus is not None
    read = record.corpus.corpora[0]
    counts = (
        read.model_copy(update={"reference": "tsv:news", "read": 1000}),
        read.model_copy(update={"overlap": 12}),
        read.model_copy(update={"reference": "tsv:talks", "read": 234}),
    )
    corpus = record.corpus.model_copy(update={"corpora": counts, "notes": ("ted: its talks are in Tatoeba",)})
    text = markdown(figures(rows_of([record.model_copy(update={"corpus": corpus})])))
    assert "- Training data: ted: its talks are in Tatoeba." in text
    assert "- Training pairs of starter dropped because a side is also a sentence of the suite: 12 of 2,730." in text
    # Those without are one line, their pairs counted together: 1,000 + 234.
    assert (
        "- Training pairs of tsv:news, tsv:talks dropped because a side is also a sentence of the suite: 0 of 1,234."
        in text
    )


@pytest.mark.parametrize(
    "title",
    [
        "<script>alert(1)</script>",
        "a | b",
        "x" * 300,
        "two\nlines",
        "*bold* `code` [a](http://b)",
        "_ _",
        "a\\",
        "\u202eevil",
    ],
)
def test_a_hostile_title_breaks_no_table(title: str) -> None:
    rows = rows_of([*GIVEN, student(name=title)])
    failures = [Failure(row=title, seed=1, message=title)]
    text = markdown(figures(rows, statistics_of(rows), failures=failures))
    assert "<script>" not in text
    assert "\u202e" not in text
    assert not re.search(r"[^\\]\]\(http", text)
    lines = [line for line in text.split("\n") if line.startswith("|")]
    assert len({len(CELL.findall(line)) for line in lines}) == 1
    assert max(map(len, lines)) < 500
    if title == "a\\":
        assert "a\\\\" in text


def test_no_rows_are_an_error_with_a_remedy() -> None:
    with pytest.raises(XlbenchError, match="no records"):
        markdown(figures(()))


def test_the_subset_table_ends_with_the_means() -> None:
    lines = subset_table(example_student().scores).split("\n")
    assert len([line for line in lines if line.startswith("| StarterSTS")]) == 10
    assert any("**STS**" in line and "**34.35**" in line for line in lines)
    assert "not a benchmark" in lines[-1]


def test_rows_of_fewer_bits_are_explained_and_no_others() -> None:
    record = student()
    assert record.experiment is not None
    spec = record.experiment.student.model_copy(update={"bits": 8})
    rounded = record.model_copy(update={"experiment": record.experiment.model_copy(update={"student": spec})})
    line = "- 8bit, 16bit: rounded to that many bits of each weight; MB are those of the files."
    assert line in markdown(figures(rows_of([*example_records()[:3], rounded]))).splitlines()
    assert line not in markdown(figures(rows_of([*example_records()[:3], record]))).splitlines()


def test_a_row_with_a_trimmed_vocabulary_shows_the_languages_that_it_kept() -> None:
    def with_tokens(record: Record, vocabulary: int | None) -> Record:
        size = record.footprint.model_copy(update={"vocabulary": vocabulary})
        return record.model_copy(update={"footprint": size})

    given = [with_tokens(record, 250_002) for record in GIVEN]
    both = [with_tokens(student(0.0), 250_002), with_tokens(student(1.0, method="trimmed"), 60_000)]
    text = markdown(figures(rows_of([*given, *both])))
    kept = {name: row["Languages"] for name, row in cells(text).items()}
    assert kept["trimmed/minilm-half"] == "ar de en es fr it nl tr"
    assert sorted(kept.values()) == ["", "", "", "", "ar de en es fr it nl tr"]
    assert "- Languages: those that a trimmed vocabulary kept" in text
    uncounted = [with_tokens(record, None) for record in GIVEN]
    assert "Languages" not in markdown(figures(rows_of([*uncounted, *both])))
