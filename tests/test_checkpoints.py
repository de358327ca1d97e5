"""Checkpoints of a stage: used only as they were written; in place of a damaged one, an older one or the start."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from xlbench import XlbenchError
from xlbench.distill.checkpoints import COMPLETE, STATE, last_usable_checkpoint, mark_complete, refuse_damaged
from xlbench.distill.health import Evaluation

if TYPE_CHECKING:
    from pathlib import Path

INITIAL = Evaluation(step=0, loss=0.5, accuracy=0.25, mean_cosine=0.125)
FILES = ["model.safetensors", "optimizer.pt", "rng_state.pth", STATE, COMPLETE]


def write(scratch: Path, step: int, best: int | None = None, *, complete: bool = True) -> Path:
    path = scratch / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in FILES[:3]:
        (path / name).write_text(f"{name} at {step}")
    named = None if best is None else str(scratch / f"checkpoint-{best}")
    (path / STATE).write_text(json.dumps({"best_model_checkpoint": named}))
    if complete:
        mark_complete(path, INITIAL)
    return path


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])


def used(scratch: Path) -> tuple[str | None, list[str], list[str]]:
    """Which checkpoint is used, what is said, and which ones are left."""
    said: list[str] = []
    found = last_usable_checkpoint(scratch, said.append)
    assert found is None or found.initial == INITIAL
    left = sorted(path.name for path in scratch.iterdir())
    return (found.path.name if found else None), said, left


def test_the_last_whole_checkpoint_is_used_and_one_that_was_cut_off_is_not(tmp_path: Path) -> None:
    assert used(tmp_path) == (None, [], [])
    write(tmp_path, 5)
    write(tmp_path, 10, 5)
    write(tmp_path, 15, 5, complete=False)  # the process was killed here, which is no damage
    assert used(tmp_path) == ("checkpoint-10", [], ["checkpoint-10", "checkpoint-5"])


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_gives_way_to_an_older_one(tmp_path: Path, name: str) -> None:
    write(tmp_path, 5)
    flip(write(tmp_path, 10, 5) / name)
    said = [f"checkpoint-10 is damaged ({name} has changed): going on from checkpoint-5"]
    assert used(tmp_path) == ("checkpoint-5", said, ["checkpoint-5"])


def test_a_missing_file_is_damage_and_without_a_whole_checkpoint_training_begins_again(tmp_path: Path) -> None:
    (write(tmp_path, 5) / "optimizer.pt").unlink()
    (write(tmp_path, 10) / STATE).write_text("no JSON")
    said = [
        f"checkpoint-10 is damaged ({STATE} has changed), checkpoint-5 is damaged (optimizer.pt cannot be read):"
        " beginning again"
    ]
    assert used(tmp_path) == (None, said, [])


def test_a_checkpoint_whose_best_one_is_damaged_is_not_used(tmp_path: Path) -> None:
    scratch = tmp_path / "here"
    flip(write(scratch, 5) / "model.safetensors")
    write(scratch, 10, 5)
    said = [
        "checkpoint-10 is damaged (its best checkpoint, checkpoint-5: model.safetensors has changed),"
        " checkpoint-5 is damaged (model.safetensors has changed): beginning again"
    ]
    assert used(scratch) == (None, said, [])


def test_checkpoints_that_were_moved_are_used_and_the_best_one_is_found_beside(tmp_path: Path) -> None:
    scratch = tmp_path / "here"
    write(scratch, 5)
    write(scratch, 10, 5)
    moved = scratch.rename(tmp_path / "there")
    assert used(moved) == ("checkpoint-10", [], ["checkpoint-10", "checkpoint-5"])
    flip(moved / "checkpoint-5" / "model.safetensors")
    said = [
        "checkpoint-10 is damaged (its best checkpoint, checkpoint-5: model.safetensors has changed),"
        " checkpoint-5 is damaged (model.safetensors has changed): beginning again"
    ]
    assert used(moved) == (None, said, [])


def test_weights_that_changed_after_they_were_saved_are_not_loaded(tmp_path: Path) -> None:
    best = write(tmp_path, 5)
    refuse_damaged(best)
    flip(best / "model.safetensors")
    with pytest.raises(XlbenchError, match=r"The best checkpoint, .* is damaged: model\.safetensors has changed"):
        refuse_damaged(best)
