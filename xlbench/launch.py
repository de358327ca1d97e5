"""The processes that torchrun or accelerate launch started together: which one this is, and who of them speaks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Launch(NamedTuple):
    """This process among those that were started together.

    Attributes:
        rank: Its number, from 0.
        processes: How many there are.
        local_rank: Its number among those of this machine, which is also that of its device.
        local_processes: How many of them this machine has.
    """

    rank: int
    processes: int
    local_rank: int
    local_processes: int


def launched() -> Launch | None:
    """Return this process's place among several; None if it was started alone."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    found = [os.environ.get(name, "") for name in names]
    if not os.environ.get("MASTER_ADDR") or not all(text.isdecimal() for text in found):
        return None
    launch = Launch(*map(int, found))
    return launch if launch.processes > 1 else None


def leads() -> bool:
    """Return whether this process is the only one, or the first of several: it alone prints and writes."""
    launch = launched()
    return launch is None or launch.rank == 0


_claims: list[Callable[[], bool]] = []  # of the processes that this one has joined, the last one counts


def ask_before_telling(claim: Callable[[], bool] | None) -> None:
    """Set who decides which process tells of an error.

    Args:
        claim: Returns True to the first process that calls it; None: the first process tells, as before all have met.
    """
    _claims[:] = [] if claim is None else [claim]


def may_tell() -> bool:
    """Return whether this process may print why it ends: of several that end together, one does."""
    return _claims[-1]() if _claims else leads()
