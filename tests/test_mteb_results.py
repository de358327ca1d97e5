"""Scores as MTEB's result files: MTEB loads them, and its own evaluation of the student gives the same."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from test_mteb_suites import data_root
from toy_runs import make_place, settings_at, toy_request, toy_run
from toy_scoring import evaluate_with_mteb

import xlbench
from xlbench import XlbenchError
from xlbench.cli.app import app
from xlbench.encoders.modules import transformer_of
from xlbench.scoring.suites import find_suite
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from pathlib import Path

    from mteb.results import ModelResult

__all__ = ["data_root"]  # the fixture
SUITE = "mteb:STS17,BUCC.v2?languages=de"


def load_with_mteb(directory: Path) -> ModelResult:
    import mteb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mteb's loader warns of a key that mteb writes
        (result,) = mteb.ResultCache(directory).load_results(include_remote=False)
    return result


def test_mteb_loads_a_student_and_scores_it_the_same(tmp_path: Path, data_root: Path) -> None:
    settings = settings_at(tmp_path / "home").model_copy(update={"data_root": data_root, "offline": True})
    results, _ = toy_run(toy_request(make_place(tmp_path), suite=SUITE), settings)
    student = results.student
    made = student.export("mteb-results", tmp_path / "results")
    assert (made.model, made.revision) == ("xlbench/multistage-toy-half", student.record.encoder_key)
    folder = tmp_path / "results" / "results" / "xlbench__multistage-toy-half" / student.record.encoder_key
    assert sorted(it.name for it in folder.iterdir()) == ["BUCC.v2.json", "STS17.json", "model_meta.json"]

    loaded = load_with_mteb(tmp_path / "results")
    assert (loaded.model_name, loaded.model_revision) == (made.model, made.revision)
    found = {
        (it.task_name, row["hf_subset"]): row["main_score"] for it in loaded.task_results for row in it.scores["test"]
    }
    expected = evaluate_with_mteb(student.model, find_suite(SUITE, {}, settings), settings)
    assert set(found) == {("STS17", "en-de"), ("BUCC.v2", "de-en")}
    assert found == {name: pytest.approx(score, abs=1e-4) for name, score in expected.items()}

    # Bottleneck 8 and two layers that run twice: MTEB would take vocabulary x 16 for the embeddings.
    model = transformer_of(student.model)
    embedding = sum(it.numel() for it in model.get_submodule("embeddings").parameters())
    total = sum(it.numel() for it in student.model.parameters())
    meta = loaded.model_meta
    assert (meta.n_parameters, meta.n_embedding_parameters) == (total, embedding)
    assert meta.n_active_parameters == total - embedding
    assert meta.embed_dim == student.record.footprint.dimension
    assert meta.languages == ["eng-Latn", "deu-Latn"]

    parts = [note for note in made.notes if "covered in part" in note]
    assert parts[0].startswith("STS17 is covered in part: 1 of 11 subsets, without ko-ko, ar-ar, en-ar and 7 more")
    assert parts[1] == "BUCC.v2 is covered in part: 1 of 4 subsets, without fr-en, ru-en, zh-en"
    assert all(part in (tmp_path / "results" / "README.md").read_text("utf-8") for part in parts)
    revision = json.loads((folder / "STS17.json").read_text("utf-8"))["dataset_revision"]
    assert revision == student.record.scores.tasks["STS17"].data  # of a local copy: sha256:...


def test_an_encoder_that_was_scored_is_exported_by_command_line_too(tmp_path: Path, data_root: Path) -> None:
    encoder = save_toy_encoder(tmp_path / "toy", layers=1)
    where = {"home": tmp_path / "home", "data_root": data_root, "offline": True, "quiet": True, "device": "cpu"}
    xlbench.score(encoder, suite="mteb:BUCC.v2?languages=de", precision="float32", **where)
    words = ["--home", str(tmp_path / "home"), "export", "toy", str(tmp_path / "out"), "--to", "mteb-results"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert f"{tmp_path / 'out'}: results of xlbench/toy on BUCC.v2" in done.output
    assert "BUCC.v2 is covered in part: 1 of 4 subsets" in done.output
    assert [it.task_name for it in load_with_mteb(tmp_path / "out").task_results] == ["BUCC.v2"]
    with pytest.raises(XlbenchError, match="is a directory, and 'mteb-results' takes a run"):
        xlbench.export(encoder, "mteb-results", tmp_path / "other", **where)
    with pytest.raises(XlbenchError, match="is there already"):
        xlbench.export("toy", "mteb-results", tmp_path / "out", **where)


def test_tasks_that_mteb_does_not_have_are_refused(tmp_path: Path) -> None:
    encoder = save_toy_encoder(tmp_path / "toy", layers=1)
    where = {"home": tmp_path / "home", "offline": True, "quiet": True, "device": "cpu"}
    results = xlbench.score(encoder, precision="float32", **where)
    with pytest.raises(XlbenchError, match=r"'starter', none of whose tasks is MTEB's.\nScore it on another suite"):
        xlbench.export(results, "mteb-results", tmp_path / "out", **where)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
