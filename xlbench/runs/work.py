"""Work for other processes: what tasks do, as plain data in a file of the store that every worker can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from xlbench._version import __version__
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen
from xlbench.plugins.registry import FILE as SINGLE_FILE
from xlbench.runs.request import Request
from xlbench.settings import Settings
from xlbench.store import refuse_links, write_atomically
from xlbench.validation import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlbench.plugins.registry import Registry

FOLDER, FILE = "tasks", "work.json"  # <home>/tasks/<one for each run>/work.json


class Unit(Frozen):
    """What one task does.

    Attributes:
        name: What people read.
        does: Trains a stage, scores a row of a job, exports its student and scores that, or scores an encoder.
        request: Which request of the work its job is made from; of an encoder, beside which it is scored.
        part: Name of the stage, of the row, of the export's row, or of the encoder.
        to: Format of an export.
        force: Whether an export is kept that loses more than its format's bound.
    """

    name: str
    does: Literal["stage", "row", "export", "encoder"]
    request: int
    part: str
    to: str = ""
    force: bool = False


class Work(Frozen):
    """The content of ``work.json``.

    Attributes:
        version: Of the xlbench that wrote it.
        directory: Where relative paths begin.
        plugins: Plugins in single files.
        settings: Of the run; the store is where the file lies.
        requests: Each with one seed.
        units: What each task does, by the task's id.
    """

    version: str
    directory: str
    plugins: tuple[str, ...]
    settings: Settings
    requests: tuple[Request, ...]
    units: dict[str, Unit]


class Ended(Frozen):
    """How a task ended that did not end well, beside ``work.json``: what it would have said on the command line.

    Attributes:
        problem: What is wrong.
        remedy: What to do about it.
    """

    problem: str
    remedy: str


def make_work(requests: tuple[Request, ...], units: Mapping[str, Unit], registry: Registry, settings: Settings) -> Work:
    """Return what workers must know of a run on this machine."""
    files = tuple(str(Path(it.name).absolute()) for it in registry.loaded if it.distribution == SINGLE_FILE)
    return Work(
        version=__version__,
        directory=os.getcwd(),  # noqa: PTH109 - as text, like all in it
        plugins=files,
        settings=settings,
        requests=requests,
        units=dict(units),
    )


def new_file(settings: Settings) -> Path:
    """Return where the file of a run's work will lie, in a directory of its own.

    Raises:
        XlbenchError: The folder of tasks is a link.
    """
    refuse_links(settings.home, FOLDER)
    return settings.home / FOLDER / uuid4().hex[:12] / FILE


def write_work(file: Path, work: Work) -> None:
    """Write work into its file, which :func:`new_file` names.

    Raises:
        XlbenchError: The disk is full or read-only.
    """
    write_atomically(file, work.model_dump_json(indent=1))


def read_work(file: Path) -> Work:
    """Read work, for the store in which its file lies.

    Raises:
        XlbenchError: The file cannot be read, or another version of xlbench wrote it.
    """
    remedy = "Is it on a disk that this machine shares, and has it the same xlbench?"
    try:
        work = Work.model_validate_json(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise XlbenchError(f"The tasks in '{file}' cannot be read: {invalid(error)}", remedy) from error
    home = file.absolute().parents[2]
    return work.model_copy(update={"settings": work.settings.model_copy(update={"home": home})})


def beside(file: Path, task: str, ending: str) -> Path:
    """Return the file of a task that has an ending: 'log' for what it says, 'json' for an error."""
    return file.with_name(f"{task.replace('/', '-')}.{ending}")
