"""Running on an engine: what is missing is made by tasks elsewhere; then the run itself finds everything in the store.

So there is one way to make a record, and records are the same whatever engine is chosen.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from importlib.util import find_spec
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, NamedTuple

from xlbench.distill.health import FailedTrainingError
from xlbench.engines.engine import DIVERGED, DONE, LOST, Engine, EngineOptions, Task
from xlbench.errors import XlbenchError, look_up, printable
from xlbench.progress import duration, progress
from xlbench.runs.graph import counts, stored_in, tasks_of
from xlbench.runs.request import load_toml
from xlbench.runs.session import check_ready
from xlbench.runs.status import read_status, runs
from xlbench.runs.work import Ended, beside, make_work, new_file, write_work
from xlbench.settings import path_of
from xlbench.validation import validated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from xlbench.experiment import Suite
    from xlbench.plugins.registry import Registry
    from xlbench.progress import Advance
    from xlbench.runs.graph import Graph
    from xlbench.runs.run import Diverged
    from xlbench.runs.status import Status
    from xlbench.settings import Settings

    Say = Callable[[str], None]

LOCAL = "local"  # the engine of who names none
EVERY = 2.0  # seconds between two looks at what the tasks say of themselves
SHOWN = 2  # running tasks whose state is shown beside the bar


class Chosen(NamedTuple):
    """An engine, and its options."""

    engine: Engine
    options: EngineOptions


def choose_engine(
    name: str | None, config: str | Path | None, given: Mapping[str, object], registry: Registry
) -> Chosen | None:
    """Find an engine, and check its options and that what it needs is installed.

    Args:
        name: Of a registered engine; None: local.
        config: A TOML file of its options.
        given: Options that replace those of the file.
        registry: What plugins provide.

    Returns:
        The engine; None for this process, which needs none.

    Raises:
        XlbenchError: It is unknown, lacks a package, or an option is unknown, of the wrong kind or out of bounds.
    """
    name = LOCAL if name is None else name
    engine = look_up("engine", name, registry.engines)
    if engine.package and find_spec(engine.package) is None:
        raise XlbenchError(
            f"The engine '{name}' needs {engine.package}, which is not installed.",
            f"Run `pip install '{engine.install or engine.package}'`.",
        )
    if engine.run is None:
        if config is not None or given:
            raise XlbenchError(f"The engine '{name}' has no options: the run itself does all.", "Leave them out.")
        return None
    declared: dict[str, object] = {}
    if config is not None:
        declared = load_toml(path_of(config, "engine_config"), "", "Give --engine-config a TOML file.")
    return Chosen(engine, validated(engine.options, {**declared, **given}, f"option of engine {name}:"))


def prefill(
    graph: Graph, chosen: Chosen, suites: Iterable[Suite], registry: Registry, settings: Settings, say: Say
) -> Diverged:
    """Have an engine make what is missing in the store.

    Args:
        graph: What is missing.
        chosen: The engine.
        suites: What will be scored, and is kept out of the training data.
        registry: What plugins provide.
        settings: Paths and switches.
        say: Told how many tasks there are, and how each ended.

    Returns:
        Training that diverged or collapsed, by the key of its stage.

    Raises:
        XlbenchError: A task failed; all that do not need it were run before.
    """
    engine, options = chosen
    assert engine.run is not None
    if not graph.units:
        return {}
    check_ready(dict.fromkeys(suites), settings)
    file = new_file(settings)
    write_work(file, make_work(tuple(graph.requests), graph.units, registry, settings))
    tasks = tasks_of(graph, file, options)
    what = ", ".join(counts(graph))
    say(f"engine {engine.name}: {what}")
    ended: dict[str, int] = {}
    with (
        runs(f"{what} on {engine.name}", settings, [(task.kind, task.key) for task in tasks]),
        progress(f"tasks on {engine.name}", len(tasks), quiet=settings.quiet, unit="tasks") as advance,
        _Display(tasks, settings, advance) as display,
    ):

        def tell(task: Task, status: int) -> None:
            ended[task.id] = status
            display.ended(task)
            say(f"{task.name}: {'done' if status == DONE else 'failed'} ({len(ended)} of {len(tasks)})")

        engine.run(tasks, options, tell)
    failed = [(task, ended[task.id]) for task in tasks if ended.get(task.id, DONE) not in {DONE, DIVERGED}]
    if failed:
        raise _failure(failed, file, engine.name)
    diverged = {task.key: _divergence(task, file) for task in tasks if ended.get(task.id) == DIVERGED}
    left = [task for task in tasks if task.id not in ended]
    if left and not diverged:
        raise XlbenchError(
            f"The engine '{engine.name}' ended without '{left[0].name}'.", "Report it to the engine's author."
        )
    has = stored_in(settings)
    for task in (task for task in tasks if ended.get(task.id) == DONE and not has(task.kind, task.key)):
        raise XlbenchError(
            f"The engine '{engine.name}' says that '{task.name}' is done, and its result is not in the store"
            f" '{settings.home}'.",
            "Do its workers have this store, under this path? Otherwise report it to the engine's author.",
        )
    shutil.rmtree(file.parent, ignore_errors=True)
    return diverged


class _Display:
    """Shows all tasks in one bar: how many run and wait, and what those that run say of themselves in the store.

    Args:
        tasks: All tasks.
        settings: Where the store is.
        advance: Of the bar.
    """

    def __init__(self, tasks: Sequence[Task], settings: Settings, advance: Advance) -> None:
        self.left = {task.id: task.name for task in tasks}
        self.settings = settings
        self.advance = advance
        self.lock = Lock()  # the bar is told by two threads
        self.over = Event()
        self.thread = Thread(target=self._watch, name="xlbench-tasks", daemon=True)

    def __enter__(self) -> _Display:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def ended(self, task: Task) -> None:
        """Count a task."""
        with self.lock:
            self.left.pop(task.id, None)
            self.advance()

    def _watch(self) -> None:
        while not self.over.wait(EVERY):
            with suppress(OSError, XlbenchError):  # the store is asked again
                found = read_status(self.settings.home)
                with self.lock:
                    names = set(self.left.values())
                    running = [status for status in found if status.what in names]
                    self.advance(0, "; ".join(_lines(running, len(self.left) - len(running))))


def _lines(running: Sequence[Status], waiting: int) -> Iterator[str]:
    yield f"{len(running)} running, {max(0, waiting)} waiting"
    for status in running[:SHOWN]:
        doing = status.doing
        share = f" {int(100 * min(1.0, doing.done / doing.total))} %" if doing and doing.total else ""
        left = f", {duration(doing.seconds_left)} left" if doing and doing.seconds_left is not None else ""
        yield printable(f"{status.what}{share}{left}")


def _read_ended(task: Task, file: Path) -> Ended | None:
    try:
        return Ended.model_validate_json(beside(file, task.id, "json").read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _divergence(task: Task, file: Path) -> FailedTrainingError:
    ended = _read_ended(task, file)
    if ended is None:
        return FailedTrainingError(f"'{task.name}' diverged or collapsed.", "Lower its learning rate.")
    return FailedTrainingError(ended.problem, ended.remedy)


def _failure(failed: Sequence[tuple[Task, int]], file: Path, engine: str) -> XlbenchError:
    """Return the error of a run some tasks of which failed: that of the first one, and where its log is."""
    task, status = failed[0]
    more = f" {len(failed) - 1} more failed." if len(failed) > 1 else ""
    log = f"Its log: '{task.log}'." if task.log.is_file() else f"It wrote no log; those of the engine: '{file.parent}'."
    if (ended := _read_ended(task, file)) is not None:
        return XlbenchError(f"Task '{task.name}' on {engine}: {ended.problem}{more}", f"{ended.remedy} {log}".strip())
    how = "was lost or killed" if status == LOST else f"ended with exit status {status}"
    problem = f"Task '{task.name}' on {engine} {how}.{more}"
    return XlbenchError(problem, f"{log} The same command goes on from what is done.")
