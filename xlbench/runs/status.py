"""What runs just now, for other terminals: each run keeps a small file beside its lease in the store."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from xlbench.fingerprint import Frozen
from xlbench.progress import duration, watched
from xlbench.store.lease import beside, lease, replace_file, running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from xlbench.progress import Work
    from xlbench.settings import Settings

EVERY = 1.0  # seconds between two states of the file


class Doing(Frozen):
    """The work that a run is at."""

    title: str = Field(description="E.g. 'stage recurrent'.")
    done: float = Field(description="Units done, those before an interruption included.")
    total: float | None = Field(description="How many there are; None when unknown.")
    unit: str = Field(description="What is counted, in the plural.")
    step: int | None = Field(description="Steps of training done; None where it is no training.")
    steps: int | None = Field(description="How many steps there are.")
    note: str = Field(description="How it goes: loss and accuracy on the dev pairs.")
    seconds_left: float | None = Field(description="By the mean speed so far; None when unknown.")


class Status(Frozen):
    """A run that goes on just now."""

    what: str = Field(description="What was asked for: 'multistage/minilm-half, seed 0'.")
    host: str
    pid: int
    began: float = Field(description="Seconds since the epoch.")
    updated: float = Field(description="When the rest was written, likewise.")
    doing: Doing | None = Field(description="None between two works that count.")

    def __str__(self) -> str:
        """Return it in two lines."""
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.began))
        first = f"{self.what}: runs since {since} ({duration(time.time() - self.began)}) on {self.host}, pid {self.pid}"
        return f"{first}\n  {_line(self.doing) if self.doing else 'loading, checking or saving'}"


def _line(doing: Doing) -> str:
    parts = [doing.title]
    if doing.total:
        parts.append(f"{int(100 * min(1.0, doing.done / doing.total))} % of {doing.total:,.0f} {doing.unit}".rstrip())
    if doing.steps is not None:
        parts.append(f"step {doing.step:,} of {doing.steps:,}")
    if doing.note:
        parts.append(doing.note)
    if doing.seconds_left is not None:
        parts.append(f"{duration(doing.seconds_left)} left")
    return ", ".join(parts)


@contextmanager
def runs(what: str, settings: Settings, needed: Iterable[tuple[str, str]] = ()) -> Iterator[None]:
    """Keep what a run needs in the store, and tell other terminals how far it is, while the context lasts.

    Args:
        what: What runs.
        settings: Where the store is.
        needed: Kind and key of the entries that it will ask for.

    Raises:
        XlbenchError: The disk is full or read-only.
    """
    began = time.time()
    written = (0.0, "")  # when, and of which work

    def write(work: Work | None) -> None:
        nonlocal written
        title = work.title if work else ""
        if title == written[1] and time.monotonic() - written[0] < EVERY:
            return
        written = (time.monotonic(), title)
        status = Status(
            what=what,
            host=socket.gethostname(),
            pid=os.getpid(),
            began=began,
            updated=time.time(),
            doing=_doing(work) if work else None,
        )
        with suppress(OSError):  # of a full disk the work itself tells
            replace_file(path, status.model_dump_json())

    with lease(settings.home, needed) as stem, watched(write):
        path = beside(stem, "status")
        write(None)
        yield


def _doing(work: Work) -> Doing:
    steps = round(work.total / work.step) if work.step and work.total else None
    return Doing(
        title=work.title,
        done=work.done,
        total=work.total,
        unit=work.unit,
        step=round(work.done / work.step) if steps is not None else None,
        steps=steps,
        note=work.note,
        seconds_left=work.seconds_left(),
    )


def read_status(home: Path) -> list[Status]:
    """Return what runs with a store just now; the files of runs that were killed are removed."""
    found = []
    for stem in running(home):
        with suppress(OSError, ValidationError):  # it begins or ends just now
            found.append(Status.model_validate_json(beside(stem, "status").read_text("utf-8")))
    return sorted(found, key=lambda status: status.began)
