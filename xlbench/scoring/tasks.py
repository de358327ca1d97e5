"""The tasks of a suite: MTEB's own classes, cut to what the suite names, on local data where it is."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from xlbench.encoders.digests import remembered_digest
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Json, fingerprint
from xlbench.names import look_up, nearest
from xlbench.scoring.declared import declared, mteb_version
from xlbench.scoring.quiet import quiet_datasets, randomness_kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mteb.abstasks import AbsTask

    from xlbench.experiment import Suite, TaskRef
    from xlbench.settings import Settings

STARTER = "xlbench.scoring.starter_tasks"
MONOLINGUAL = "default"  # MTEB's name of the one subset of a task that has no subsets


@dataclass(frozen=True)
class Columns:
    """The two text columns of one subset.

    Attributes:
        subset: MTEB's name of it.
        first: The first sentences, in order.
        second: The second sentences; the i-th belongs to the i-th of ``first``.
        gold: The similarity given by people, or the index of the translation.
    """

    subset: str
    first: Sequence[str]
    second: Sequence[str]
    gold: Sequence[float]


def load_task(ref: TaskRef, settings: Settings) -> AbsTask:
    """Return MTEB's task, restricted to the subsets and the split of ``ref``; its data is not read yet.

    The dataset is ``<data root>/datasets/<org>/<name>`` where that is a directory, and the hub's otherwise.

    Raises:
        XlbenchError: There is no such task, subset or split; or it would need the hub, which is offline.
    """
    with randomness_kept():
        task = _make(ref)
    _check_family(task, ref)
    for subset in ref.subsets:
        look_up(f"subset of {ref.task}", subset, dict.fromkeys(task.metadata.hf_subsets))
    look_up(f"split of {ref.task}", ref.split, dict.fromkeys(task.metadata.eval_splits))
    # Not filter_languages: it orders the subsets its own way, and tables keep the suite's order.
    task.hf_subsets = list(ref.subsets)
    task.filter_eval_splits([ref.split])
    local = _local_data(ref, task.metadata.dataset["path"], settings)
    if local is not None:
        # A copy: `metadata` belongs to the class, and this path only to this call.
        task.metadata = task.metadata.model_copy(
            update={"dataset": {**task.metadata.dataset, "path": str(local)}}
        )
    return task


def read_data(task: AbsTask, ref: TaskRef) -> list[Columns]:
    """Load the data of a task and return its sentences, subset by subset in the order of ``ref``.

    Raises:
        XlbenchError: The data cannot be read, or lacks a subset, the split or a column.
    """
    with quiet_datasets(), randomness_kept():
        try:
            task.load_data()
        except Exception as error:
            # Loading runs a task's own code over files or a hub: whatever it raises, the user needs the task.
            raise XlbenchError(
                f"The data of task {ref.task} ({task.metadata.dataset['path']}) cannot be read: {error}",
                "Check the connection and the local copy; a broken download is cured by downloading again.",
            ) from error
    try:
        _drop_other_languages(task, ref)
        return [_columns(task, ref, subset) for subset in ref.subsets]
    except KeyError as error:
        raise XlbenchError(
            f"The data of task {ref.task} ({task.metadata.dataset['path']}) has no {error}.",
            "Download it again: it is not the revision that MTEB expects.",
        ) from error


def evaluation_texts(suite: Suite, settings: Settings) -> Iterator[str]:
    """Yield every sentence that the suite scores, both sides, repetitions included.

    Raises:
        XlbenchError: A task cannot be found or read.
    """
    for ref in suite.tasks:
        for columns in read_data(load_task(ref, settings), ref):
            yield from columns.first
            yield from columns.second


def evaluation_digest(suite: Suite, settings: Settings) -> str:
    """Return what identifies the sentences of a suite, without reading them, torch or mteb.

    It covers each task's name, subsets, split and data: the bytes of a local copy (remembered by size and
    time of change), else the hub revision that the task pins, else the version of mteb.

    Raises:
        XlbenchError: A task's module cannot be found.
    """
    tasks: list[Json] = [
        [ref.task, sorted(ref.subsets), ref.split, data_identity(ref, settings)] for ref in suite.tasks
    ]
    return fingerprint(sorted(tasks, key=str))


def data_identity(ref: TaskRef, settings: Settings) -> str:
    """Return which data a task scores: ``sha256:...`` of a local copy, a hub revision, or mteb's version.

    Raises:
        XlbenchError: The task's module cannot be found.
    """
    said = declared(ref)
    if ref.loader is not None and ref.loader.startswith(f"{STARTER}:"):
        shipped = files("xlbench.corpora").joinpath("data", f"{ref.family}.jsonl")
        return f"sha256:{hashlib.sha256(shipped.read_bytes()).hexdigest()}"
    if said.path is not None and (local := settings.local("datasets", said.path)):
        return f"sha256:{_directory_digest(local, settings.home)}"
    if said.revision is not None:
        return f"{said.path}@{said.revision}{said.source and '+' + said.source}"
    return said.source or f"mteb {mteb_version()}"


def _directory_digest(path: Path, home: Path) -> str:
    """Return the SHA-256 over names and bytes of a dataset's files, without its pages and hidden files."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        # `hf download --local-dir` keeps notes of its own under .cache.
        if file.is_file() and file.suffix != ".md" and not any(part.startswith(".") for part in name.parts):
            digest.update(f"{name.as_posix()}\0{remembered_digest(file, home)}\n".encode())
    return digest.hexdigest()


