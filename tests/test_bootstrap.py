"""The bootstrap over items: scores of resamples, joint draws, and the coverage of intervals."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyarrow import parquet
from scipy import stats

from xlbench import XlbenchError
from xlbench.comparison import bootstrap
from xlbench.comparison.bootstrap import Draws, mean, resample
from xlbench.comparison.compute import compute_statistics
from xlbench.comparison.gaps import find_gaps
from xlbench.comparison.statistics import Statistics
from xlbench.comparison.weighted import Counts, contributions, scorer
from xlbench.scoring import item_files
from xlbench.scoring.item_files import LargeFile, read_items, write_items
from xlbench.scoring.items import ItemScores, main_score

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from xlbench.experiment import Family
    from xlbench.scoring.items import Items

    Floats = NDArray[np.float32]

FAMILIES: dict[str, Family] = {"S": "sts", "B": "bitext"}


def nothing(amount: float = 1, note: str = "") -> None:
    """Show no progress."""


def items(gold: Sequence[float] | Floats, prediction: Sequence[float] | Floats, first: int = 0) -> ItemScores:
    numbers = np.arange(first, first + len(gold), dtype=np.int32)
    return ItemScores(numbers, np.asarray(prediction, np.float32), np.asarray(gold, np.float32))


def correlated(generator: np.random.Generator, size: int, *noise: float) -> list[Floats]:
    """Return golds, and predictions that are the golds plus noise."""
    gold = generator.standard_normal(size)
    found = [gold + level * generator.standard_normal(size) for level in noise]
    return [values.astype(np.float32) for values in (gold, *found)]


def mined_pairs(generator: np.random.Generator, size: int, *wrong: float) -> list[Floats]:
    """Return golds, and predictions of which a share is wrong; the same items are the hardest for all."""
    gold = np.arange(size)
    hard, other = generator.random(size), (gold + generator.integers(1, size, size)) % size
    return [values.astype(np.float32) for values in (gold, *(np.where(hard < share, other, gold) for share in wrong))]


def interval(gold: Floats, *predictions: Floats, family: Family = "sts", resamples: int = 1000, seed: int = 0) -> Draws:
    runs = [{"x": items(gold, prediction)} for prediction in predictions]
    return dict(resample("task", family, runs, resamples, seed, nothing))["x"]


def test_spearman_of_a_resample_is_that_of_the_drawn_items() -> None:
    generator = np.random.default_rng(1)
    gold = generator.integers(0, 6, 50).astype(np.float32)
    # Many ties, some ties, hardly any, and all tied: rho is then undefined.
    predictions = [generator.integers(0, levels, 50).astype(np.float32) for levels in (4, 40, 10**6, 1)]
    drawn = generator.integers(0, 50, (30, 50))
    drawn[0] = 7  # one item fifty times, for which rho is undefined too
    counts = np.stack([np.bincount(rows, minlength=50) for rows in drawn]).astype(np.int32)
    scores = [[main_score("sts", it[rows], gold[rows]) for rows in drawn] for it in predictions]
    expected = np.array(scores, np.float64)  # None becomes NaN
    np.testing.assert_allclose(scorer("sts", gold, predictions)(Counts(counts)), expected, rtol=0, atol=1e-9)


def test_f1_is_the_mean_contribution_of_rows() -> None:
    gold = np.array([0, 1, 2], np.float32)
    # Row 2 predicts the translation of row 1. F1 of the classes: 1, 2/3 (predicted twice, once correctly), 0.
    # Row 2 costs 1 / (1 + 0) in class 2, which nothing predicts, and 1 / (1 + 2) in class 1, predicted twice.
    added = contributions(gold, np.array([0, 1, 1], np.float32))
    np.testing.assert_allclose(added, [1, 1, 1 - 1 - 1 / 3])
    assert added.mean() == pytest.approx((1 + 2 / 3 + 0) / 3)


@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.6, 1.0])
def test_f1_on_the_items_as_they_are_is_the_main_score(wrong: float) -> None:
    generator = np.random.default_rng(2)
    gold, found = mined_pairs(generator, 60, wrong)
    repeated = generator.integers(0, 20, 60).astype(np.float32)  # golds that share classes
    for truth in (gold, repeated):
        (points,) = scorer("bitext", truth, [found])(Counts(np.ones((1, 60), np.int32)))
        assert points[0] == pytest.approx(main_score("bitext", found, truth), abs=1e-9)


def test_intervals_agree_with_scipy() -> None:
    gold, one, two = correlated(np.random.default_rng(3), 80, 0.7, 1.0)

    def rho(gold: Floats, prediction: Floats) -> float:
        return 100 * float(stats.spearmanr(gold, prediction)[0])

    def gap(gold: Floats, one: Floats, two: Floats) -> float:
        return rho(gold, one) - rho(gold, two)

    draws = interval(gold, one, two, resamples=4000)
    for actual, data, statistic in (
        (draws.interval(0), (gold, one), rho),
        (draws.difference(0, 1), (gold, one, two), gap),
    ):
        expected = stats.bootstrap(
            data, statistic, paired=True, vectorized=False, n_resamples=1500, method="percentile", rng=4
        )
        # In standard deviations of the draws, the 2.5 % quantile of R normal draws has the standard error
        # sqrt(0.025 * 0.975 / R) / 0.0584: 0.07 for 1,500, 0.04 for 4,000, 0.08 for the difference. Three of these.
        error = expected.standard_error
        assert actual.value == pytest.approx(statistic(*data), abs=1e-4)
        assert actual.low == pytest.approx(expected.confidence_interval.low, abs=0.24 * error)
        assert actual.high == pytest.approx(expected.confidence_interval.high, abs=0.24 * error)
        assert actual.error == pytest.approx(error, rel=0.08)


def covered(found: Sequence[Draws], one: float, two: float) -> tuple[float, float]:
    """Return how often intervals cover the true score of row 0, and the true difference of rows 0 and 1."""
    scores = [draws.interval(0) for draws in found]
    gaps = [draws.difference(0, 1) for draws in found]
    return fmean(it.low <= one <= it.high for it in scores), fmean(it.low <= one - two <= it.high for it in gaps)


def test_95_of_100_intervals_of_spearman_cover_the_true_value() -> None:
    # Gold plus noise of level s has the correlation r = 1 / sqrt(1 + s^2) with gold; the rank correlation of two
    # normal variables is 6 / pi arcsin(r / 2) (Pearson 1907).
    one, two = (600 / math.pi * math.asin(1 / math.sqrt(1 + level**2) / 2) for level in (0.8, 1.2))
    generator = np.random.default_rng(5)
    found = [interval(*correlated(generator, 100, 0.8, 1.2), resamples=500, seed=seed) for seed in range(1000)]
    score, gap = covered(found, one, two)
    assert 0.93 <= score <= 0.97
    assert 0.93 <= gap <= 0.97


def test_95_of_100_intervals_of_f1_cover_the_true_value() -> None:
    def truth(wrong: float, size: int) -> float:
        # A row is right with probability 1 - wrong. Each other row predicts its translation with probability
        # wrong / (size - 1), so their number k is binomial, and the class then has F1 = 2 / (2 + k).
        competitors = np.arange(size)
        probabilities = stats.binom.pmf(competitors, size - 1, wrong / (size - 1))
        return 100 * (1 - wrong) * float((probabilities * 2 / (2 + competitors)).sum())

    size, generator = 400, np.random.default_rng(6)
    shares = 0.05, 0.1
    found = [
        interval(*mined_pairs(generator, size, *shares), family="bitext", resamples=500, seed=seed)
        for seed in range(1000)
    ]
    score, gap = covered(found, *(truth(wrong, size) for wrong in shares))
    assert 0.93 <= score <= 0.97
    assert 0.93 <= gap <= 0.97
    # The F1 of the drawn rows themselves is two points too high on average, as `contributions` explains.
    gold, wrong = mined_pairs(generator, 200, 0.2)
    rows = generator.integers(0, 200, (400, 200))
    naive = fmean(main_score("bitext", wrong[it], gold[it]) for it in rows)
    assert naive - main_score("bitext", wrong, gold) > 1.5


def test_subsets_that_share_items_are_drawn_together_and_others_independently() -> None:
    gold, first, second = correlated(np.random.default_rng(7), 100, 0.8, 0.8)
    # 'b' has the items of 'a'. 'c' has the values of 'a' for items of its own. 'd' has the values of 'c', and shares
    # half of its items with 'c'.
    run = {
        "c": items(gold, first, 500),
        "a": items(gold, first),
        "b": items(gold, second),
        "d": items(np.roll(gold, 50), np.roll(first, 50), 550),
    }
    drawn = dict(resample("task", "sts", [run], 3000, 0, nothing))
    assert list(drawn) == ["c", "a", "b", "d"]
    assert drawn["a"].value == drawn["c"].value
    correlations = {name: np.corrcoef(drawn["a"].drawn[0], drawn[name].drawn[0])[0, 1] for name in "bcd"}
    # The correlation of independent draws has the standard deviation 1 / sqrt(3000) = 0.018.
    assert correlations["b"] > 0.2
    assert abs(correlations["c"]) < 0.07
    assert abs(correlations["d"]) < 0.07
    assert 0.3 < np.corrcoef(drawn["c"].drawn[0], drawn["d"].drawn[0])[0, 1] < 0.7
    # The draws of a block depend neither on other blocks nor on other tasks.
    fewer = dict(resample("task", "sts", [{"a": run["a"], "b": run["b"]}], 3000, 0, nothing))
    np.testing.assert_array_equal(fewer["a"].drawn, drawn["a"].drawn)
    other = dict(resample("another task", "sts", [{"a": run["a"]}], 3000, 0, nothing))
    assert abs(np.corrcoef(other["a"].drawn[0], drawn["a"].drawn[0])[0, 1]) < 0.07
    # So the mean of a subset and its copy is as uncertain as the subset; that of two independent ones has 1 / sqrt(2)
    # of its standard error.
    twin = {"a": items(gold, first), "b": items(gold, first)}
    copied = mean(dict(resample("task", "sts", [twin], 3000, 0, nothing)).values())
    assert copied.interval(0) == drawn_alone(run["a"]).interval(0)
    apart = mean([drawn["a"], drawn["c"]]).interval(0)
    assert apart.error == pytest.approx(drawn["a"].interval(0).error / math.sqrt(2), rel=0.07)


def drawn_alone(scores: ItemScores) -> Draws:
    return dict(resample("task", "sts", [{"a": scores}], 3000, 0, nothing))["a"]


def test_draws_depend_neither_on_the_rows_nor_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    gold, one, two = correlated(np.random.default_rng(8), 90, 0.5, 0.9)
    alone, both = interval(gold, two, resamples=70), interval(gold, one, two, resamples=70)
    np.testing.assert_array_equal(alone.drawn[0], both.drawn[1])
    monkeypatch.setattr(bootstrap, "CHUNK", 90 * 11)
    np.testing.assert_array_equal(interval(gold, two, resamples=70).drawn, alone.drawn)


def test_nothing_depends_on_how_many_subsets_are_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor on whether items are in memory: subsets of two blocks, in turns, some of them undefined."""
    runs = []
    for seed in range(3):
        generator = np.random.default_rng(seed)
        run: dict[tuple[str, str], ItemScores] = {}
        for number in range(7):
            gold, found = correlated(np.random.default_rng(number), 20, 1.0)
            found = np.full(20, 0.5, np.float32) if seed == number == 2 else found + generator.normal(size=20)
            run["S", f"x{number}"] = items(gold, found, first=20 * (number % 2))
        runs.append(run)
    rows = {"a": runs[:2], "b": runs[2:]}
    held = compute_statistics(rows, FAMILIES, resamples=60, quiet=True)
    assert "x2" not in held.rows["b"].subsets["S"]
    gaps = find_gaps(runs[0], runs[2], FAMILIES, resamples=60, quiet=True)
    monkeypatch.setattr(bootstrap, "HELD", 60 * 3 * 2)  # two subsets of three runs
    monkeypatch.setattr(item_files, "LARGE", 100)
    filed = []
    for number, run in enumerate(runs):
        write_items(tmp_path / "whole", run)
        path = tmp_path / str(number)
        parquet.write_table(parquet.read_table(tmp_path / "whole"), path, row_group_size=17)  # subsets are cut
        filed.append(read_items(path))
        assert isinstance(filed[-1], LargeFile)
        assert list(filed[-1]) == list(run)
    assert compute_statistics({"a": filed[:2], "b": filed[2:]}, FAMILIES, resamples=60, quiet=True) == held
    assert find_gaps(filed[0], filed[2], FAMILIES, resamples=60, quiet=True) == gaps


