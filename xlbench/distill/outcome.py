"""What a stage took and left, as records keep it."""

from __future__ import annotations

from xlbench.fingerprint import Frozen


class StageOutcome(Frozen):
    """What a stage took and left.

    Attributes:
        name: Its name in the plan.
        key: Its fingerprint: where in the store its artifact is.
        reused: Whether it came from the store.
        seconds: What it took when it was made, its targets included.
        peak_memory: Largest resident size of the process that made it, in bytes.
        pairs: Pairs seen.
        looks: Dev loss and accuracy along the way.
    """

    name: str
    key: str
    reused: bool
    seconds: float
    peak_memory: int
    pairs: int
    looks: tuple[dict[str, float], ...] = ()
