"""The tasks of a suite: MTEB's own classes, restricted to the suite's subsets, and their sentences."""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError, first_line, look_up, nearest
from xlbench.fingerprint import Json, fingerprint
from xlbench.progress import progress
from xlbench.scoring.data import (
    copy_digest,
    data_identity,
    download_remedy,
    expected_path,
    mteb_version,
    task_loader,
)
from xlbench.scoring.languages import by_language, checked_languages, refuse_second_files
from xlbench.scoring.malformed import MalformedDataError, find_malformed, part_of, read_golds, read_texts
from xlbench.scoring.quiet import cache_if_unreachable, kept_random_state, prepared_afresh, quiet_datasets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from datasets import Dataset
    from mteb.abstasks import AbsTask

    from xlbench.experiment import Suite, TaskRef
    from xlbench.settings import Settings

MONOLINGUAL = "default"  # MTEB's name for the only subset of a task without subsets


@dataclass(frozen=True)
class Columns:
    """The sentence pairs of one subset, n of them.

    Attributes:
        subset: MTEB's name of the subset.
        first: The first sentence of each pair.
        second: The second sentence of each pair, or, where a bitext task has candidates that translate nothing, all of
            them.
        gold: STS: the similarity by human judgement. Bitext: the index of the translation in ``second``.
    """

    subset: str
    first: Sequence[str]
    second: Sequence[str]
    gold: Sequence[float]


def load_task(ref: TaskRef, settings: Settings) -> AbsTask:
    """Return MTEB's task, restricted to the subsets and the split of ``ref``, without reading its data.

    The data will be read from ``<data root>/datasets/<org>/<name>`` if that is a directory, else from the hub.

    Raises:
        XlbenchError: There is no such task, subset or split; or the data is on the hub and xlbench is offline.
    """
    with kept_random_state():
        task = _create_task(ref)
    _check_family(task, ref)
    for subset in ref.subsets:
        look_up(f"subset of {ref.task}", subset, dict.fromkeys(task.metadata.hf_subsets))
    look_up(f"split of {ref.task}", ref.split, dict.fromkeys(task.metadata.eval_splits))
    task.hf_subsets = list(ref.subsets)
    task.filter_eval_splits([ref.split])
    local = _local_data(ref, task.metadata.dataset["path"], settings)
    if local is not None:
        # Copied, since `metadata` belongs to the class and this path to this task only.
        task.metadata = task.metadata.model_copy(update={"dataset": {**task.metadata.dataset, "path": str(local)}})
    return task


def read_data(task: AbsTask, ref: TaskRef, settings: Settings) -> list[Columns]:
    """Load the data of a task and return its sentences, subset by subset in the order of ``ref``.

    Args:
        task: As :func:`load_task` returns it for ``ref`` and ``settings``.
        ref: Which task and subsets.
        settings: Errors name its data root.

    Raises:
        XlbenchError: The data cannot be read; it lacks a subset, the split or a column; a subset is empty; or a row
            has a side that is not text or a gold that is no number. The message names task, subset and row.
    """
    name = f"The data of task {ref.task} ({task.metadata.dataset['path']})"
    remedy = download_remedy(type(task).metadata.dataset["path"], settings)
    reading = progress(f"reading the data of {ref.task}", None, quiet=settings.quiet)
    path = task.metadata.dataset["path"]
    local = settings.local("datasets", type(task).metadata.dataset["path"])
    with ExitStack() as stack:
        for context in (quiet_datasets(), kept_random_state(), reading):
            stack.enter_context(context)
        if local is not None:
            stack.enter_context(prepared_afresh(f"{local} {copy_digest(local, settings.home)}"))
        elif path.count("/") == 1 and not Path(path).is_dir():
            stack.enter_context(cache_if_unreachable())
        if by_language(task):
            stack.enter_context(checked_languages(task, ref, quiet=settings.quiet))
        try:
            if by_language(task) and local is not None:
                refuse_second_files(local, task, ref)
            task.load_data()
        except MalformedDataError as error:
            raise XlbenchError(f"{name}: {error}", remedy) from error
        except Exception as error:
            # A task's own code reads files or asks a hub, and may raise anything.
            place = _place(local, task, ref) or _cause(error)
            raise XlbenchError(f"{name} cannot be read: {place}", remedy) from error
    _drop_other_languages(task, ref)
    found: list[Columns] = []
    texts: dict[str, list[str]] = {}
    malformed: list[tuple[str, MalformedDataError]] = []
    for subset in ref.subsets:
        try:
            found.append(_read_columns(task, ref, subset, texts))
        except MalformedDataError as error:
            malformed.append((subset, error))
        except UnicodeDecodeError as error:  # bytes are taken as they are until they are read
            place = _place(local, task, ref) or f"subset {subset}: {error}"
            raise XlbenchError(f"{name} cannot be read: {place}", remedy) from error
    if malformed:
        subset, first = min(malformed, key=lambda it: it[1].follows)
        raise XlbenchError(f"{name}, subset {subset}: {first}", remedy) from first
    return found


