"""Bundles: all that a board needs, fetched from a hub, and the board run from it where there is no network."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hub_server import Hub, commit_of, serve
from pyarrow import parquet

import xlbench
from xlbench.boards import bundle as bundles
from xlbench.boards import needs
from xlbench.boards.board import read_board
from xlbench.boards.environment import requirements
from xlbench.boards.folder import read_folder
from xlbench.boards.run import run_board
from xlbench.cli.app import app
from xlbench.corpora.files import find_path
from xlbench.corpora.hub import open_hub
from xlbench.encoders.find import find_directory
from xlbench.errors import XlbenchError
from xlbench.plugins.registry import load_registry
from xlbench.settings import Settings, carried_name
from xlbench.testing.toys import save_toy_encoder, toy_pairs, write_toy_corpus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xlbench.arguments import Where
    from xlbench.boards.hub_files import HubFiles

STS17 = "mteb/sts17-crosslingual-sts"
STS17_COMMIT = "faeb762787bd10488a50c8b5be4a3b82e411949c"  # that MTEB's class declares
PLUGIN = """
from xlbench.api import Budget, Suite, TaskRef, hookimpl

@hookimpl
def xlbench_suites():
    tasks = (TaskRef(task="STS17", family="sts", subsets=("en-de",)),)
    return [Suite(name="hub", summary="one subset of STS17", tasks=tasks, example=True)]

@hookimpl
def xlbench_budgets():
    return [Budget(name="toy", pairs_per_language=160, dev_pairs=16, assistant_pairs=64, student_pairs=320)]
"""
BOARD = """
title = "Toys"
suite = "hub"
budget = "toy"
precision = "float32"
assistant = "acme/mini"
languages = ["de"]
corpus = ["hub:org/talks@{commit}?cap=120", "tsv:{place}/corpus"]

[[run]]
method = "single-stage"
student = {{ name = "toy-half", bottleneck = 8, layers = 2, repeats = 2 }}
options = {{ batch_size = 16 }}

[[encoder]]
model = "{place}/other"
"""


class Place(NamedTuple):
    """A board that names a hub's encoder, corpus and dataset, and two directories of the machine."""

    path: Path
    hub: Hub
    board: Path

    def where(self, home: str, data_root: Path | None = None, *, offline: bool = False) -> Where:
        return {
            "home": self.path / home, "data_root": data_root, "offline": offline, "device": "cpu", "quiet": True,
            "plugin": self.path / "hub_plugin.py",
        }  # fmt: skip

    def scores(self, home: str, data_root: Path, *, offline: bool) -> dict[str, dict[str, float]]:
        """Run a copy of the board, so that nothing of another run lies beside it."""
        copy = self.path / home / "toys.toml"
        copy.parent.mkdir()
        shutil.copyfile(self.board, copy)
        settings = Settings(
            home=self.path / home / "store",
            data_root=data_root,
            offline=offline,
            device="cpu",
            quiet=True,
            speed_rounds=0,
        )
        board = read_board(copy)
        run_board(board, load_registry((self.path / "hub_plugin.py",)), settings)
        return {record.name: dict(record.scores.families) for record in read_folder(board).records}


