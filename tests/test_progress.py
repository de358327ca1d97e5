"""How far long work has come: a bar in terminals and notebooks, a line a minute elsewhere, nothing when quiet."""

from __future__ import annotations

import io
import os
import re
import socket
import sys
from contextlib import redirect_stderr
from queue import SimpleQueue
from threading import Semaphore
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import tqdm.std
from toy_runs import make_place, settings_at, toy_request, toy_run

import xlbench.progress as module
from xlbench.progress import note, progress
from xlbench.store import Lock, build, get_or_build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Clock:
    """Stands for the clock and for :class:`threading.Event`: time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self._asked = Semaphore(0)
        self._answers: SimpleQueue[bool] = SimpleQueue()

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self._asked.release()
        return self._answers.get()

    def set(self) -> None:
        self._answers.put(True)

    def let_pass(self, seconds: float) -> None:
        """Let the thread that waits wake up after so long; return when it waits again."""
        self._asked.acquire()
        self.now += seconds
        self._answers.put(False)
        self._asked.acquire()
        self._asked.release()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    monkeypatch.setattr(module, "Event", lambda: clock)
    monkeypatch.setattr(tqdm.std, "time", lambda: clock.now)
    return clock


class Terminal(io.StringIO):
    """Standard error of a terminal: of unknown width, where a bar is ten characters wide, and with Unicode."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def states(self) -> list[str]:
        """Return what the bar's line said, one state after another."""
        return self.getvalue().split("\r")[1:]


def log() -> redirect_stderr[io.StringIO]:
    """Standard error goes to a file."""
    return redirect_stderr(io.StringIO())


def terminal() -> redirect_stderr[Terminal]:
    """Standard error goes to a terminal."""
    return redirect_stderr(Terminal())


def test_without_a_terminal_there_is_a_line_a_minute(clock: Clock) -> None:
    with log() as shown, progress("stage recurrent", 270_000, unit="pairs") as advance:
        advance(900)
        assert shown.getvalue() == ""  # the first fifteen seconds are silent
        advance(89_100, "dev loss 0.2360")
        clock.let_pass(60)
        advance(23_400)
        clock.let_pass(60)
    assert shown.getvalue().splitlines() == [
        # A third in a minute: two thirds take two. Then 113,400 in 2 minutes: the other 156,600 take 2.8.
        "xlbench: stage recurrent: 33 % of 270,000 pairs, 2 min left (dev loss 0.2360)",
        "xlbench: stage recurrent: 42 % of 270,000 pairs, 3 min left (dev loss 0.2360)",
    ]
    assert clock.waits == [15, 60, 60]


def test_work_that_reports_nothing_has_a_line_too(clock: Clock) -> None:
    with log() as shown:
        with progress("scoring minilm-half", 500, unit="sentences"):
            clock.let_pass(60)
        with progress("fetching encoder org/name", None):
            clock.let_pass(3660)
    assert shown.getvalue().splitlines() == [
        "xlbench: scoring minilm-half: 0 % of 500 sentences, 1 min so far",
        "xlbench: fetching encoder org/name: 1 h 1 min so far",
    ]


def test_the_line_gives_the_count_if_the_total_is_unknown(clock: Clock) -> None:
    with log() as shown, progress("reading pairs", None, unit="pairs") as advance:
        advance(1_234_000, "tsv:corpus de")
        clock.let_pass(120)
    assert shown.getvalue() == "xlbench: reading pairs: 1,234,000 pairs, 2 min so far (tsv:corpus de)\n"


def test_the_speed_leaves_out_resumed_work(clock: Clock) -> None:
    with log() as shown, progress("stage recurrent", 1000, done=800, unit="pairs") as advance:
        clock.let_pass(60)
        advance(50)
        clock.let_pass(40)
    assert shown.getvalue().splitlines() == [
        "xlbench: stage recurrent: 80 % of 1,000 pairs, 1 min so far",
        # 50 took 100 s, so the last 150 take 300 s; by all 850 it would be 18 s.
        "xlbench: stage recurrent: 85 % of 1,000 pairs, 5 min left",
    ]


def test_the_speed_of_a_bar_leaves_out_resumed_work(clock: Clock) -> None:
    with terminal() as shown, progress("stage recurrent", 1000, done=800, unit="pairs") as advance:
        clock.now += 100
        advance(50)
        assert shown.states() == ["stage recurrent  85 %|████████▌ | 850 of 1,000 pairs, 05:00 left"]


def test_a_terminal_has_a_bar_after_two_seconds(clock: Clock) -> None:
    with terminal() as shown, progress("stage recurrent", 270_000, unit="pairs") as advance:
        clock.now += 1.9
        advance(90_000)
        assert shown.getvalue() == ""
        clock.now += 1.1
        advance(23_400, "dev loss 0.2360")
        bar = "stage recurrent  42 %|████▏     | 113,400 of 270,000 pairs, 00:04 left, dev loss 0.2360"
        assert shown.states() == [bar]
        clock.now += 0.1
        advance(1)
        assert shown.states() == [bar]  # drawn five times a second at most
        clock.now += 0.2
        advance(1)
        assert len(shown.states()) == 2
    assert shown.states()[2:] == [" " * len(bar), ""]  # it is wiped out at the end
    assert clock.waits == []  # and there are no lines