def two_tasks(generator: np.random.Generator, noise: float, wrong: float) -> Items:
    gold, found = correlated(generator, 40, noise)
    golds, taken = mined_pairs(generator, 30, wrong)
    return {
        ("S", "x"): items(gold, found),
        ("S", "y"): items(gold, -found),
        ("B", "z"): items(golds, taken),
    }


def test_statistics_of_rows_with_and_without_seeds() -> None:
    runs = [two_tasks(np.random.default_rng(9), 0.6, wrong) for wrong in (0.0, 0.2, 0.4)]
    found = compute_statistics({"seeds": runs[:2], "one": runs[2:]}, FAMILIES, resamples=200, quiet=True)
    seeds, one = found.rows["seeds"], found.rows["one"]
    assert (seeds.seeds, one.seeds) == (2, 1)
    assert found.items == 40 + 30
    # The predictions of the two subsets of S are opposite.
    assert (one.families["sts"].value, one.tasks["S"].value) == (0, 0)
    assert one.subsets["S"]["x"].value == -one.subsets["S"]["y"].value != 0
    first, second, third = (main_score("bitext", run["B", "z"].prediction, run["B", "z"].gold) for run in runs)
    assert first == 100
    assert seeds.families["bitext"].value == pytest.approx((first + second) / 2, abs=1e-4)
    # The sample standard deviation of two values is their distance / sqrt(2).
    assert seeds.seed_deviation == {
        "sts": 0,
        "bitext": pytest.approx((first - second) / math.sqrt(2), abs=1e-4),
    }
    assert seeds.task_seed_deviation is not None
    assert seeds.task_seed_deviation["B"] == seeds.seed_deviation["bitext"]
    assert one.seed_deviation is one.task_seed_deviation is None
    gap = found.difference("seeds", "one").tasks["B"]
    assert gap.value == pytest.approx((first + second) / 2 - third, abs=1e-4)
    opposite = found.difference("one", "seeds")
    assert (opposite.first, opposite.second) == ("one", "seeds")
    assert (opposite.tasks["B"].low, opposite.tasks["B"].high) == (-gap.high, -gap.low)
    assert Statistics.model_validate_json(found.model_dump_json()) == found


