"""Fixtures that every concern may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The real test sets and parallel pairs; tests that need them skip, visibly, where they are absent."""
    named = os.environ.get("XLBENCH_DATA")
    path = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not (path / "datasets").is_dir():
        pytest.skip(f"no data root: set XLBENCH_DATA (looked at {path})")
    return path
