"""What a stage took and left, as records keep it."""

from __future__ import annotations

import sys

from pydantic import Field

from xlbench.fingerprint import Frozen, Json
from xlbench.students.shape import Shape


class StageOutcome(Frozen):
    """What a stage took and left.

    Attributes:
        name: Its name in the plan.
        key: Its fingerprint: where in the store its artifact is.
        reused: Whether it came from the store.
        seconds: What it took when it was made, its targets included.
        peak_memory: Largest resident size of the process that made it, in bytes.
        pairs: Pairs seen.
        evaluations: Dev loss and accuracy along the way.
        shape: What it left, as its edits declared it and the engine checked it; None of stages made before
            shapes were kept.
        metadata: What a reader of boards must know of it, e.g. the ``languages`` that a trimmed vocabulary kept;
            handed on from the stage that it starts from.
    """

    name: str
    key: str
    reused: bool
    seconds: float
    peak_memory: int
    pairs: int
    evaluations: tuple[dict[str, float], ...] = ()
    shape: Shape | None = None
    metadata: dict[str, Json] = Field(default_factory=dict)


def peak_memory() -> int:
    """Return the largest resident size that this process has had, in bytes; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
