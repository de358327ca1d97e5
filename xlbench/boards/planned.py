"""The plan of a board as data, and as text for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xlbench.errors import printable
from xlbench.fingerprint import Frozen
from xlbench.progress import duration
from xlbench.runs.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = ("Task", "Rows", "Store", "Takes", "Took", "MB")

State = Literal["missing", "stored", "with the board", "not needed"]


class PlannedTask(Frozen):
    """A stage, a scoring or an export."""

    kind: str = Field(description="'stage', 'scoring' or 'export'.")
    name: str
    id: str = Field(description="Kind and key of the store's entry that it leaves.")
    after: tuple[str, ...] = Field(description="Ids of the tasks whose results it needs.")
    rows: tuple[str, ...] = Field(description="The board's rows that need it.")
    state: State = Field(description="Whether it will run; 'not needed': it is gone, but all that needs it is there.")
    seconds: float = Field(description="That it takes on this machine, or would take.")
    bytes: float = Field(description="That it leaves in the store.")
    took: float | None = Field(description="Seconds that it took, where this store made it.")


class PlannedSchedule(Frozen):
    """A schedule of all missing tasks; where none is missing, of all tasks."""

    workers: int
    seconds: float = Field(description="From the start of the first task to the end of the last one.")
    speed_up: float = Field(description="Over one worker.")


class BoardPlan(Frozen):
    """What running a board takes."""

    board: str
    tasks: tuple[PlannedTask, ...] = Field(description="In an order in which they can run.")
    apart_seconds: float = Field(description="If every row computed its own.")
    shared_seconds: float = Field(description="If nothing was in the store, and what rows share is computed once.")
    missing_seconds: float = Field(description="Of what is missing.")
    missing_bytes: float = Field(description="That will be added to the store.")
    checkpoint_bytes: float = Field(description="More for the checkpoints of the largest stage while it trains.")
    critical_path: tuple[str, ...] = Field(description="Names of the longest chain of tasks that wait for each other.")
    critical_seconds: float
    schedules: tuple[PlannedSchedule, ...]
    made_seconds: float = Field(description="Estimate of the tasks that this store made.")
    took_seconds: float = Field(description="What they took.")
    rates: Rates = Field(description="Of this machine, in seconds for one of each.")

    def __str__(self) -> str:
        """Return it as the command line prints it."""
        return "\n".join(_text(self))


def _text(plan: BoardPlan) -> list[str]:
    """Return the lines: a table of tasks, the totals, the schedule, and what was estimated beside what it took."""
    from tabulate import tabulate

    rows = list(dict.fromkeys(row for task in plan.tasks for row in task.rows))
    numbers = {row: number for number, row in enumerate(rows, start=1)}
    table = tabulate(
        [_line(task, numbers) for task in plan.tasks],
        HEADER,
        disable_numparse=True,
        colalign=("left", "left", "left", "right", "right", "right"),
    )
    kinds = Counter(task.kind for task in plan.tasks)
    head = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items())
    listed = [f"  {number} {printable(row)}" for row, number in numbers.items()]
    return [f"{plan.board}: {head}", "Rows:", *listed, "", table, "", *_totals(plan), "", *_schedule(plan)]


def _line(task: PlannedTask, numbers: dict[str, int]) -> tuple[str, ...]:
    name = task.name if task.kind == "stage" or task.kind in task.name else f"{task.kind}: {task.name}"
    return (
        printable(name),
        " ".join(str(numbers[row]) for row in task.rows),
        task.state,
        duration(task.seconds),
        "" if task.took is None else duration(task.took),
        f"{task.bytes / 1e6:,.1f}",
    )


def _totals(plan: BoardPlan) -> Iterator[str]:
    yield f"each row on its own: {duration(plan.apart_seconds)}"
    yield f"what rows share computed once: {duration(plan.shared_seconds)}"
    yield f"missing: {duration(plan.missing_seconds)}"
    if plan.missing_bytes:
        more = f", and up to {plan.checkpoint_bytes / 1e6:,.0f} MB for checkpoints" if plan.checkpoint_bytes else ""
        yield f"disk: {plan.missing_bytes / 1e6:,.0f} MB{more}"
    if plan.took_seconds:
        ratio = plan.made_seconds / plan.took_seconds
        yield (
            f"in the store: estimated {duration(plan.made_seconds)}, took {duration(plan.took_seconds)}"
            f" (estimate / actual {ratio:.2f})"
        )
    rates = {"encoding": plan.rates.encoded, "training": plan.rates.trained}
    speeds = [f"{name} {1e-9 / rate:,.0f} GFLOP/s" for name, rate in rates.items() if rate]
    if speeds:
        yield f"this machine: {', '.join(speeds)}"


def _schedule(plan: BoardPlan) -> Iterator[str]:
    from tabulate import tabulate

    rows = [(f"{it.workers}", duration(it.seconds), f"{it.speed_up:.2f}×") for it in plan.schedules]
    yield tabulate(rows, ("Workers", "Takes", "Speed-up"), disable_numparse=True, colalign=("right",) * 3)
    if not plan.missing_seconds:
        yield "Nothing is missing: the schedule is of all tasks."
    yield f"critical path, {duration(plan.critical_seconds)}:"
    yield from (f"  {printable(name)}" for name in plan.critical_path)
