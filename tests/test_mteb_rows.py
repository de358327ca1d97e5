"""Rows of a board from a results repository or cache of MTEB: which scores, from where, and that pages keep them."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from test_mteb_suites import data_root
from test_published_rows import MINILM, STS17_REVISION, task

import xlbench
from xlbench import XlbenchError
from xlbench.boards.board import read_board
from xlbench.boards.folder import differences
from xlbench.boards.mteb_rows import check_mteb_rows, mteb_rows
from xlbench.records.published import published_data
from xlbench.testing.toys import save_toy_encoder, write_toy_corpus

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.boards.board import BoardFile

__all__ = ["data_root"]  # the fixture


def write_results(
    place: Path, revision: str, scores: dict[str, float], *, model: str = "org/model", data: str = STS17_REVISION
) -> None:
    """Write results of STS17 as MTEB's repository has them."""
    folder = place / model.replace("/", "__") / revision
    folder.mkdir(parents=True)
    rows = [{"hf_subset": name, "main_score": score, "languages": ["eng-Latn"]} for name, score in scores.items()]
    result = {
        "task_name": "STS17", "dataset_revision": data, "mteb_version": "2.1.0", "evaluation_time": 1.0,
        "scores": {"test": rows},
    }  # fmt: skip
    (folder / "STS17.json").write_text(json.dumps(result))
    (folder / "model_meta.json").write_text(json.dumps({"name": model, "revision": revision, "n_parameters": 7_000}))


def declared(tmp_path: Path, *entries: str) -> BoardFile:
    path = tmp_path / "board.toml"
    path.write_text("title = 'T'\n[[encoder]]\nmodel = 'x'\n" + "".join(f"[[mteb]]\n{entry}\n" for entry in entries))
    return read_board(path)


def test_the_revision_with_most_of_the_subsets_is_taken_and_other_data_is_not(tmp_path: Path) -> None:
    write_results(tmp_path / "repository" / "results", "aaa", {"en-en": 0.5})
    write_results(tmp_path / "repository" / "results", "bbb", {"en-en": 0.81234567, "es-es": 0.6, "ko-ko": 0.7})
    board = declared(tmp_path, "model = 'org/model'\nresults = 'repository'")
    tasks = {"STS17": task("en-en", "es-es", "it-en", data=f"mteb/sts17-crosslingual-sts@{STS17_REVISION}")}
    (row,) = mteb_rows(board, tasks)
    assert row.scores == {"STS17": {"en-en": 81.2346, "es-es": 60.0}}
    assert (row.name, row.parameters, row.commit) == ("org/model", 7_000, "revision bbb")
    (row,) = mteb_rows(declared(tmp_path, "model = 'org/model'\nresults = 'repository'\nrevision = 'aaa'"), tasks)
    assert row.scores == {"STS17": {"en-en": 50.0}}
    other = {"STS17": task("en-en", data="mteb/sts17-crosslingual-sts@0000000")}
    with pytest.raises(XlbenchError, match="on other subsets or other data than this board's"):
        mteb_rows(board, other)


def test_a_clone_says_its_commit(tmp_path: Path) -> None:
    clone = tmp_path / "cache" / "remote"
    write_results(clone / "results", "aaa", {"en-en": 0.5})
    url = "https://github.com/embeddings-benchmark/results.git"
    commit = ("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x")
    for words in (("init", "-q"), ("remote", "add", "origin", url), ("add", "-A"), commit):
        subprocess.run(["git", *words], cwd=clone, check=True, capture_output=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, check=True, capture_output=True, text=True).stdout
    (row,) = mteb_rows(declared(tmp_path, "model = 'org/model'\nresults = 'cache'"), {"STS17": task("en-en")})
    assert (row.citation, row.commit) == ("github.com/embeddings-benchmark/results", head.strip())


def test_without_results_the_shipped_scores_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path / "cache"))
    board, tasks = declared(tmp_path, f"model = '{MINILM}'\nname = 'MiniLM'"), {"STS17": task("en-en")}
    (row,) = mteb_rows(board, tasks)
    assert (row.name, row.scores) == ("MiniLM", {"STS17": {"en-en": 87.59}})
    assert row.commit == published_data().commit
    write_results(tmp_path / "cache" / "results", "aaa", {"en-en": 0.5}, model=MINILM)
    (row,) = mteb_rows(board, tasks)
    assert row.scores == {"STS17": {"en-en": 50.0}}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (
            "model = 'org/modell'\nresults = 'there'",
            r"no results of 'org/modell' in '.*there'.\nDid you mean org/model",
        ),
        ("model = 'org/model'\nresults = 'there'\nrevision = 'aab'", "at revision 'aab' .*\nDid you mean aaa"),
        ("model = 'org/model'\nresults = 'elsewhere'", r"elsewhere' is not a directory.\nGive a results repository"),
        (
            "model = 'org/model'\nrevision = 'aaa'",
            "no results of 'org/model' at revision 'aaa'.*\nName the",
        ),
        ("model = 'org/model'", "Unknown published model 'org/model'"),
    ],
)
def test_what_has_no_results_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, says: str
) -> None:
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path / "cache"))
    write_results(tmp_path / "there", "aaa", {"en-en": 0.5})
    with pytest.raises(XlbenchError, match=says):
        check_mteb_rows(declared(tmp_path, entry), ["STS17"])


def test_a_board_keeps_what_it_read(tmp_path: Path, data_root: Path) -> None:
    encoder = save_toy_encoder(tmp_path / "toy", layers=1)
    write_toy_corpus(tmp_path / "corpus", 240)
    write_results(tmp_path / "repository" / "results", "aaa", {"en-de": 0.5, "ko-ko": 0.9})
    path = tmp_path / "german.toml"
    path.write_text(
        f"title = 'German'\nsuite = 'mteb:STS17?languages=de'\nassistant = '{encoder}'\nbudget = 'smoke'\n"
        f"corpus = ['tsv:{tmp_path / 'corpus'}']\nprecision = 'float32'\n[[run]]\nmethod = 'reference'\n"
        "[[mteb]]\nmodel = 'org/model'\nresults = 'repository'\n"
    )
    where = {"home": tmp_path / "home", "data_root": data_root, "offline": True, "quiet": True, "device": "cpu"}
    board = xlbench.leaderboard(path, **where).run()
    table = board.table().set_index("name")
    assert table.loc["org/model", "sts_score"] == 50.0
    assert table.loc["org/model", "published"]
    shutil.rmtree(tmp_path / "repository")
    assert differences(board.file) == []
    assert "a results cache of MTEB at revision aaa" in board.markdown()
    path.write_text(path.read_text() + "[[mteb]]\nmodel = 'org/model'\nresults = 'repository'\n")
    with pytest.raises(XlbenchError, match="two rows are called 'org/model'"):
        xlbench.leaderboard(path, **where).run()