def _place(local: Path | None, task: AbsTask, ref: TaskRef) -> str | None:
    """Return where the data of a local copy is malformed; None where nothing is found, or there is no copy."""
    if local is None:
        return None
    loaded = dict.fromkeys([*ref.subsets, *(task.metadata.hf_subsets if by_language(task) else ())])
    return find_malformed(local, list(loaded), _columns(task, ref, ""), by_language=by_language(task))


def _cause(error: BaseException) -> str:
    """Return the first line of an error, and of the one that it came from: libraries may say nothing in the last."""
    lines = [first_line(error)]
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return ": ".join(dict.fromkeys([*lines, first_line(error)]))


def evaluation_texts(suites: Iterable[Suite], settings: Settings) -> Iterator[str]:
    """Yield every sentence of the suites, both sides, repetitions included; a task in several suites is read once.

    Raises:
        XlbenchError: A task cannot be found or read.
    """
    for ref in _distinct_tasks(suites):
        yield from task_texts(ref, settings)


def task_texts(ref: TaskRef, settings: Settings) -> Iterator[str]:
    """Yield every sentence of a task, both sides, repetitions included.

    Raises:
        XlbenchError: The task's data is missing or unreadable.
    """
    for columns in read_data(load_task(ref, settings), ref, settings):
        yield from columns.first
        yield from columns.second


def evaluation_digest(suites: Iterable[Suite], settings: Settings) -> str:
    """Return what identifies the sentences of several suites, without reading them or importing torch or mteb.

    It covers the name, subsets, split and data of each task; see :func:`xlbench.scoring.data.data_identity`.

    Raises:
        XlbenchError: A task's module cannot be found.
    """
    tasks: list[Json] = [
        [ref.task, sorted(ref.subsets), ref.split, data_identity(ref, settings)] for ref in _distinct_tasks(suites)
    ]
    return fingerprint(sorted(tasks, key=str))


def _distinct_tasks(suites: Iterable[Suite]) -> list[TaskRef]:
    return list(dict.fromkeys(ref for suite in suites for ref in suite.tasks))


def _create_task(ref: TaskRef) -> AbsTask:
    loader = task_loader(ref)
    if loader is None:
        return _get_from_mteb(ref.task)
    module, _, name = loader.partition(":")
    try:
        task: object = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError) as error:
        raise XlbenchError(
            f"Task '{ref.task}' cannot be loaded from '{loader}': {error}",
            "A loader is 'module:Class', of a task class as MTEB's own are.",
        ) from error
    from mteb.abstasks import AbsTask

    if not isinstance(task, AbsTask):
        raise XlbenchError(
            f"The loader '{loader}' of task '{ref.task}' does not give an MTEB task but {type(task).__name__}.",
            "Derive it from mteb.abstasks.AbsTaskSTS or AbsTaskBitextMining.",
        )
    return task


def _get_from_mteb(name: str) -> AbsTask:
    import mteb

    try:
        return mteb.get_task(name)
    except KeyError:
        names = {task.metadata.name for task in mteb.get_tasks(task_types=["STS", "BitextMining"])}
        raise XlbenchError(f"MTEB {mteb_version()} has no task '{name}'.", nearest(name, names)) from None


def _check_family(task: AbsTask, ref: TaskRef) -> None:
    from mteb.abstasks import AbsTaskBitextMining, AbsTaskSTS

    kind = AbsTaskSTS if ref.measure == "sts" else AbsTaskBitextMining
    if not isinstance(task, kind):
        raise XlbenchError(
            f"Task {ref.task} is of MTEB's type {task.metadata.type}, not of the family '{ref.family}'.",
            "The families are 'sts' (MTEB's STS) and 'bitext' (BitextMining).",
        )


def _local_data(ref: TaskRef, path: str, settings: Settings) -> Path | None:
    """Return the local copy of a hub dataset; None if the hub is to be asked or the task brings its own data."""
    if (local := settings.local("datasets", path)) or path.count("/") != 1 or not settings.offline:
        return local
    import datasets

    # Without a data root the data may be in the cache of the datasets library. It may be used only if that library
    # is in offline mode.
    if settings.data_root is None and datasets.config.HF_HUB_OFFLINE:
        return None
    raise XlbenchError(
        f"The data of task {ref.task} is not at '{expected_path(path, settings)}', and xlbench is offline.",
        download_remedy(path, settings),
    )


