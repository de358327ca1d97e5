"""How far long work has come: a bar with time left in a terminal or a notebook, elsewhere one line a minute.

A log file or a CI job gets lines like ``xlbench: stage recurrent: 42 % of 270,000 pairs, 3 min left (dev loss 0.236)``.
All of it goes to standard error, but for a notebook's bar, which the notebook draws.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

BAR_AFTER = 2.0  # seconds without a bar: quick work leaves the screen alone
REDRAW = 0.2  # seconds between two states of a bar
LINE_EVERY = 60.0  # seconds

BAR = "{desc} {percentage:3.0f} %|{bar}| {n:,.0f} of {total:,.0f}{unit}, {remaining} left{postfix}"
COUNTER = "{desc}: {n:,.0f}{unit}, {elapsed} so far{postfix}"  # where the total is unknown


class Advance(Protocol):
    """Report ``amount`` more units done, and optionally a word on how it goes, which stays until the next one."""

    def __call__(self, amount: float = 1, note: str = "") -> None:
        """Report it."""
        ...


def progress(
    title: str, total: float | None, *, quiet: bool = False, done: float = 0, unit: str = ""
) -> AbstractContextManager[Advance]:
    """Show how far work has come and how long it still takes, while the context lasts.

    A bar shows once the work has taken two seconds, a line once it has taken a minute. Lines come every minute even
    when nothing was reported meanwhile.

    Args:
        title: What is being done, in lower case: 'stage recurrent', 'reading pairs'.
        total: How many units there are; None when unknown.
        quiet: Show nothing.
        done: Units already done by an earlier run that this one resumes; they do not count as fast work.
        unit: What is counted, in the plural: 'pairs'.
    """
    if quiet:
        return nullcontext(_ignore)
    show = _bar if sys.stderr.isatty() or _in_notebook() else _lines
    return show(title, total, done, unit)


def waits_for(what: str, *, quiet: bool) -> Callable[[], None]:
    """Return a function that says which work of another process is waited for.

    Args:
        what: What the other process is doing: 'tokenising the corpus'.
        quiet: Say nothing.
    """

    def say() -> None:
        if not quiet:
            _write(f"waiting for another process that is {what}")

    return say


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
            bar.set_postfix_str(note, refresh=False)
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
        while not finished.wait(LINE_EVERY):
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
        return f"{count}{_duration(seconds)} so far"
    reached = min(reached, total)
    share = f"{int(100 * reached / total)} % of {total:,.0f} {unit}".rstrip()
    if reached <= done:  # no speed to judge by
        return f"{share}, {_duration(seconds)} so far"
    return f"{share}, {_duration(seconds * (total - reached) / (reached - done))} left"


def _duration(seconds: float) -> str:
    """Return '40 s', '3 min' or '2 h 5 min'."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _write(text: str) -> None:
    sys.stderr.write(f"xlbench: {text}\n")
    sys.stderr.flush()
