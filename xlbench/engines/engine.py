"""A task: a stage, a scoring or an export as a command line that any worker can run; and what runs tasks.

What a command sends to a worker is a file of the store and a name in it. The worker computes the job again from names,
refuses what has another key there, and leaves its result in the store. So an engine moves no data and knows nothing of
encoders: it starts commands in the order that :attr:`Task.after` demands, and tells how each one ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DONE, REFUSED, DIVERGED = 0, 2, 3
"""Exit statuses of a task: its result is in the store; an error says why not; training diverged or collapsed. No status
is a reason to begin again: only a task that was killed, or whose machine was lost, has not ended."""
LOST = -1
"""What an engine tells of a task that ended without an exit status: its machine is gone, or its queue dropped it."""


class Resources(BaseModel):
    """Resources of a task."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    cpus: int | None = Field(default=None, ge=1, le=4096, description="Cores of a task, and its threads.")
    gpus: int = Field(default=0, ge=0, le=64, description="GPUs of a task; it trains on one.")
    memory_gb: float | None = Field(default=None, gt=0, le=65536, description="Memory of a task, in GB of 2^30 bytes.")
    hours: float = Field(default=4.0, gt=0, le=8760, description="Longest time of a task, where there is a limit.")


class EngineOptions(Resources):
    """Resources of scorings.

    The base of an engine's options, each described and bounded.
    """

    scoring: Resources | None = Field(
        default=None, description="Other resources of scorings and exports; what it leaves out is as for stages."
    )

    def resources_of(self, *, scores: bool) -> Resources:
        """Return the resources of a stage, or of a scoring or an export."""
        own = {name: getattr(self, name) for name in Resources.model_fields}
        if scores and self.scoring is not None:
            own |= {name: getattr(self.scoring, name) for name in self.scoring.model_fields_set}
        return Resources(**own)


@dataclass(frozen=True)
class Task:
    """One piece of work, for any process that has the store and the packages.

    Attributes:
        name: What people read: 'stage recurrent of multistage/minilm-half, seed 0'.
        kind: Sort of the store's entry that it leaves: 'stages' or 'records'.
        key: Fingerprint of that entry.
        after: The :attr:`id` of each task that must have ended with status 0 before.
        resources: What it should get.
        command: Its command line. '--threads N' and '--parent PID' may be added: N threads for torch; to end when the
            process PID that started it is gone.
        log: The file in which it writes what it says; its directory is there.
    """

    name: str
    kind: str
    key: str
    after: tuple[str, ...]
    resources: Resources
    command: tuple[str, ...]
    log: Path

    @property
    def id(self) -> str:
        """What no other task is called: 'stages/0123456789abcdef0123'."""
        return f"{self.kind}/{self.key}"


Tell: TypeAlias = Callable[[Task, int], None]

# Covariant, as the options of methods are: whoever calls `run` gives it the options that `read_options` returned.
E_co = TypeVar("E_co", bound=EngineOptions, default=EngineOptions, covariant=True)


@dataclass(frozen=True)
class Engine(Generic[E_co]):
    """A way to run tasks.

    Attributes:
        name: What ``--engine`` takes.
        summary: One line for listings.
        run: Runs tasks, each after those that it names, and returns when none is left that can run. It calls ``tell``
            with every task that ended and its exit status; a task after one that did not end with status 0 is neither
            run nor told of. When it is interrupted it cancels what it started. None: there are no tasks, since the run
            itself does everything, one after another in its own process.
        options: The class of its options.
        package: The module that it needs; empty for none.
        install: What brings that module, for pip: 'xlbench[ray]'.
    """

    name: str
    summary: str
    run: Callable[[Sequence[Task], E_co, Tell], None] | None
    options: type[E_co]
    package: str = ""
    install: str = ""


def drive(
    tasks: Sequence[Task],
    start: Callable[[Task], None],
    ended: Callable[[], Mapping[str, int]],
    stop: Callable[[], None],
    tell: Tell,
    *,
    most: int | None = None,
) -> None:
    """Start every task once all are done that it needs: the loop of an engine whose queue knows no dependencies.

    Args:
        tasks: The tasks; those that come first are started first.
        start: Hands a task to the queue, and returns at once.
        ended: Waits until something has ended, or a second or so, and returns exit statuses by the task's ``id``.
        stop: Cancels what was started, if this is interrupted or fails.
        tell: Told of every task that ended.
        most: Most tasks at a time; None: as many as can run.
    """
    waiting = {task.id: task for task in tasks}
    needs = {task.id: set(task.after) & waiting.keys() for task in tasks}
    running: dict[str, Task] = {}
    try:
        while True:
            for task in [task for task in waiting.values() if not needs[task.id]]:
                if most is None or len(running) < most:
                    del waiting[task.id]
                    start(task)
                    running[task.id] = task
            if not running:
                return
            for name, status in ended().items():
                tell(running.pop(name), status)
                if status == DONE:  # a task after one that failed keeps its need, and never starts
                    for left in needs.values():
                        left.discard(name)
    except BaseException:
        stop()
        raise
