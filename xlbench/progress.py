"""How far long work has come: a bar with time left in a terminal or a notebook, elsewhere one line a minute.

A log file or a CI job gets lines like ``xlbench: stage recurrent: 42 % of 270,000 pairs, 3 min left (dev loss 0.236)``.
All of it goes to standard error, but for a notebook's bar, which the notebook draws.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from xlbench.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

BAR_AFTER = 2.0  # seconds without a bar: quick work leaves the screen alone
REDRAW = 0.2  # seconds between two states of a bar
FIRST_LINE, LINE_EVERY = 15.0, 60.0  # seconds: whoever starts a run wants to see soon that it goes on

BAR = "{desc} {percentage:3.0f} %|{bar}| {n:,.0f} of {total:,.0f}{unit}, {remaining} left{postfix}"
COUNTER = "{desc}: {n:,.0f}{unit}, {elapsed} so far{postfix}"  # where the total is unknown


class Advance(Protocol):
    """Report ``amount`` more units done, and optionally a word on how it goes, which stays until the next one."""

    def __call__(self, amount: float = 1, note: str = "") -> None:
        """Report it."""
        ...


@dataclass(eq=False)
class Work:
    """Long work that goes on just now; the numbers change while it does.

    Attributes:
        title: What is being done.
        total: How many units there are; None when unknown.
        unit: What is counted, in the plural.
        resumed: Units that an earlier run did.
        step: Units of one step of training; 0 where the work has no steps.
        began: On the clock of :func:`time.monotonic`.
        done: Units done, those of an earlier run included.
        note: The last word on how it goes.
    """

    title: str
    total: float | None
    unit: str
    resumed: float
    step: float
    began: float
    done: float
    note: str = ""

    def seconds_left(self) -> float | None:
        """Return the seconds that are left, by the mean speed so far; None where that is unknown."""
        if not self.total or self.done <= self.resumed:
            return None
        return (monotonic() - self.began) * max(0.0, self.total - self.done) / (self.done - self.resumed)


_works: list[Work] = []  # of this process, the innermost last
_watchers: list[Callable[[Work | None], None]] = []


@contextmanager
def watched(watcher: Callable[[Work | None], None]) -> Iterator[None]:
    """Have all work that reports progress tell a watcher too, while the context lasts, quiet or not.

    Args:
        watcher: Called at every report with the innermost work, and with None when none goes on. It must be quick.
    """
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def _tell_watchers() -> None:
    for watcher in _watchers:
        watcher(_works[-1] if _works else None)


@contextmanager
def progress(
    title: str, total: float | None, *, quiet: bool = False, done: float = 0, unit: str = "", step: float = 0
) -> Iterator[Advance]:
    """Show how far work has come and how long it still takes, while the context lasts.

    A bar shows once the work has taken two seconds, a line once it has taken fifteen. Further lines come every minute
    even when nothing was reported meanwhile.

    Args:
        title: What is being done, in lower case: 'stage recurrent', 'reading pairs'.
        total: How many units there are; None when unknown.
        quiet: Show nothing.
        done: Units already done by an earlier run that this one resumes; they do not count as fast work.
        unit: What is counted, in the plural: 'pairs'.
        step: Units of one step of training, which `xlbench status` counts.
    """
    work = Work(title, total, unit, done, step, monotonic(), done)
    _works.append(work)
    try:
        _tell_watchers()
        with _shown(title, total, done, unit, quiet=quiet) as show:

            def advance(amount: float = 1, note: str = "") -> None:
                work.done += amount
                work.note = note or work.note
                show(amount, note)
                _tell_watchers()

            yield advance
    finally:
        _works.remove(work)
        _tell_watchers()


def _shown(title: str, total: float | None, done: float, unit: str, *, quiet: bool) -> AbstractContextManager[Advance]:
    if quiet:
        return nullcontext(_ignore)
    title = printable(title)  # it holds names
    show = _bar if sys.stderr.isatty() or _in_notebook() else _lines
    return show(title, total, done, unit)


def note(text: str, *, quiet: bool) -> None:
    """Say what a user should know, on standard error; ``quiet`` says nothing."""
    if not quiet:
        _write(text)


@cache
def note_once(text: str, *, quiet: bool) -> None:
    """Say something once in a process: what is found again whenever the same is looked at."""
    note(text, quiet=quiet)


def _ignore(amount: float = 1, note: str = "") -> None:
    """Report to nobody."""


def _in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this; IPython is asked only if something else has imported it."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


@contextmanager
def _bar(title: str, total: float | None, done: float, unit: str) -> Iterator[Advance]:
    from tqdm.auto import tqdm  # a widget where the notebook has ipywidgets, else a bar of characters

    bar = tqdm(
        desc=title,
        total=total,
        initial=done,
        unit=f" {unit}" if unit else "",
        bar_format=COUNTER if total is None else BAR,
        delay=BAR_AFTER,
        mininterval=REDRAW,
        miniters=0,  # look at the clock at every report, however many units the last ones held
        smoothing=0,  # time left by the mean speed since the start, as in the lines
        dynamic_ncols=True,
        leave=False,
    )

    def advance(amount: float = 1, note: str = "") -> None:
        if note:
            bar.set_postfix_str(printable(note), refresh=False)
        bar.update(amount if total is None else min(amount, total - bar.n))

    with bar:
        yield advance
        if total is not None:
            bar.n = total  # a notebook marks as failed what ends before


@contextmanager
def _lines(title: str, total: float | None, done: float, unit: str) -> Iterator[Advance]:
    began, reached, word = monotonic(), done, ""
    finished = Event()

    def advance(amount: float = 1, note: str = "") -> None:
        nonlocal reached, word
        reached += amount
        word = note or word

    def every_minute() -> None:
        wait = FIRST_LINE
        while not finished.wait(wait):
            wait = LINE_EVERY
            state = _state(total, done, reached, monotonic() - began, unit)
            _write(f"{title}: {state}{f' ({word})' if word else ''}")

    # A thread, since the work may report nothing for minutes: a download, an evaluation of a library's.
    thread = Thread(target=every_minute, name="xlbench-progress", daemon=True)
    thread.start()
    try:
        yield advance
    finally:
        finished.set()
        thread.join()


def _state(total: float | None, done: float, reached: float, seconds: float, unit: str) -> str:
    """Return how far it is, e.g. '42 % of 270,000 pairs, 3 min left'; ``done`` of it was there ``seconds`` ago."""
    if not total:
        count = f"{reached:,.0f} {unit}, " if reached else ""
        return f"{count}{duration(seconds)} so far"
    reached = min(reached, total)
    share = f"{int(100 * reached / total)} % of {total:,.0f} {unit}".rstrip()
    if reached <= done:  # no speed to judge by
        return f"{share}, {duration(seconds)} so far"
    return f"{share}, {duration(seconds * (total - reached) / (reached - done))} left"


def duration(seconds: float) -> str:
    """Return '40 s', '3 min' or '2 h 5 min'."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _write(text: str) -> None:
    sys.stderr.write(f"xlbench: {printable(text)}\n")
    sys.stderr.flush()
