"""The outcome of a stage: its cost, its evaluations and the shape of its encoder, as records keep them."""

from __future__ import annotations

import sys

from pydantic import Field

from xlbench.fingerprint import Frozen, Json
from xlbench.students.shape import Shape


class StageOutcome(Frozen):
    """Cost and outcome of a stage.

    Attributes:
        name: Name of the stage in the plan.
        key: Fingerprint of the stage, and the name of its entry in the store.
        reused: Whether it came from the store.
        seconds: Time that it took when it ran, the time for its targets included.
        peak_memory: Largest resident size of the process that ran it, in bytes.
        pairs: Pairs seen in training, repetitions counted.
        processes: How many trained it together, each on a device of its own.
        evaluations: Step, loss, accuracy and mean cosine of each evaluation on the dev pairs.
        shape: Shape of the encoder that it left; None for stages that ran before shapes were kept.
        metadata: What readers of boards must know about the encoder, e.g. the ``languages`` that a trimmed vocabulary
            kept. A stage takes over the metadata of the encoder that it starts from.
    """

    name: str
    key: str
    reused: bool
    seconds: float
    peak_memory: int
    pairs: int
    processes: int = 1
    evaluations: tuple[dict[str, float], ...] = ()
    shape: Shape | None = None
    metadata: dict[str, Json] = Field(default_factory=dict)


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes; 0 on Windows, where it is not known."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
