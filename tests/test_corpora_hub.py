"""Corpora in hub datasets, with a local server that speaks the hub's protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hub_server import Hub, commit_of, serve
from huggingface_hub import constants
from pyarrow import parquet
from toy_corpora import data_of, numbered
from xlbench_plugins.builtin import xlbench_corpora

from xlbench.corpora.corpus import open_corpus
from xlbench.corpora.hub import open_hub
from xlbench.corpora.prepare import prepare
from xlbench.errors import XlbenchError
from xlbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    root = tmp_path / "hub" / "datasets" / "org"
    for code in ("de", "fr"):
        for part, rows in enumerate((numbered(60, code), numbered(40, code, first=60))):
            path = root / "talks" / f"en-{code}" / f"train-{part:05}-of-00002.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            english, other = zip(*rows, strict=True)
            parquet.write_table(pa.table({"english": english, "non_english": other}), path)
    (root / "plain").mkdir()
    (root / "plain" / "README.md").write_text("no pairs", "utf-8")
    with serve(tmp_path / "hub") as running:
        running.point_client_here(monkeypatch, tmp_path / "cache")
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", quiet=True)


def test_pairs_come_from_one_pinned_commit(hub: Hub, settings: Settings) -> None:
    corpus = open_hub("org/talks", settings)
    commit = commit_of(hub.root / "datasets" / "org" / "talks")
    assert corpus.languages() == ("de", "fr")
    assert commit[:12] in corpus.note
    # Opening asks for the listing only. Reading a language fetches its files at that commit.
    assert not [request for request in hub.requests if "/resolve/" in request]
    assert list(corpus.pairs("de")) == numbered(100, "de")
    fetched = [request for request in hub.requests if "/resolve/" in request]
    assert fetched
    assert all(commit in request and "en-de" in request for request in fetched)
    # A reference with the commit is the same corpus.
    assert open_hub(f"org/talks@{commit}", settings).digest == corpus.digest


def test_folders_that_look_like_a_language_and_are_not_read_are_named(hub: Hub, settings: Settings) -> None:
    talks = hub.root / "datasets" / "org" / "talks"
    assert open_hub("org/talks", settings).notices == ()
    for folder in ("de-en", "en-pt_BR", "all", "en-fr"):  # 'all' names no language; the last has another split only
        (talks / folder).mkdir(exist_ok=True)
        name = "dev.parquet" if folder == "en-fr" else "train.parquet"
        (talks / folder / name).write_bytes(next((talks / "en-de").iterdir()).read_bytes())
    (notice,) = open_hub("org/talks", settings).notices
    assert "not read from hub dataset 'org/talks', though it looks like a corpus: 'de-en', 'en-pt_BR' (" in notice
    (known,) = open_hub("org/talks", settings.model_copy(update={"offline": True})).notices
    assert known == notice


def test_offline_uses_what_was_fetched_before(hub: Hub, settings: Settings) -> None:
    registered = {reader.scheme: reader for reader in xlbench_corpora()}
    online = open_corpus("org/talks", registered, settings)
    prepared = prepare(data_of(online), [online], set, settings)
    asked = len(hub.requests)
    offline = settings.model_copy(update={"offline": True})
    again = open_corpus("org/talks", registered, offline)
    assert again.ref == online.ref
    assert prepare(data_of(again), [again], set, offline).digest == prepared.digest
    assert list(again.corpus.pairs("de")) == numbered(100, "de")
    with pytest.raises(XlbenchError, match=r"en-fr.*cannot be fetched"):
        list(again.corpus.pairs("fr"))
    assert len(hub.requests) == asked


def test_a_new_commit_is_another_corpus(hub: Hub, settings: Settings) -> None:
    before = open_hub("org/talks", settings)
    (hub.root / "datasets" / "org" / "talks" / "README.md").write_text("changed", "utf-8")
    assert open_hub("org/talks", settings).digest != before.digest


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("org/tlaks", ["no dataset 'org/tlaks'", "tsv:org/tlaks"]),
        ("org/plain", ["no files en-xx/train", "parallel-sentences-talks"]),
        ("org/talks@nowhere", ["no revision 'nowhere'", "branch"]),
        ("talks", ["'talks' is not the name of a hub dataset", "hub:ORG/NAME"]),
        ("a/b/c", ["'a/b/c' is not the name of a hub dataset", "hub:ORG/NAME"]),
    ],
)
def test_missing_datasets_are_refused_with_a_remedy(
    argument: str, words: list[str], hub: Hub, settings: Settings
) -> None:
    with pytest.raises(XlbenchError) as caught:
        open_hub(argument, settings)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_offline_or_unreachable_says_how_to_download(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "hf download org/talks --repo-type dataset --local-dir DATA_ROOT/datasets/org/talks"
    with pytest.raises(XlbenchError, match="xlbench is offline") as caught:
        open_hub("org/talks", settings.model_copy(update={"offline": True}))
    assert command in caught.value.remedy
    assert not hub.requests
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(XlbenchError, match="cannot be reached") as caught:
        open_hub("org/talks", settings)
    assert command in caught.value.remedy


def test_a_copy_under_the_data_root_is_preferred(hub: Hub, settings: Settings) -> None:
    rooted = settings.model_copy(update={"data_root": hub.root})
    corpus = open_hub("org/talks", rooted)
    assert list(corpus.pairs("fr")) == numbered(100, "fr")
    assert not hub.requests
    with pytest.raises(XlbenchError, match="holds no parallel pairs"):
        open_hub("org/plain", rooted)
    # The commit of a copy is unknown, so a reference with a commit means the hub.
    commit = commit_of(hub.root / "datasets" / "org" / "talks")
    assert commit[:12] in open_hub(f"org/talks@{commit}", rooted).note
