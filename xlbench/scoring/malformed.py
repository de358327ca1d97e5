"""What is wrong with the data of a task: which subset, which row."""

from __future__ import annotations

import gzip
import json
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from datasets import Dataset


LANGUAGE = "lang"  # MTEB's name of the column that says to which subset a row belongs
LARGEST = (2 - 2**-23) * 2.0**127  # of float32, in which golds are kept


class MalformedDataError(Exception):
    """What is wrong with the data of a subset, and in which row.

    Attributes:
        follows: Whether it may follow from another error, which then is the one to report: one text among the golds of
            a file makes text of all of them.
    """

    def __init__(self, problem: str, *, follows: bool = False) -> None:
        super().__init__(problem)
        self.follows = follows


def part_of(data: Mapping[str, Dataset], name: str, kind: str) -> Dataset:
    """Return one subset or split of a task's data, which MTEB keeps as mappings of either.

    Raises:
        MalformedDataError: It is not there.
    """
    if name not in data:
        raise MalformedDataError(f"there is no {kind} '{name}', which MTEB expects; there are {', '.join(data)}.")
    return data[name]


def read_texts(column: Iterable[object], name: str) -> list[str]:
    """Return the sentences of a column.

    Raises:
        MalformedDataError: One of them is not text.
    """
    found: list[str] = []
    for row, text in enumerate(column, start=1):
        if not isinstance(text, str):
            raise MalformedDataError(f"row {row}: '{name}' is {text!r} and not text.")
        found.append(text)
    return found


def read_golds(column: Iterable[object]) -> list[float]:
    """Return golds; one that is not a number (NaN) stays, and makes the score of its subset undefined.

    Raises:
        MalformedDataError: One of them is missing, infinite (in float32 too) or of another type.
    """
    golds = list(column)
    wrong = [(row, gold) for row, gold in enumerate(golds, start=1) if not _is_number(gold)]
    for row, gold in sorted(wrong, key=lambda it: _reads_as_number(it[1])):
        if isinstance(gold, float) and LARGEST < abs(gold) < inf:
            raise MalformedDataError(f"row {row}: 'score' is {gold!r}, which float32 cannot hold.")
        raise MalformedDataError(f"row {row}: 'score' is {gold!r} and not a number.", follows=_reads_as_number(gold))
    return [float(gold) for gold in golds if isinstance(gold, int | float)]


def _is_number(gold: object) -> bool:
    return isinstance(gold, int | float) and not isinstance(gold, bool) and not (abs(gold) > LARGEST)


def _reads_as_number(gold: object) -> bool:
    try:
        float(gold)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return isinstance(gold, str)


def find_malformed(
    local: Path, subsets: Sequence[str], columns: Sequence[str], *, by_language: bool = False
) -> str | None:
    """Return which row of a local copy is the reason that its data cannot be loaded.

    Only files of JSON lines, one for each subset, are looked into; None where nothing is found.

    Args:
        local: The directory of the data.
        subsets: Their names are those of files, without endings.
        columns: The columns that MTEB reads; the last of three holds golds.
        by_language: Whether each row says in a column ``lang`` to which subset it belongs.
    """
    for subset in subsets:
        for file in sorted(local.rglob(f"{subset}.jsonl*")):
            try:
                _check_lines(file, columns, by_language=by_language)
            except MalformedDataError as error:
                return f"subset {subset}, '{file}', {error}"
    return None


def _check_lines(file: Path, columns: Sequence[str], *, by_language: bool) -> None:
    lines = []
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as stream:
            for line in stream:
                lines.append(json.loads(line))
    except (OSError, EOFError, ValueError) as error:
        raise MalformedDataError(f"row {len(lines) + 1}: {error}") from error
    for row, values in enumerate(lines, start=1):
        for name in (*columns, *([LANGUAGE] if by_language else [])):
            if not isinstance(values, dict) or name not in values:
                there = ", ".join(values) if isinstance(values, dict) else repr(values)
                raise MalformedDataError(f"row {row}: no column '{name}', which MTEB expects; there are {there}.")
    for number, name in enumerate(columns):
        values = [line[name] for line in lines]
        if number < 2:
            read_texts(values, name)
        else:
            read_golds(values)