def _columns(task: AbsTask, ref: TaskRef, subset: str) -> tuple[str, ...]:
    """Return the columns of a subset: both sides, and for STS the gold."""
    from mteb.abstasks import AbsTaskBitextMining, AbsTaskSTS

    if isinstance(task, AbsTaskBitextMining) and task.parallel_subsets:
        return tuple(subset.split("-")) if subset else ()
    if not isinstance(task, AbsTaskSTS):
        return "sentence1", "sentence2"
    first, second = (name if isinstance(name, str) else next(iter(name)) for name in task.column_names)
    return first, second, "score"


def _read_columns(task: AbsTask, ref: TaskRef, subset: str, read: dict[str, list[str]]) -> Columns:
    """Read a subset.

    Args:
        task: Has its data loaded.
        ref: Which split.
        subset: Which subset.
        read: The columns that are read already, where subsets share them: there may be tens of thousands of subsets.
    """
    from mteb.abstasks import AbsTaskBitextMining

    data = task.dataset
    if data is None:
        raise MalformedDataError("its task loads nothing.")
    parallel = isinstance(task, AbsTaskBitextMining) and task.parallel_subsets
    if not parallel and (subset != MONOLINGUAL or subset in data):
        data = part_of(data, subset, "subset")
    rows = part_of(data, ref.split, "split")
    first, second, *golds = _columns(task, ref, subset)
    there = rows.keys() if isinstance(rows, dict) else rows.features
    for name in (first, second, *golds):
        if name not in there:
            raise MalformedDataError(
                f"split {ref.split}: no column '{name}', which MTEB expects; there are {', '.join(there)}."
            )
    if len(rows[first]) == 0:
        raise MalformedDataError(f"split {ref.split}: no rows.")
    if not parallel:
        read = {}
    for name in (first, second):
        if name not in read:
            read[name] = read_texts(_values(rows, name), name)
    if golds:
        return Columns(subset, read[first], read[second], read_golds(_values(rows, golds[0])))
    # Version 1 of BUCC is a mapping with a column of its own for the places of translations.
    placed = [place for _, place in rows["gold"]] if isinstance(rows, dict) else range(len(read[first]))
    return Columns(subset, read[first], read[second], placed)


def _values(rows: Dataset | dict[str, list[object]], name: str) -> list[object]:
    """Return the values of a column at once: a dataset's own column is read row by row, ten times as slowly."""
    values: list[object] = rows[name] if isinstance(rows, dict) else rows.select_columns([name])[:][name]
    return values


def with_lists(task: AbsTask, ref: TaskRef, subsets: Sequence[Columns]) -> None:
    """Give a bitext task its sentences as lists, which MTEB takes as well as datasets, and reads much faster.

    Args:
        task: As :func:`read_data` left it.
        ref: Which split.
        subsets: What that returned.
    """
    from mteb.abstasks import AbsTaskBitextMining

    kind = type(task)
    if (
        not isinstance(task, AbsTaskBitextMining)
        or kind.evaluate is not AbsTaskBitextMining.evaluate
        or kind._evaluate_subset is not AbsTaskBitextMining._evaluate_subset
    ):
        return  # of another type, or a task that somebody wrote and that may rely on datasets
    shared: dict[str, dict[str, object]] = {}  # where subsets share columns: by split
    apart: dict[str, dict[str, dict[str, object]]] = {}  # where each has its own: by subset and split
    for it in subsets:
        names = it.subset.split("-") if task.parallel_subsets else ("sentence1", "sentence2")
        place = shared if task.parallel_subsets else apart.setdefault(it.subset, {})
        columns = place.setdefault(ref.split, {})
        columns.update(zip(names, (it.first, it.second), strict=True))
        columns["gold"] = list(enumerate(it.gold))
    task.dataset = shared if task.parallel_subsets else apart


def _drop_other_languages(task: AbsTask, ref: TaskRef) -> None:
    """Of a dataset with a column per language keep those that are needed, since MTEB reads whole rows."""
    from mteb.abstasks import AbsTaskBitextMining

    if isinstance(task, AbsTaskBitextMining) and task.parallel_subsets and task.dataset is not None:
        languages = dict.fromkeys(name for subset in ref.subsets for name in subset.split("-"))
        rows = task.dataset.get(ref.split)
        if rows is None:
            return  # named when the subset is read
        task.dataset = {ref.split: rows.select_columns([name for name in languages if name in rows.features])}
