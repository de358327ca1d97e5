"""Whole runs on a toy encoder, a toy corpus and the suite and budget of the toy plugin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.plugins.registry import load_registry
from xlbench.runs.request import make_request
from xlbench.runs.results import run_request
from xlbench.settings import Settings
from xlbench.testing.toys import save_toy_encoder, write_toy_corpus

if TYPE_CHECKING:
    from xlbench.runs.request import Request
    from xlbench.runs.results import Results

PLUGIN = Path(__file__).parent / "toy_plugin.py"
STUDENT = {"name": "toy-half", "bottleneck": 8, "layers": 2, "repeats": 2}


def make_place(directory: Path) -> Path:
    """Write an assistant and a corpus into a directory, and return it."""
    save_toy_encoder(directory / "assistant")
    write_toy_corpus(directory / "corpus", 240)
    return directory


def settings_at(home: Path, speed_rounds: int = 0) -> Settings:
    """Return the settings of runs that keep what they make in ``home``."""
    return Settings(home=home, quiet=True, device="cpu", speed_rounds=speed_rounds)


def toy_request(place: Path, **changes: object) -> Request:
    """Return the request of a run with what :func:`make_place` wrote, some of its settings changed."""
    return make_request(
        {
            "student": STUDENT,
            "assistant": str(place / "assistant"),
            "corpus": (f"tsv:{place / 'corpus'}",),
            "suite": "toy",
            "budget": "toy",
            "precision": "float32",
            **changes,
        }
    )


def toy_run(request: Request, settings: Settings, *plugins: Path) -> tuple[Results, list[str]]:
    """Return what a run gave, and what it said."""
    notes: list[str] = []
    return run_request(request, load_registry((PLUGIN, *plugins)), settings, notes.append), notes