def _make(ref: TaskRef) -> AbsTask:
    if ref.loader is None:
        return _from_mteb(ref.task)
    module, _, name = ref.loader.partition(":")
    try:
        task: object = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError) as error:
        raise XlbenchError(
            f"Task '{ref.task}' cannot be loaded from '{ref.loader}': {error}",
            "A loader is 'module:Class', a class made as MTEB's own tasks are.",
        ) from error
    from mteb.abstasks import AbsTask

    if not isinstance(task, AbsTask):
        raise XlbenchError(
            f"The loader '{ref.loader}' of task '{ref.task}' gives no MTEB task but {type(task).__name__}.",
            "Derive it from mteb.abstasks.AbsTaskSTS or AbsTaskBitextMining.",
        )
    return task


def _from_mteb(name: str) -> AbsTask:
    import mteb

    try:
        return mteb.get_task(name)
    except KeyError:
        known = {task.metadata.name for task in mteb.get_tasks(task_types=["STS", "BitextMining"])}
        raise XlbenchError(f"MTEB {mteb_version()} has no task '{name}'.", nearest(name, known)) from None


def _check_family(task: AbsTask, ref: TaskRef) -> None:
    from mteb.abstasks import AbsTaskBitextMining, AbsTaskSTS

    kind = AbsTaskSTS if ref.family == "sts" else AbsTaskBitextMining
    if not isinstance(task, kind):
        raise XlbenchError(
            f"Task {ref.task} is of MTEB's type {task.metadata.type}, not of the family '{ref.family}'.",
            "The families are 'sts' (MTEB's STS) and 'bitext' (BitextMining).",
        )


def _local_data(ref: TaskRef, path: str, settings: Settings) -> Path | None:
    """Return the local copy of a hub dataset; nothing means: ask the hub, or the task brings its own data."""
    if (local := settings.local("datasets", path)) or path.count("/") != 1:
        return local
    if settings.offline:
        root = settings.data_root or "DATA_ROOT"
        expected = f"{root}/datasets/{path}"
        raise XlbenchError(
            f"The data of task {ref.task} is not on this machine (expected: {expected}), and we are offline.",
            f"Lay it there (`hf download --repo-type dataset {path} --local-dir {expected}`)"
            + ("." if settings.data_root else " and give --data-root DATA_ROOT."),
        )
    return None


def _columns(task: AbsTask, ref: TaskRef, subset: str) -> Columns:
    from mteb.abstasks import AbsTaskBitextMining, AbsTaskSTS

    data = task.dataset
    assert data is not None
    if isinstance(task, AbsTaskBitextMining) and task.parallel_subsets:
        first, second = subset.split("-")
    else:
        if subset != MONOLINGUAL or subset in data:
            data = data[subset]
        first, second = "sentence1", "sentence2"
        if isinstance(task, AbsTaskSTS):
            first, second = (
                name if isinstance(name, str) else next(iter(name)) for name in task.column_names
            )
    rows = data[ref.split]
    for name in (first, second):
        if name not in rows.features:
            raise KeyError(f"column {name}")
    one, two = list(rows[first]), list(rows[second])
    gold = list(rows["score"]) if ref.family == "sts" else list(range(len(one)))
    return Columns(subset, one, two, gold)


def _drop_other_languages(task: AbsTask, ref: TaskRef) -> None:
    """Keep the wanted columns of a dataset that has a column per language: MTEB walks over whole rows."""
    from mteb.abstasks import AbsTaskBitextMining

    if isinstance(task, AbsTaskBitextMining) and task.parallel_subsets and task.dataset is not None:
        wanted = dict.fromkeys(name for subset in ref.subsets for name in subset.split("-"))
        rows = task.dataset[ref.split]
        task.dataset = {ref.split: rows.select_columns([name for name in wanted if name in rows.features])}
