"""The frames of a board: every column, its type, and the figures in it."""

from __future__ import annotations

from math import sqrt

import pandas as pd
import pytest
from toy_board import EXAMPLE, collapsed, example_records, shifted, statistics_of, student, with_tasks

from xlbench import XlbenchError
from xlbench.records.published import PublishedRow
from xlbench.records.record import Failure, records_in
from xlbench.records.rows import rows_of
from xlbench.report.fields import FAMILY, TASKS, TIDY, board_fields
from xlbench.report.figures import figures
from xlbench.report.frame import board_frame, languages_of, task_frame, tidy_frame
from xlbench.report.markdown import markdown
from xlbench.scoring.scores import SubsetScores

GIVEN = example_records()[:3]
# The example's means: STS 52.195 teacher, 56.691 assistant, 55.192 aligned, 34.346 student; Bitext 97.279, 97.109,
# 98.321, 93.346. Toy statistics: scores ± 2 points, subsets ± 4, differences ± 1.


def line(frame: pd.DataFrame, name: str) -> dict[str, object]:
    """The one line of a row, what is missing as None."""
    (found,) = frame[frame["name"] == name].astype(object).where(frame.notna(), None).to_dict("records")
    return {str(key): value for key, value in found.items()}


def test_a_tidy_frame_has_a_line_for_each_row_seed_task_and_subset() -> None:
    rows = rows_of([*GIVEN, student(), student(1.0, seed=1)])
    frame = tidy_frame(rows, statistics_of(rows))
    assert list(frame.columns) == [
        "name", "method", "student", "role", "seed", "suite", "family", "task", "subset", "languages", "split",
        "metric", "items", "score", "undefined", "low", "high", "collapsed",
    ]  # fmt: skip
    assert len(frame) == 5 * (10 + 7)
    one, other = (frame[(frame.subset == "en-de") & (frame.seed == seed)].iloc[0].to_dict() for seed in (0, 1))
    assert pd.isna(one.pop("undefined"))
    assert pd.isna(other.pop("undefined"))
    assert one == {
        "name": "minilm-half",
        "method": "multistage",
        "student": "minilm-half",
        "role": "student",
        "seed": 0,
        "suite": "starter",
        "family": "sts",
        "task": "StarterSTS",
        "subset": "en-de",
        "languages": "en-de",
        "split": "test",
        "metric": "cosine_spearman",
        "items": 66,
        "score": pytest.approx(41.5032, abs=1e-4),
        # Of the mean over seeds, 41.5032 + 0.5, whichever seed stands beside it.
        "low": pytest.approx(38.0032, abs=1e-4),
        "high": pytest.approx(46.0032, abs=1e-4),
        "collapsed": False,
    }
    assert other == one | {"seed": 1, "score": pytest.approx(42.5032, abs=1e-4)}


def test_an_input_encoder_has_no_method_no_seed_and_without_statistics_no_interval() -> None:
    frame = tidy_frame(rows_of(GIVEN))
    assert frame[["method", "student", "seed", "low", "high"]].isna().all(axis=None)
    assert frame[["role", "suite", "score", "items"]].notna().all(axis=None)


def test_a_board_frame_gives_quality_size_speed_and_cost_of_a_student() -> None:
    rows = rows_of([*GIVEN, student()])
    frame = board_frame(rows, statistics_of(rows))
    about = pytest.approx
    assert line(frame, "minilm-half") == {
        "name": "minilm-half",
        "role": "student",
        "method": "multistage",
        "student": "minilm-half",
        "published": False,
        "reference": False,
        "sts_rank": 4,  # three rows are over a point better
        "sts_letters": "d",
        "sts_score": about(34.3458, abs=1e-4),
        "sts_low": about(32.3458, abs=1e-4),
        "sts_high": about(36.3458, abs=1e-4),
        "sts_seed_deviation": None,
        "sts_drop": about(-20.8467, abs=1e-4),  # 34.3458 - 55.1924
        "sts_drop_low": about(-21.8467, abs=1e-4),
        "sts_drop_high": about(-19.8467, abs=1e-4),
        "sts_drop_percent": about(-37.7709, abs=1e-4),  # 34.3458 / 55.1924 = 0.622291
        "sts_frontier": True,  # the smallest
        "bitext_rank": 4,
        "bitext_letters": "c",  # teacher and assistant are 0.17 apart and share one
        "bitext_score": about(93.3461, abs=1e-4),
        "bitext_low": about(91.3461, abs=1e-4),
        "bitext_high": about(95.3461, abs=1e-4),
        "bitext_seed_deviation": None,
        "bitext_drop": about(-4.9745, abs=1e-4),  # 93.3461 - 98.3206
        "bitext_drop_low": about(-5.9745, abs=1e-4),
        "bitext_drop_high": about(-3.9745, abs=1e-4),
        "bitext_drop_percent": about(-5.0595, abs=1e-4),
        "bitext_frontier": True,
        "parameters": 43_046_656,
        "parameters_share": about(36.5876, abs=1e-4),  # of 117,653,760
        "embedding_parameters": 32_252_032,
        "executed_parameters": 21_293_568,
        "stored_layers": 6,
        "executed_layers": 12,
        "bits": 32,
        "megabytes": about(172.198264),
        "languages": None,
        "throughput_ratio": about(0.9731, abs=1e-4),
        "sentences_per_second": about(107.2144, abs=1e-4),
        "latency_ms": about(28.4245, abs=1e-4),
        "train_minutes": about(257.542 / 60, abs=1e-4),  # seconds of its stages
        "seeds": 1,
        "seeds_asked": 1,
        "seeds_collapsed": 0,
        "seeds_failed": 0,
        "collapsed": False,
    }