def test_family_means_give_tasks_equal_weight() -> None:
    generator = np.random.default_rng(10)
    gold, one, two = correlated(generator, 30, 0.2, 2.0)
    run: Items = {("S", "x"): items(gold, one), ("S", "y"): items(gold, two), ("T", "x"): items(gold, two)}
    found = compute_statistics({"row": [run]}, {"S": "sts", "T": "sts"}, resamples=50, quiet=True).rows["row"]
    good, bad = (main_score("sts", it, gold) for it in (one, two))
    assert found.families["sts"].value == pytest.approx(((good + bad) / 2 + bad) / 2, abs=1e-4)


def test_the_difference_of_a_copy_is_zero() -> None:
    run = two_tasks(np.random.default_rng(11), 0.6, 0.2)
    other = two_tasks(np.random.default_rng(11), 0.6, 0.3)
    found = compute_statistics({"a": [run, other], "b": [run, other]}, FAMILIES, resamples=100, quiet=True)
    for gap in (*found.differences[0].families.values(), *found.differences[0].tasks.values()):
        assert (gap.value, gap.low, gap.high, gap.error) == (0, 0, 0, 0)


def test_rows_with_different_items_are_refused() -> None:
    run = two_tasks(np.random.default_rng(12), 0.6, 0.2)
    fewer = {name: it for name, it in run.items() if name[0] == "S"}
    other = {**run, ("S", "y"): items(run["S", "y"].gold + 1, run["S", "y"].prediction)}
    for wrong, where in ((fewer, "B z"), (other, "S y")):
        with pytest.raises(XlbenchError, match=f"'a' and 'b' were scored on different items of {where}"):
            compute_statistics({"a": [run], "b": [wrong]}, FAMILIES, resamples=10, quiet=True)
    with pytest.raises(XlbenchError, match="Row 'b' has no run"):
        compute_statistics({"a": [run], "b": []}, FAMILIES, resamples=10, quiet=True)
    with pytest.raises(XlbenchError, match="no row"):
        compute_statistics({}, FAMILIES, resamples=10, quiet=True)