def test_quick_work_shows_no_bar(clock: Clock) -> None:
    with terminal() as shown, progress("measuring speed", 6, unit="rounds") as advance:
        clock.now += 1.9
        advance(6)
    assert shown.getvalue() == ""


def test_a_bar_of_an_unknown_total_counts(clock: Clock) -> None:
    with terminal() as shown, progress("reading pairs", None, unit="pairs") as advance:
        clock.now += 75
        advance(1_234_000, "tsv:corpus de")
        assert shown.states() == ["reading pairs: 1,234,000 pairs, 01:15 so far, tsv:corpus de"]


def test_a_bar_stops_at_its_total(clock: Clock) -> None:
    with terminal() as shown, progress("tokenising the corpus", 10, unit="sentences") as advance:
        clock.now += 3
        advance(11)
        assert shown.states() == ["tokenising the corpus 100 %|██████████| 10 of 10 sentences, 00:00 left"]


def test_a_line_stops_at_its_total(clock: Clock) -> None:
    with log() as shown, progress("tokenising the corpus", 10, unit="sentences") as advance:
        advance(11)
        clock.let_pass(60)
    assert shown.getvalue() == "xlbench: tokenising the corpus: 100 % of 10 sentences, 0 s left\n"


@pytest.mark.parametrize(("kernel", "bar"), [(object(), True), (None, False)])
def test_a_notebook_has_a_bar_although_it_is_no_terminal(
    kernel: object, bar: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPython's shell has a kernel in a notebook; in a script that merely imports IPython there is no shell."""
    ipython = ModuleType("IPython")
    shell = SimpleNamespace(kernel=kernel) if kernel else None
    monkeypatch.setattr(ipython, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    with log() as shown, progress("scoring minilm-half", 4, unit="sentences") as advance:
        clock.now += 3
        advance(1)
        # Without ipywidgets tqdm draws characters; the first of them returns to the start of the line.
        assert ("\rscoring minilm-half  25 %|" in shown.getvalue()) == bar
    assert len(clock.waits) == (0 if bar else 1)


@pytest.mark.parametrize("stream", [log, terminal])
def test_quiet_shows_nothing(stream: Callable[[], redirect_stderr[io.StringIO]], clock: Clock) -> None:
    with stream() as shown:
        with progress("stage recurrent", 10, quiet=True, unit="pairs") as advance:
            clock.now += 600
            advance(5, "dev loss 0.2360")
        note("waiting", quiet=True)
    assert shown.getvalue() == ""
    assert clock.waits == []


def test_no_line_follows_after_a_failure(clock: Clock) -> None:
    with log() as shown, pytest.raises(KeyboardInterrupt), progress("stage recurrent", 10, unit="pairs"):
        raise KeyboardInterrupt
    assert shown.getvalue() == ""


def test_waiting_for_another_process_is_reported_repeatedly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build.REMIND_EVERY == 60
    monkeypatch.setattr(build, "REMIND_EVERY", 0.0)
    (tmp_path / "locks").mkdir()
    other = Lock(tmp_path / "locks" / "tokens-k.lock")
    other.acquire()
    say = build.note

    def hear(text: str, *, quiet: bool) -> None:
        say(text, quiet=quiet)
        if shown.getvalue().count("\n") == 3:
            other.release()

    monkeypatch.setattr(build, "note", hear)
    with log() as shown:
        assert not get_or_build(tmp_path, "tokens", "k", lambda directory: {}, doing="tokenising the corpus").reused
    who = rf"process {os.getpid()} on {re.escape(socket.gethostname())} \(since [^)]*\)"
    assert re.fullmatch(rf"(xlbench: waiting for {who} that is tokenising the corpus\n){{3}}", shown.getvalue())


class LastMinute:
    """Stands for :class:`threading.Event`: the first minute of any work is over just when the work is."""

    def __init__(self) -> None:
        self._ended = Semaphore(0)
        self._said = False

    def set(self) -> None:
        self._ended.release()

    def wait(self, seconds: float) -> bool:
        if self._said:
            return True
        self._said = True
        self._ended.acquire()
        return False


def test_a_run_reports_its_progress_and_no_other_bar_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Event", LastMinute)
    settings = settings_at(tmp_path / "home", speed_rounds=1).model_copy(update={"quiet": False})
    wanted = toy_request(make_place(tmp_path), options={"batch_size": 16})
    with log() as shown:
        toy_run(wanted, settings)
    lines = shown.getvalue().splitlines()
    assert [line for line in lines if not line.startswith("xlbench: ")] == []
    said = [line.removeprefix("xlbench: ").partition(" (dev")[0] for line in lines]
    # The budget of the toy plugin: 64 pairs for the assistant; 320 for the student, a tenth of them for stage 3.
    # Of its five stages the first and the third train nothing.
    for stage, pairs in {"alignment (2 of 5)": 64, "recurrent (4 of 5)": 32, "contrastive (5 of 5)": 288}.items():
        assert f"stage {stage}: 100 % of {pairs} pairs, 0 s left" in said
    assert said.index("measuring speed: 100 % of 2 rounds, 0 s left") > said.index(
        "tokenising the corpus: 100 % of 352 sentences, 0 s left"
    )