def test_the_reference_row_is_marked_and_has_no_drop() -> None:
    rows = rows_of([*GIVEN, student()])
    frame = board_frame(rows, statistics_of(rows))
    assert list(frame.name[frame.reference]) == ["multilingual-e5-small, aligned (stage 1)"]
    assert list(frame.name[frame.sts_drop.notna()]) == ["minilm-half"]


@pytest.mark.parametrize(("lower", "defined"), [(50.0, True), (55.1925, False), (60.0, False)])
def test_a_per_cent_of_a_score_at_or_below_zero_is_not_a_number(lower: float, defined: bool) -> None:
    # The reference's STS is 55.1924: 5.2, -0.0001 and -4.8 here. Points are known all the same.
    frame = board_frame([shifted(GIVEN[2], -lower), student(-lower)])
    found = line(frame, "minilm-half")
    assert (found["sts_drop_percent"] is not None) is defined
    assert found["sts_drop"] == pytest.approx(-20.8467, abs=1e-4)


def test_a_board_frame_is_made_of_records_as_well_as_of_rows() -> None:
    records = [*GIVEN, student(), student(1.0, seed=1)]
    pd.testing.assert_frame_equal(board_frame(records), board_frame(rows_of(records)))
    pd.testing.assert_frame_equal(tidy_frame(records), tidy_frame(rows_of(records)))
    pd.testing.assert_frame_equal(task_frame(records), task_frame(rows_of(records)))


def test_seeds_are_counted_and_those_that_collapsed_or_failed_left_out() -> None:
    rows = rows_of([*GIVEN, student(0.0), student(1.0, seed=1), collapsed(student(-30, seed=2))])
    failures = [Failure(row="minilm-half", seed=3, message="diverged"), Failure(row="gone", seed=0, message="no")]
    frame = board_frame(rows, statistics_of(rows), failures=failures)
    found = line(frame, "minilm-half")
    assert found["sts_score"] == pytest.approx(34.8458, abs=1e-4)  # the mean of 34.3458 and 35.3458
    assert found["sts_seed_deviation"] == pytest.approx(1 / sqrt(2))  # two values a point apart
    assert [found[f"seeds{kind}"] for kind in ("", "_asked", "_collapsed", "_failed")] == [2, 4, 1, 1]
    gone = {name: value for name, value in line(frame, "gone").items() if value not in {None, False}}
    assert gone == {"name": "gone", "role": "failed", "seeds_asked": 1, "seeds_failed": 1}


def test_a_row_whose_seeds_all_collapsed_is_neither_ranked_nor_on_the_frontier() -> None:
    rows = rows_of([*GIVEN, collapsed(student())])
    found = line(board_frame(rows, statistics_of(rows)), "minilm-half")
    assert found["collapsed"] is True
    assert (found["sts_rank"], found["sts_drop"], found["sts_frontier"], found["seeds"]) == (None, None, False, 0)


def test_published_rows_have_a_family_mean_only_with_all_its_subsets() -> None:
    tasks = GIVEN[0].scores.tasks
    scores = {
        "StarterSTS": dict.fromkeys(tasks["StarterSTS"].subsets, 70.0),
        "StarterBitext": dict.fromkeys(list(tasks["StarterBitext"].subsets)[:3], 96.0),
    }
    other = PublishedRow(name="org/LaBSE", citation="results", commit="f4cc", scores=scores, parameters=471_000_000)
    rows = rows_of(GIVEN)
    found = line(board_frame(rows, statistics_of(rows), [other]), "org/LaBSE")
    assert {name: value for name, value in found.items() if value not in {None, False}} == {
        "name": "org/LaBSE", "role": "published", "published": True, "sts_score": 70.0, "parameters": 471_000_000,
    }  # fmt: skip
    by_task = task_frame(rows, None, [other])
    part = by_task[by_task["name"] == "org/LaBSE"]
    assert part[["task", "score", "subsets", "subsets_asked"]].to_numpy().tolist() == [
        ["StarterSTS", 70.0, 10, 10],
        ["StarterBitext", 96.0, 3, 7],
    ]


