"""Signals that end a run: one line, the exit code of a shell, and the same command resumes."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from trials import results

if TYPE_CHECKING:
    from collections.abc import Callable

    from trials import Place

pytestmark = pytest.mark.faults
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def test_a_signal_ends_a_run_in_one_line_and_it_resumes(
    place: Place, long: bool, report: Callable[[str, object, str], None]
) -> None:
    delays = (0.0, 0.05, 0.1, 0.2, 0.4) if long else (0.05,)
    for delay in delays:
        directory = place.directory()
        words = place.words(directory / "home", "--json", quiet=False)
        for number, code in CODES.items():  # the second and third go on where the one before ended
            run = place.start(directory, words)
            run.until(": running")
            time.sleep(delay)
            run.send(number)
            assert run.wait().code == code, (number, delay, run.said)
            assert run.said.splitlines()[-1] == "xlbench: interrupted; the same command resumes"
            assert "Traceback" not in run.said
            assert run.out.read_text() == ""
        assert place.start(directory, words, "again").wait().code == 0
        assert results(directory / "home") == place.whole
    trials = len(delays) * len(CODES)
    report("SIGINT, SIGTERM, SIGHUP during a run", trials, "one line; exit code 130, 143, 129; each resumes")


def test_a_signal_that_python_swallows_while_an_object_is_finalised_comes_again() -> None:
    from xlbench.cli.signals import Interrupted, ending_signals

    class Last:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):  # the handler runs here, and what it raises is ignored
                pass

    def finalise() -> None:
        Last()  # which ends at once
        time.sleep(60)

    with ending_signals() as received, pytest.raises(Interrupted):
        finalise()
    assert received == [signal.SIGTERM]
