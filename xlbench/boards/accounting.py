"""Training time that a board saves because runs share stages and targets in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from xlbench.distill.targets import KIND as TARGETS
from xlbench.store import read_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from xlbench.runs.job import Job
    from xlbench.store import Manifest

STAGES = "stages"


class Accounting(NamedTuple):
    """Seconds that stages and targets took.

    Attributes:
        shared: With each of them computed once, as they were.
        apart: If every run computed its own.
    """

    shared: float
    apart: float

    def __str__(self) -> str:
        share = f" ({100 * self.shared / self.apart:.0f} %)" if self.apart else ""
        return f"stages and targets: {self.shared:.0f} s, computed once; {self.apart:.0f} s in separate runs{share}"


def account(jobs: Iterable[Job], home: Path) -> Accounting:
    """Return how long the stages and targets of jobs took to compute.

    The time of targets that were computed during a stage is not counted as the stage's.

    Args:
        jobs: Jobs whose stages are in the store; an entry that was deleted counts as zero.
        home: The store.
    """
    once: dict[str, float] = {}
    apart = 0.0
    for job in jobs:
        took = _seconds(job, home)
        once |= took
        apart += sum(took.values())
    return Accounting(sum(once.values()), apart)


def _seconds(job: Job, home: Path) -> dict[str, float]:
    """Return the seconds that each stage and target of a job took, by kind and key."""
    found = [read_entry(home, STAGES, job.keys[stage.name], only=()) for stage in job.plan.stages]
    made = [entry.manifest for entry in found if entry]
    read = {key for stage in made for key in _targets_of(stage)}
    entries = {key: read_entry(home, TARGETS, key, only=()) for key in read}
    targets = {key: entry.manifest for key, entry in entries.items() if entry}
    took = {f"{TARGETS} {key}": manifest.seconds for key, manifest in targets.items()}
    return took | {f"{STAGES} {stage.key}": _own_seconds(stage, targets) for stage in made}


def _targets_of(stage: Manifest) -> list[str]:
    keys = stage.facts.get("targets", [])  # stages of earlier versions do not record it
    return [str(key) for key in keys] if isinstance(keys, list) else []


def _own_seconds(stage: Manifest, targets: Mapping[str, Manifest]) -> float:
    began = stage.made - stage.seconds
    inside = (it.seconds for it in targets.values() if it.made - it.seconds >= began and it.made <= stage.made)
    return max(0.0, stage.seconds - sum(inside))
