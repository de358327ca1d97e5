"""One progress bar for everything that may take longer than two seconds."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY = 2.0  # seconds before a bar shows: quick work leaves the screen alone


class Advance(Protocol):
    """Report ``amount`` more units done, and optionally a word on how it goes."""

    def __call__(self, amount: float = 1, note: str = "") -> None:
        """Advance the bar."""
        ...


@contextmanager
def progress(title: str, total: float | None, *, quiet: bool = False, done: int = 0) -> Iterator[Advance]:
    """Show a bar with time left on standard error, once the work has taken two seconds.

    Args:
        title: What is being done.
        total: How many units there are; None when unknown.
        quiet: Show nothing; nor is anything shown where standard error is no terminal.
        done: Units already done, by an earlier run that this one resumes.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda amount=1, note="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(title, total=total, completed=done, note="")
    began = time.monotonic()
    showing = False

    def advance(amount: float = 1, note: str = "") -> None:
        nonlocal showing
        bar.update(task, advance=amount, note=note) if note else bar.update(task, advance=amount)
        if not showing and time.monotonic() - began > DELAY:
            bar.start()
            showing = True

    try:
        yield advance
    finally:
        if showing:
            bar.stop()
