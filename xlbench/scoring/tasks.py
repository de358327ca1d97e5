"""The tasks of a suite: MTEB's own classes, cut to what the suite names, on local data where it is."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError, look_up, nearest
from xlbench.fingerprint import Json, fingerprint
from xlbench.scoring.data import data_identity, mteb_version, task_loader
from xlbench.scoring.quiet import quiet_datasets, randomness_kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mteb.abstasks import AbsTask

    from xlbench.experiment import Suite, TaskRef
    from xlbench.settings import Settings

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
    task.hf_subsets = list(ref.subsets)
    task.filter_eval_splits([ref.split])
    local = _local_data(ref, task.metadata.dataset["path"], settings)
    if local is not None:
        # A copy: `metadata` belongs to the class, and this path only to this call.
        task.metadata = task.metadata.model_copy(update={"dataset": {**task.metadata.dataset, "path": str(local)}})
    return task


def read_data(task: AbsTask, ref: TaskRef, settings: Settings) -> list[Columns]:
    """Load the data of a task and return its sentences, subset by subset in the order of ``ref``.

    Args:
        task: What :func:`load_task` returned.
        ref: The same.
        settings: The same; errors name its data root.

    Raises:
        XlbenchError: The data cannot be read, or lacks a subset, the split or a column.
    """
    name = f"The data of task {ref.task} ({task.metadata.dataset['path']})"
    remedy = _download(type(task).metadata.dataset["path"], settings)
    with quiet_datasets(), randomness_kept():
        try:
            task.load_data()
        except Exception as error:
            # Loading runs a task's own code over files or a hub: whatever it raises, the user needs the task.
            cause = str(error).strip().splitlines() or [type(error).__name__]
            raise XlbenchError(f"{name} cannot be read: {cause[0]}", remedy) from error
    try:
        _drop_other_languages(task, ref)
        return [_columns(task, ref, subset) for subset in ref.subsets]
    except KeyError as error:
        raise XlbenchError(f"{name} has no {error}: it is not what MTEB expects.", remedy) from error


def evaluation_texts(suites: Iterable[Suite], settings: Settings) -> Iterator[str]:
    """Yield every sentence that the suites score, both sides, repetitions included; a shared task is read once.

    Raises:
        XlbenchError: A task cannot be found or read.
    """
    for ref in _tasks(suites):
        yield from task_texts(ref, settings)


def task_texts(ref: TaskRef, settings: Settings) -> Iterator[str]:
    """Yield every sentence of a task, as often as it occurs.

    Raises:
        XlbenchError: The task's data is missing or unreadable.
    """
    for columns in read_data(load_task(ref, settings), ref, settings):
        yield from columns.first
        yield from columns.second


def evaluation_digest(suites: Iterable[Suite], settings: Settings) -> str:
    """Return what identifies the sentences of suites together, without reading them, torch or mteb.

    It covers each task's name, subsets, split and data: the bytes of a local copy (remembered by size and
    time of change), else the hub revision that the task pins, else the version of mteb.

    Raises:
        XlbenchError: A task's module cannot be found.
    """
    tasks: list[Json] = [
        [ref.task, sorted(ref.subsets), ref.split, data_identity(ref, settings)] for ref in _tasks(suites)
    ]
    return fingerprint(sorted(tasks, key=str))


def _tasks(suites: Iterable[Suite]) -> list[TaskRef]:
    return list(dict.fromkeys(ref for suite in suites for ref in suite.tasks))


def _make(ref: TaskRef) -> AbsTask:
    loader = task_loader(ref)
    if loader is None:
        return _from_mteb(ref.task)
    module, _, name = loader.partition(":")
    try:
        task: object = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError) as error:
        raise XlbenchError(
            f"Task '{ref.task}' cannot be loaded from '{loader}': {error}",
            "A loader is 'module:Class', a class made as MTEB's own tasks are.",
        ) from error
    from mteb.abstasks import AbsTask

    if not isinstance(task, AbsTask):
        raise XlbenchError(
            f"The loader '{loader}' of task '{ref.task}' gives no MTEB task but {type(task).__name__}.",
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
    if (local := settings.local("datasets", path)) or path.count("/") != 1 or not settings.offline:
        return local
    import datasets

    # Without a data root the hub's own cache may hold it. It is asked only if the library that reads it knows
    # that it must not go online.
    if settings.data_root is None and datasets.config.HF_HUB_OFFLINE:
        return None
    raise XlbenchError(
        f"The data of task {ref.task} is not at '{_place(path, settings)}', and we are offline.",
        _download(path, settings),
    )


def _place(path: str, settings: Settings) -> str:
    return f"{settings.data_root or 'DATA_ROOT'}/datasets/{path}"


def _download(path: str, settings: Settings) -> str:
    """Return how to lay a hub dataset under the data root."""
    command = f"hf download --repo-type dataset {path} --local-dir {_place(path, settings)}"
    then = "" if settings.data_root else ", then --data-root DATA_ROOT."
    return f"Where there is a network: `{command}`{then}"


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
            first, second = (name if isinstance(name, str) else next(iter(name)) for name in task.column_names)
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
