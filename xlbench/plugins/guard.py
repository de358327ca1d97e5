"""Calls into plugins: what goes wrong there is an error that names the plugin and the place in its source code.

The functions that hooks bring (plans, readers, encoders) are guarded one by one. What else of a plugin runs inside a
run (edits, objectives, modules of encoders, iterators over pairs) is found by its place in the traceback.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from xlbench.corpora.corpus import Corpus, CorpusReader
from xlbench.disk import is_disk_error
from xlbench.distill.method import Method
from xlbench.encoders.find import RegisteredEncoder
from xlbench.engines.engine import Engine
from xlbench.errors import CtrlC, EncodingError, PartError, XlbenchError
from xlbench.plugins.source_location import raised_at, shorten, written_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

HOOK_SECONDS, IMPORT_SECONDS, PLAN_SECONDS = 10.0, 60.0, 60.0  # the longest that a plugin may take for each
FIX = "Fix the plugin, or leave it out."


class OutOfTimeError(BaseException):
    """A plugin took longer than it may; no ``except Exception`` of its own shall catch this."""


def is_interrupt(error: BaseException) -> bool:
    """Return whether an exception is Ctrl-C or another signal, and not a plugin's own KeyboardInterrupt.

    From Python, as in a notebook, the two cannot be told apart: both are interrupts. On the command line a signal comes
    as an exception of a narrower class.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    return type(error) is not KeyboardInterrupt or not CtrlC.narrowed


def call_plugin(function: Callable[[], R], seconds: float | None = None) -> R:
    """Return what a function of a plugin returns; what it prints goes to standard error.

    Args:
        function: Takes no arguments.
        seconds: The longest that it may take.

    Raises:
        OutOfTimeError: The time is over.
    """
    with output_aside():
        return call_within(seconds, function) if seconds else function()


def call_within(seconds: float, function: Callable[[], R]) -> R:
    """Return what a function returns, and end it after so many seconds: in the main thread of a system with timers.

    This is a function and no context manager: the timer may go off at any moment, also while a ``with`` statement is
    just being entered or left, and then nobody would stop it.

    Raises:
        OutOfTimeError: The time is over.
    """
    ended = False

    def stop(number: int, frame: FrameType | None) -> None:
        if not ended:
            raise OutOfTimeError(f"it had not ended after {seconds:g} s")

    can_stop = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not can_stop or signal.getitimer(signal.ITIMER_REAL)[0]:  # somebody else's timer runs
        return function()
    before = signal.signal(signal.SIGALRM, stop)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again every second, if the plugin catches everything
            return function()
        finally:  # on a machine so busy that a second passes meanwhile, the timer may go off again right here
            ended = True
    finally:
        ended = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def output_aside() -> Iterator[None]:
    """Send to standard error what is printed in this context, also by child processes.

    So whatever a plugin prints never gets into the output of a command.
    """
    outer = sys.stdout
    with redirect_stdout(sys.stderr):
        # In a notebook and in tests the output is no file of the operating system's.
        if outer is not sys.__stdout__ or outer is None:
            yield
            return
        try:
            outer.flush()
            kept = os.dup(1)
            os.dup2(2, 1)
        except (OSError, ValueError):  # one of the two is closed
            yield
            return
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def guarded(thing: T, owner: str) -> T:
    """Return what a hook brought with its functions guarded: errors and impossible results name the plugin."""
    if isinstance(thing, Method):
        plan = _guarded(thing.plan, owner, f"plan of method '{thing.name}'", _plan_fault, PLAN_SECONDS)
        return cast(T, replace(thing, plan=plan))
    if isinstance(thing, CorpusReader):
        return cast(
            T, replace(thing, open=_guarded(thing.open, owner, f"open of corpus '{thing.scheme}'", _corpus_fault))
        )
    if isinstance(thing, RegisteredEncoder):
        digest = _guarded(thing.fingerprint, owner, f"fingerprint of encoder '{thing.name}'", _digest_fault)
        load = _guarded(thing.load, owner, f"load of encoder '{thing.name}'", _encoder_fault)
        return cast(T, replace(thing, fingerprint=digest, load=load))
    if isinstance(thing, Engine) and thing.run is not None:
        run = _guarded(thing.run, owner, f"run of engine '{thing.name}'", lambda _: "")
        return cast(T, replace(thing, run=run))
    return thing