def test_a_missing_row_is_an_error() -> None:
    run = two_tasks(np.random.default_rng(13), 0.6, 0.2)
    found = compute_statistics({"good": [run], "bad": [run]}, FAMILIES, resamples=10, quiet=True)
    with pytest.raises(XlbenchError, match=r"no row 'goood'\.\nDid you mean good"):
        found.difference("goood", "bad")
    with pytest.raises(XlbenchError, match="no difference between 'bad' and 'bad'"):
        found.difference("bad", "bad")


def test_a_score_undefined_in_one_row_is_no_part_of_its_mean_and_of_no_difference() -> None:
    generator = np.random.default_rng(3)
    gold, good, other = generator.normal(size=(3, 20)).astype(np.float32)
    item = np.arange(20, dtype=np.int32)

    def row(second: NDArray[np.float32], golds: NDArray[np.float32] = gold) -> list[Items]:
        return [
            {
                ("T", "a"): ItemScores(item, good, gold),
                ("T", "b"): ItemScores(item + 20, second, gold),
                ("T", "c"): ItemScores(item + 40, other, golds),  # not a number in all rows
            }
        ]

    lost = gold.copy()
    lost[4] = np.nan
    flat = np.full(20, 0.5, np.float32)
    rows = {"whole": row(other, lost), "flat": row(flat, lost), "again": row(gold, lost)}
    found = compute_statistics(rows, {"T": "sts"}, resamples=50, quiet=True)
    first, second = (main_score("sts", it, gold) for it in (good, other))
    assert first is not None
    assert second is not None
    assert found.rows["whole"].families["sts"].value == pytest.approx((first + second) / 2, abs=1e-4)
    assert found.rows["flat"].families["sts"].value == pytest.approx(first, abs=1e-4)
    assert found.rows["flat"].subsets["T"].keys() == {"a"}
    assert found.difference("whole", "again").families.keys() == {"sts"}
    assert not found.difference("whole", "flat").families
    # Two runs are compared where both are defined.
    gap = find_gaps(rows["whole"][0], rows["flat"][0], {"T": "sts"}, resamples=50, quiet=True)
    assert gap.subsets["T"]["b"].second is gap.subsets["T"]["b"].difference is None
    assert (gap.tasks["T"].first, gap.tasks["T"].subsets) == (pytest.approx(first, abs=1e-4), 1)
    assert gap.tasks["T"].difference is not None
    assert gap.tasks["T"].difference.value == 0
