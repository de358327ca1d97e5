"""Checkpoints of a stage's training: marked as complete with their checksums, and used only while these are right.

A damaged checkpoint would block its stage for good, or go on from other weights than were saved, so it is deleted, and
training goes on from an older one or begins again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xlbench.distill.health import Evaluation
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen, file_digest
from xlbench.store import read_sealed, write_sealed

if TYPE_CHECKING:
    from collections.abc import Callable

COMPLETE = "complete.json"  # marks a checkpoint that was written to its end; one without it was cut off by a kill
STATE = "trainer_state.json"  # transformers' name


class Complete(Frozen):
    """What the mark of a checkpoint says.

    Attributes:
        initial: The evaluation before training, which a resumed run cannot repeat.
        files: SHA-256 of each file, by name.
    """

    initial: Evaluation
    files: dict[str, str]


class Checkpoint(NamedTuple):
    """A checkpoint to go on from, and the evaluation before training."""

    path: Path
    initial: Evaluation


def mark_complete(checkpoint: Path, initial: Evaluation) -> None:
    """Mark a checkpoint whose files have all been written.

    Raises:
        XlbenchError: The disk is full.
    """
    files = {path.name: file_digest(path) for path in sorted(checkpoint.iterdir()) if path.is_file()}
    write_sealed(checkpoint / COMPLETE, Complete(initial=initial, files=files))


def last_usable_checkpoint(scratch: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest checkpoint that is as it was written, and delete newer ones; None if there is none.

    Args:
        scratch: The directory that holds a stage's checkpoints.
        say: Called with what is wrong with a checkpoint, and with what is done instead.
    """
    found = sorted((path for path in scratch.glob("checkpoint-*") if step_of(path) > 0), key=step_of, reverse=True)
    reasons = []
    usable = None
    for path in found:
        mark = read_sealed(path / COMPLETE, Complete)
        reason = _damage(path, mark) or _damage_of_best(path)
        if mark is not None and reason is None:
            usable = Checkpoint(path, mark.initial)
            break
        if reason != UNMARKED:
            reasons.append(f"{path.name} is damaged ({reason})")
        _delete(path)
    if reasons:
        instead = f"going on from {usable.path.name}" if usable else "beginning again"
        say(f"{', '.join(reasons)}: {instead}")
    return usable


def refuse_damaged(checkpoint: Path) -> None:
    """Refuse a checkpoint that is not as it was written.

    Raises:
        XlbenchError: It is damaged.
    """
    if reason := _damage(checkpoint, read_sealed(checkpoint / COMPLETE, Complete)):
        raise XlbenchError(
            f"The best checkpoint, '{checkpoint}', is damaged: {reason}.",
            "Is the disk failing? Run it again: training goes on from another checkpoint, or begins again.",
        )


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint from its name; 0 for what is none."""
    step = checkpoint.name.rpartition("-")[2]
    return int(step) if step.isascii() and step.isdecimal() else 0


UNMARKED = "it was cut off"


def _damage(checkpoint: Path, mark: Complete | None) -> str | None:
    """Return what is wrong with a checkpoint; None if it is as it was written."""
    if mark is None:
        return f"{COMPLETE} has changed" if (checkpoint / COMPLETE).exists() else UNMARKED
    for name, digest in mark.files.items():
        path = checkpoint / name
        try:
            if path.is_symlink() or file_digest(path) != digest:
                return f"{name} has changed"
        except OSError:
            return f"{name} cannot be read"
    return None


def _damage_of_best(checkpoint: Path) -> str | None:
    """Return what is wrong with the best checkpoint so far, which training loads in the end."""
    named = json.loads((checkpoint / STATE).read_text("utf-8")).get("best_model_checkpoint")
    if named is None or (best := beside(checkpoint, named)) == checkpoint:
        return None
    reason = _damage(best, read_sealed(best / COMPLETE, Complete))
    return f"its best checkpoint, {best.name}: {reason}" if reason else None


def beside(checkpoint: Path, named: str) -> Path:
    """Return a checkpoint that another one of the same training names.

    It names it by the path that it had when it was written. What is taken over from a machine that was lost is copied,
    so the name alone counts.
    """
    return checkpoint.parent / Path(named).name


def _delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)
