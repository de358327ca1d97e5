"""Fixtures that every concern may use."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xlbench.distill.context import StageContext

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Else hypothesis writes its tables of characters into the working directory.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(gettempdir()) / "xlbench-hypothesis"))

LARGE = ("mteb", "pandas", "sentence_transformers", "sklearn", "torch", "transformers")
frozen: set[str] = set()


def pytest_runtest_logfinish() -> None:
    """Keep what large libraries made when they were imported out of every later garbage collection.

    Each training asks for six full collections, of half a second each once all of them are loaded.
    """
    loaded = set(LARGE) & set(sys.modules)
    if loaded > frozen:
        frozen.update(loaded)
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The real test sets and parallel pairs; tests that need them skip, visibly, where they are absent."""
    named = os.environ.get("XLBENCH_DATA")
    path = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not (path / "datasets").is_dir():
        pytest.skip(f"no data root: set XLBENCH_DATA (looked at {path})")
    return path


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    """What edits work with: 200 toy pairs, and a toy encoder called 'toy'."""
    from toy_corpora import data_of

    from xlbench.corpora.corpus import open_corpus
    from xlbench.corpora.prepare import prepare
    from xlbench.distill.context import StageContext
    from xlbench.plugins.registry import load_registry
    from xlbench.settings import Settings
    from xlbench.students.load import load_student
    from xlbench.testing.toys import save_toy_encoder, write_toy_corpus

    settings = Settings(home=tmp_path / "home", quiet=True, device="cpu")
    path = save_toy_encoder(tmp_path / "toy")
    corpus = open_corpus(f"tsv:{write_toy_corpus(tmp_path / 'corpus', 200)}", load_registry().corpora, settings)
    prepared = prepare(data_of(corpus, dev_pairs=16), [corpus], set, settings)
    return StageContext(prepared, settings, "float32", {"toy": "k"}, lambda _: load_student(path))