def test_a_task_frame_has_a_line_for_each_row_and_task() -> None:
    rows = rows_of([*GIVEN, student(), student(1.0, seed=1)])
    frame = task_frame(rows, statistics_of(rows))
    assert len(frame) == 4 * 2
    assert frame.iloc[-2].to_dict() == {
        "name": "minilm-half",
        "published": False,
        "task": "StarterSTS",
        "family": "sts",
        "subsets": 10,
        "subsets_asked": 10,
        "score": pytest.approx(34.8458, abs=1e-4),
        "low": pytest.approx(32.8458, abs=1e-4),
        "high": pytest.approx(36.8458, abs=1e-4),
        "seed_deviation": 0.5,
    }


def test_every_column_is_described_and_of_its_type() -> None:
    rows = rows_of([*GIVEN, student()])
    frames = [
        (board_frame(rows), board_fields(("sts", "bitext"))),
        (tidy_frame(rows), TIDY),
        (task_frame(rows), TASKS),
    ]
    for frame, fields in frames:
        assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
            name: field.kind for name, field in fields.items()
        }
        assert all(field.about.endswith(".") for field in fields.values())
    assert list(board_fields(("bitext",)))[6] == f"bitext_{next(iter(FAMILY))}"


def test_no_records_make_an_empty_tidy_frame_and_no_board() -> None:
    assert list(tidy_frame([]).columns) == list(TIDY)
    assert len(tidy_frame([])) == len(task_frame([])) == 0
    with pytest.raises(XlbenchError, match="no records"):
        board_frame([])


def test_records_of_other_suites_share_a_tidy_frame_and_no_board() -> None:
    first = next(iter(records_in(EXAMPLE, quiet=True)))
    other = first.model_copy(update={"scores": first.scores.model_copy(update={"suite": "other"})})
    assert set(tidy_frame([first, other]).suite) == {"starter", "other"}
    with pytest.raises(XlbenchError, match="cannot share a table"):
        board_frame([first, other])


@pytest.mark.parametrize(
    ("subset", "languages"),
    [("en-de", "en-de"), ("en-en", "en"), ("en", "en"), ("ar-ar", "ar"), ("eng_Latn-deu_Latn", "en-de"),
     ("tur_Latn-eng_Latn", "tr-en"), ("ara-eng", "ar-en"), ("default", "default")],
)  # fmt: skip
def test_a_subset_has_the_languages_of_its_sides(subset: str, languages: str) -> None:
    assert languages_of(subset) == languages


def test_a_row_undefined_in_a_subset_of_its_own_is_not_ranked_and_says_why() -> None:
    record = student(name="flat")
    task = record.scores.tasks["StarterSTS"]
    cells = task.subsets | {"ar-ar": SubsetScores(items=60, main=None, metrics={}, undefined="all cosines are equal")}
    tasks = record.scores.tasks | {"StarterSTS": task.model_copy(update={"subsets": cells})}
    rows = rows_of([*GIVEN, student(), with_tasks(record, tasks)])
    board = board_frame(rows, statistics_of(rows))
    flat, whole = line(board, "flat"), line(board, "minilm-half")
    assert (flat["sts_rank"], flat["sts_drop"], flat["sts_frontier"]) == (None, None, False)
    assert flat["bitext_rank"] is not None
    assert whole["sts_rank"] is not None
    # The mean is over the nine others, and the table by task says so.
    others = [cell.main for subset, cell in task.subsets.items() if subset != "ar-ar"]
    assert flat["sts_score"] == pytest.approx(sum(others) / 9)
    by_task = task_frame(rows)
    assert by_task[(by_task.name == "flat") & (by_task.task == "StarterSTS")].subsets.item() == 9
    tidy = tidy_frame(rows)
    cell = tidy[(tidy.name == "flat") & (tidy.subset == "ar-ar")].iloc[0]
    assert pd.isna(cell.score)
    assert cell.undefined == "all cosines are equal"
    text = markdown(figures(rows, statistics_of(rows)))
    assert "§ flat: undefined: StarterSTS ar-ar (all cosines are equal); its STS is the mean of 9 of 10 subsets" in text