def write_hub(root: Path) -> None:
    save_toy_encoder(root / "made")
    (root / "hub" / "models" / "acme").mkdir(parents=True)
    repository = shutil.copytree(root / "made", root / "hub" / "models" / "acme" / "mini")
    (repository / "pytorch_model.bin").write_bytes(b"a pickle")
    (repository / "modeling.py").write_text("raise SystemExit('run')")
    talks = root / "hub" / "datasets" / "org" / "talks"
    for code, count in (("de", 240), ("fr", 8)):
        (talks / f"en-{code}").mkdir(parents=True)
        english, other = zip(*toy_pairs(count, seed=1), strict=True)
        columns = pa.table({"english": english, "non_english": other})
        parquet.write_table(columns, talks / f"en-{code}" / "train.parquet")
    test = root / "hub" / "datasets" / STS17 / "test"
    test.mkdir(parents=True)
    rows = [
        {"sentence1": english, "sentence2": other, "score": number % 6, "lang": "en-de"}
        for number, (english, other) in enumerate(toy_pairs(30, seed=2))
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (test / "en-de.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (test.parent / "loader.py").write_text("raise SystemExit('run')")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, xlbench.Bundle]]:
    """A finished bundle, made from a hub."""
    path = tmp_path_factory.mktemp("bundle")
    write_hub(path)
    save_toy_encoder(path / "other", seed=1)
    write_toy_corpus(path / "corpus", 100)
    (path / "hub_plugin.py").write_text(PLUGIN)
    commit = commit_of(path / "hub" / "datasets" / "org" / "talks")
    (path / "toys.toml").write_text(BOARD.format(place=path, commit=commit))
    with serve(path / "hub") as hub, pytest.MonkeyPatch.context() as monkeypatch:
        hub.commits[STS17] = STS17_COMMIT
        hub.point_client_here(monkeypatch, path / "cache")
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", path / "datasets-cache")
        place = Place(path, hub, path / "toys.toml")
        yield place, xlbench.bundle(place.board, path / "made-here" / "whole", **place.where("home"))


@pytest.fixture
def place(whole: tuple[Place, xlbench.Bundle]) -> Place:
    whole[0].hub.requests.clear()
    return whole[0]


@pytest.fixture
def copied(place: Place, tmp_path: Path) -> Path:
    """The bundle on another machine."""
    return shutil.copytree(place.path / "made-here" / "whole", tmp_path / "copied")


def test_a_board_runs_from_its_bundle_without_a_socket_and_scores_the_same(
    place: Place, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = tmp_path / "data"  # of the suite only: encoder and corpus come from the hub
    shutil.copytree(place.path / "hub" / "datasets" / STS17, datasets / "datasets" / STS17)
    connected = place.scores("connected", datasets, offline=False)
    asked: list[object] = []

    def refuse(*address: object, **_: object) -> NoReturn:
        asked.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for gone in ("other", "corpus", "cache"):  # what the other machine does not have
        (place.path / gone).rename(place.path / f"{gone}-away")
    try:
        apart = place.scores("apart", copied, offline=True)
    finally:
        for gone in ("other", "corpus", "cache"):
            (place.path / f"{gone}-away").rename(place.path / gone)
    assert apart == connected
    assert set(apart) == {"toy-half", "acme/mini", "acme/mini, mean-centred", "other"}
    assert asked == []


def test_a_bundle_holds_what_is_read_and_no_code_and_no_pickle(whole: tuple[Place, xlbench.Bundle]) -> None:
    place, bundle = whole
    directory = place.path / "made-here" / "whole"
    assert bundle.complete
    local = carried_name(str(place.path)).as_posix()
    assert [part.path for part in bundle.parts] == [
        "models/acme/mini", "datasets/org/talks", f"datasets/{STS17}", f"{local}/other", f"{local}/corpus",
    ]  # fmt: skip
    files = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert files == {*bundle.files, bundles.MANIFEST}
    assert not [name for name in files if name.endswith((".bin", ".py"))]
    # The board asks for German only.
    assert {name for name in files if name.startswith("datasets/org")} == {
        "datasets/org/talks/en-de/train.parquet",
        "datasets/org/talks/.xlbench-dataset.json",
    }
    assert (directory / "leaderboards" / "toys.toml").read_text() == place.board.read_text()
    assert "\npydantic==" in (directory / "requirements.txt").read_text()


def test_what_cannot_be_had_is_named_and_the_same_call_completes_the_bundle(place: Place, tmp_path: Path) -> None:
    target, repository = tmp_path / "bundle", place.path / "hub" / "datasets" / STS17
    repository.rename(repository.with_name("away"))
    try:
        with pytest.raises(XlbenchError) as caught:
            xlbench.bundle(place.board, target, **place.where("home"))
    finally:
        repository.with_name("away").rename(repository)
    assert "data of task STS17: the hub does not give 'mteb/sts17-crosslingual-sts'" in caught.value.problem
    assert not bundles.read_bundle(target).complete
    with pytest.raises(XlbenchError, match="is not complete"):
        xlbench.bundle(check=target)
    place.hub.requests.clear()
    said: list[str] = []
    bundle = xlbench.bundle(place.board, target, say=said.append, **place.where("home"))
    assert bundle.complete
    assert said[0].startswith("5 parts, 4 of them there; 0.0 MB to write, ")
    assert [line for line in place.hub.requests if "/resolve/" in line and STS17 not in line] == []
    assert xlbench.bundle(check=target) == bundle


def test_a_call_that_was_killed_leaves_no_copy_that_a_run_would_take(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, fetch = tmp_path / "bundle", needs.fetch

    def killed(listed: HubFiles, directory: Path, settings: Settings) -> None:
        fetch(listed, directory, settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(needs, "fetch", killed)
    with pytest.raises(KeyboardInterrupt):
        xlbench.bundle(place.board, target, **place.where("home"))
    assert Settings(home=tmp_path, data_root=target).local("models", "acme/mini") is None
    monkeypatch.undo()
    place.hub.point_client_here(monkeypatch, place.path / "cache")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert xlbench.bundle(place.board, target, **place.where("home")).complete
    assert not (target / bundles.PARTIAL).exists()


def test_a_damaged_part_is_written_again(place: Place, copied: Path) -> None:
    weights = copied / "models" / "acme" / "mini" / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + b"?")
    xlbench.bundle(place.board, copied, **place.where("home"))
    assert weights.read_bytes() == before


def test_only_a_new_directory_or_a_bundle_of_the_board_is_written_to(
    place: Place, copied: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    other = tmp_path / "toys.toml"
    other.write_text(place.board.read_text().replace("batch_size = 16", "batch_size = 8"))
    for board, directory, words in (
        (place.board, tmp_path / "full", "is not empty, and no bundle"),
        (place.board, tmp_path / "file", "is no directory"),
        (other, copied, "is a bundle of this board as it was before"),
    ):
        with pytest.raises(XlbenchError, match=words):
            xlbench.bundle(board, directory, **place.where("home"))
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    assert place.hub.requests == []


def test_too_small_a_disk_is_refused_before_anything_is_fetched(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2, 1, 1))
    with pytest.raises(XlbenchError, match=r"needs 0\.\d MB more in .*, and 0\.0 MB are free"):
        xlbench.bundle(place.board, tmp_path / "bundle", **place.where("home"))
    assert [line for line in place.hub.requests if "/resolve/" in line] == []


def test_a_check_names_what_differs(place: Place, copied: Path) -> None:
    words = ["-q", "bundle", "--check", str(copied)]
    done = CliRunner().invoke(app, words)
    assert done.stdout.startswith(f"{copied}: ")
    assert done.stdout.endswith("as they were written\n")
    (copied / "models" / "acme" / "mini" / "config.json").write_text("{}")
    (copied / "requirements.txt").unlink()
    (copied / "datasets" / STS17 / "test" / "en-fr.jsonl").write_text("")
    with pytest.raises(XlbenchError) as caught:
        xlbench.bundle(check=copied)
    assert caught.value.problem.endswith(
        "is not what was made: models/acme/mini/config.json differs, requirements.txt is missing, "
        f"datasets/{STS17}/test/en-fr.jsonl does not belong to it."
    )


def test_a_corpus_of_a_bundle_is_the_commit_that_the_board_names_or_nothing(place: Place, copied: Path) -> None:
    settings = Settings(home=place.path / "home", data_root=copied, offline=True, quiet=True)
    commit = commit_of(place.path / "hub" / "datasets" / "org" / "talks")
    online = open_hub(f"org/talks@{commit}", settings.model_copy(update={"data_root": None, "offline": False}))
    carried = open_hub(f"org/talks@{commit}", settings)
    assert carried.digest == online.digest == open_hub("org/talks", settings).digest
    assert list(carried.pairs("de")) == list(online.pairs("de"))
    with pytest.raises(XlbenchError, match="is not on this machine, and xlbench is offline"):
        open_hub("org/talks@0123456", settings)
    file = copied / "datasets" / "org" / "talks" / "en-de" / "train.parquet"
    parquet.write_table(parquet.read_table(file).slice(1), file)
    with pytest.raises(XlbenchError, match=f"not what the bundle was made with: .* at commit {commit[:12]}"):
        list(open_hub("org/talks", settings).pairs("de"))


@pytest.mark.parametrize(
    ("given", "copy"),
    [("/home/me/corpus", "local/home/me/corpus"), ("../corpus", "local/up/corpus"), ("a/./b", "local/a/b")],
)
def test_a_path_has_its_place_in_a_bundle(given: str, copy: str, tmp_path: Path) -> None:
    (tmp_path / copy).mkdir(parents=True)
    settings = Settings(home=tmp_path / "home", data_root=tmp_path, offline=True)
    assert find_path(given, settings) == find_directory(given, settings) == tmp_path / copy


def test_requirements_name_each_package_once() -> None:
    lines = [line for line in requirements().splitlines() if not line.startswith("#")]
    assert f"pydantic=={version('pydantic')}" in lines
    names = [line.partition("==")[0] for line in lines]
    assert len(names) == len(set(names))
