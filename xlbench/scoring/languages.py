"""Datasets whose rows say in a column ``lang`` to which subset they belong: rows that no subset, or two files, have."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING
from unittest.mock import patch

from xlbench.progress import note_once
from xlbench.scoring.malformed import LANGUAGE, MalformedDataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from datasets import DatasetDict
    from mteb.abstasks import AbsTask

    from xlbench.experiment import TaskRef

SHOWN = 3  # names of a list that a message gives


def by_language(task: AbsTask) -> bool:
    """Return whether MTEB loads all subsets of a task at once and tells them apart by the column."""
    return task.metadata.is_multilingual and task.fast_loading


@contextmanager
def checked_languages(task: AbsTask, ref: TaskRef, *, quiet: bool) -> Iterator[None]:
    """Check what MTEB loads of a task whose subsets are told apart by a column, before it drops rows without a word.

    Raises (through the call of ``task.load_data``):
        MalformedDataError: The column is missing, or a row has nothing in it.
    """
    from datasets import load_dataset

    @wraps(load_dataset)
    def checked(*names: object, **options: object) -> DatasetDict:
        found: DatasetDict = load_dataset(*names, **options)
        if ref.split in found:
            _check(found, task, ref, quiet=quiet)
        return found

    with patch("mteb.abstasks.abstask.load_dataset", checked):
        yield


def _check(found: DatasetDict, task: AbsTask, ref: TaskRef, *, quiet: bool) -> None:
    rows = found[ref.split]
    if LANGUAGE not in rows.features:
        raise MalformedDataError(
            f"split {ref.split}: no column '{LANGUAGE}', which MTEB expects; there are {', '.join(rows.features)}."
        )
    values: list[object] = rows.select_columns([LANGUAGE])[:][LANGUAGE]
    for row, value in enumerate(values, start=1):
        if not isinstance(value, str):
            raise MalformedDataError(f"split {ref.split}, row {row}: '{LANGUAGE}' is {value!r} and names no subset.")
    others = Counter(str(value) for value in values if value not in set(task.metadata.hf_subsets))
    if others:
        named = ", ".join(f"'{name}'" for name in list(others)[:SHOWN]) + (", ..." if len(others) > SHOWN else "")
        note_once(  # the data of a task is read for each encoder
            f"{others.total()} of {len(values)} rows of split {ref.split} of task {ref.task} belong to none of its"
            f" subsets and are not scored: their '{LANGUAGE}' is {named}.",
            quiet=quiet,
        )


def refuse_second_files(local: Path, task: AbsTask, ref: TaskRef) -> None:
    """Refuse a file beside those of the subsets whose rows belong to one of them: they would be scored twice.

    Raises:
        MalformedDataError: There is one, as an older version that was kept.
    """
    subsets = set(task.metadata.hf_subsets)
    for file in sorted((local / ref.split).glob("*.jsonl*")):
        if file.name.partition(".")[0] in subsets:
            continue
        language = _first_language(file)
        own = sorted(file.parent.glob(f"{language}.jsonl*")) if language in subsets else []
        if own:
            raise MalformedDataError(
                f"'{file}' has rows of subset {language}, which '{own[0].name}' beside it has as well: they would count"
                " twice."
            )


def _first_language(file: Path) -> str | None:
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            row = json.loads(next(iter(lines), ""))
    except (OSError, EOFError, ValueError):
        return None  # loading it says why
    value = row.get(LANGUAGE) if isinstance(row, dict) else None
    return value if isinstance(value, str) and "/" not in value else None
