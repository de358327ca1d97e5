"""Families of other languages: a task twice in a suite, with means, columns and result files that keep both apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from test_mteb_suites import data_root
from toy_board import student, with_tasks
from toy_runs import PLUGIN, make_place, settings_at, toy_request, toy_run

from xlbench.exports.mteb_results import export_results
from xlbench.plugins.registry import load_registry
from xlbench.records.rows import ranked, rows_of
from xlbench.runs.compare import compare

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.records.record import Record

__all__ = ["data_root"]  # the fixture
OTHERS = "StarterSTS (other languages)"
SUITE = """
from xlbench.api import Suite, TaskRef, hookimpl

def task(name, family, *subsets, **more):
    return TaskRef(task=name, family=family, subsets=subsets, **more)

@hookimpl
def xlbench_suites():
    sts, bitext = {"loader": "starter-sts/1"}, {"loader": "starter-bitext/1"}
    tasks = (task("StarterSTS", "sts", "en-de", "en-fr", **sts), task("StarterBitext", "bitext", "de-en", **bitext),
             task("StarterSTS", "sts_other", "es-es", "ar-ar", **sts))
    real = (task("STS17", "sts", "en-de"), task("STS17", "sts_other", "ko-ko"))
    return [Suite(name="both", summary="s", tasks=tasks, example=True), Suite(name="real", summary="s", tasks=real)]
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "both.py"
    file.write_text(SUITE, "utf-8")
    return file


def test_a_task_is_scored_in_both_families(tmp_path: Path, plugin: Path) -> None:
    settings = settings_at(tmp_path / "home")
    results, _ = toy_run(toy_request(make_place(tmp_path), suite="both"), settings, plugin)
    scores = results.student.record.scores
    assert list(scores.tasks) == ["StarterSTS", "StarterBitext", OTHERS]
    assert list(scores.families) == ["sts", "bitext", "sts_other"]
    assert scores.families["sts_other"] == scores.tasks[OTHERS].mean() != scores.families["sts"]
    assert scores.tasks[OTHERS].metric == "cosine_spearman"
    assert list(scores.tasks[OTHERS].subsets) == ["es-es", "ar-ar"]
    assert "STS, other languages" in str(results)
    frame = results.to_dataframe()
    assert set(frame.loc[frame["task"] == OTHERS, "family"]) == {"sts_other"}

    # Comparing resamples it as STS, and finds its sentences again.
    registry = load_registry((PLUGIN, plugin))
    found = compare("assistant", "toy-half", registry, settings)
    assert list(found.gaps.families) == ["sts", "bitext", "sts_other"]
    shown = [it for it in found.examples if it.task == OTHERS]
    assert shown
    assert all(it.texts and it.taken is None for it in shown)


def test_other_languages_decide_no_order() -> None:
    def with_others(points: float, name: str, others: float) -> Record:
        record = student(points, name=name)
        own = record.scores.tasks["StarterSTS"]
        subsets = {name: cell.model_copy(update={"main": others}) for name, cell in own.subsets.items()}
        lost = own.model_copy(update={"family": "sts_other", "subsets": subsets})
        return with_tasks(record, {**record.scores.tasks, OTHERS: lost})

    rows = rows_of([with_others(0.0, "worse", 99.0), with_others(1.0, "better", 1.0)])
    assert [row.name for row in ranked(rows)] == ["better", "worse"]


def test_result_files_have_a_task_once(tmp_path: Path, plugin: Path, data_root: Path) -> None:
    given = data_root / "datasets" / "mteb" / "sts17-crosslingual-sts" / "test" / "en-de.jsonl"
    given.with_name("ko-ko.jsonl").write_text(given.read_text("utf-8").replace('"en-de"', '"ko-ko"'), "utf-8")
    settings = settings_at(tmp_path / "home").model_copy(update={"data_root": data_root, "offline": True})
    results, _ = toy_run(toy_request(make_place(tmp_path), suite="real"), settings, plugin)
    made = export_results(results.student.record, tmp_path / "results")
    (file,) = (tmp_path / "results").rglob("STS17.json")
    rows = json.loads(file.read_text("utf-8"))["scores"]["test"]
    assert {row["hf_subset"] for row in rows} == {"en-de", "ko-ko"}
    assert made.tasks == ("STS17",)