def _guarded(
    function: Callable[P, R], owner: str, what: str, fault: Callable[[object], str], seconds: float | None = None
) -> Callable[P, R]:
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        def checked() -> tuple[R, str]:
            result = function(*args, **kwargs)
            return result, fault(result)

        try:
            result, wrong = call_plugin(checked, seconds)
        except XlbenchError:
            raise
        except BaseException as error:
            if is_disk_error(error) or is_interrupt(error):
                raise
            code = getattr(function, "__code__", None)
            where = raised_at(error, *([code.co_filename] if code else [])) or written_at(function)
            raise XlbenchError(f"Plugin '{owner}': {what} raised {described(error)} ({where}).", FIX) from error
        if wrong:
            raise XlbenchError(f"Plugin '{owner}': {what} {wrong} ({written_at(function)}).", FIX)
        return result

    return call


def described(error: BaseException) -> str:
    """Return type and first line of an exception that a plugin raised."""
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _plan_fault(result: object) -> str:
    from xlbench.distill.blend import Blend
    from xlbench.distill.plan import Plan, Stage
    from xlbench.fingerprint import fingerprint

    if not isinstance(result, Plan):
        return f"returned {_kind(result)}, which is no Plan"
    wrong = next((stage for stage in result.stages if not isinstance(stage, Stage)), None)
    if wrong is not None:
        return f"has {_kind(wrong)} among its stages, which is no Stage"
    other = next((blend for blend in result.blends if not isinstance(blend, Blend)), None)
    if other is not None:
        return f"has {_kind(other)} among its blends, which is no Blend"
    shown = [("its " + part, getattr(result, part)) for part in ("result", "teacher", "assistant")]
    for what, name in [*(("a stage", stage.name) for stage in result.stages), *shown]:
        if not isinstance(name, str):
            return f"calls {what} {name!r}, which is no text"
    # What cannot be written down has no key; whatever these raise is the plan's fault.
    fingerprint([{"reads": stage.inputs(), **stage.describe()} for stage in result.stages])
    return ""


def _corpus_fault(result: object) -> str:
    if not isinstance(result, Corpus):
        return f"returned {_kind(result)}, which is no Corpus"
    languages: object = result.languages()
    if not isinstance(languages, tuple) or not all(isinstance(code, str) for code in languages):
        return f"opened a corpus whose languages are {languages!r}, and no tuple of codes"
    wrong = next((name for name in ("digest", "note") if not isinstance(getattr(result, name), str)), None)
    return f"opened a corpus whose {wrong} is no text" if wrong else ""


def _digest_fault(result: object) -> str:
    return "" if isinstance(result, str) and result else f"returned {result!r}, which is no fingerprint"


def _encoder_fault(result: object) -> str:
    from sentence_transformers import SentenceTransformer

    # What it gives for sentences is checked for every encoder: see encoders/verify.py.
    return (
        "" if isinstance(result, SentenceTransformer) else f"returned {_kind(result)}, which is no SentenceTransformer"
    )


def _kind(thing: object) -> str:
    return "None" if thing is None else f"'{type(thing).__name__}'"


@contextmanager
def plugin_errors(files: Mapping[str, tuple[str, ...]]) -> Iterator[None]:
    """Turn what a plugin's code raises in this context into an error that names the plugin and the place.

    Args:
        files: Files and directories of each plugin, by its name.

    Raises:
        XlbenchError: A plugin raised something, ``SystemExit`` included.
    """
    try:
        yield
    except PartError as error:
        where = written_at(error.part)
        file = where.rpartition(":")[0]
        owner = next((name for name, own in files.items() if _is_of(Path(file).absolute(), own)), None)
        if owner is None:
            raise
        problem = f"Plugin '{owner}': {error.problem.removesuffix('.')} ({where})."
        raise XlbenchError(problem, error.remedy) from error
    except EncodingError as error:
        found = _raised_in(error.__cause__, files) if error.__cause__ else None
        if found is None:
            raise
        raise XlbenchError(f"Plugin '{found[0]}': {error.problem} ({found[1]}).", FIX) from error
    except XlbenchError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        # What a generator makes of a StopIteration that is raised in it says nothing of that.
        ended = isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration)
        cause = error.__cause__ if ended and error.__cause__ else error
        found = _raised_in(cause, files) or _raised_in(error, files)
        if found is None or is_disk_error(error):
            raise
        owner, where = found
        raise XlbenchError(f"Plugin '{owner}' raised {described(cause)} ({where}).", FIX) from error


def _raised_in(error: BaseException, files: Mapping[str, tuple[str, ...]]) -> tuple[str, str] | None:
    """Return the plugin and the place of the innermost frame that is in a plugin; None if none is."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        for owner, own in files.items():
            if not frame.filename.startswith("<") and _is_of(Path(frame.filename).absolute(), own):
                return owner, f"{shorten(frame.filename)}:{frame.lineno} in {frame.name}"
    return None


def _is_of(file: Path, own: tuple[str, ...]) -> bool:
    return any(file.is_relative_to(Path(place).absolute()) for place in own)
