"""The folder of a board: its records, the statistics of their items, and its failed runs.

``NAME/records/*.json``, ``NAME/statistics.json`` and, where there is one, ``NAME/failures.json``. Items hold the
gold scores of test sets and stay in the store; only predictions are kept beside the records
(:mod:`xlbench.records.predictions`). Pages are rendered from this folder and the TOML file alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from difflib import unified_diff
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from xlbench.boards.mteb_rows import mteb_rows
from xlbench.comparison.statistics import Statistics
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen, Json, fingerprint
from xlbench.records.published import published_row
from xlbench.records.record import Failure, Record, read_record
from xlbench.records.rows import check_comparable, rows_of
from xlbench.report.figures import figures
from xlbench.report.page import BoardText, render
from xlbench.report.plot_svg import without_drawings
from xlbench.store import write_atomically
from xlbench.validation import invalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from xlbench.boards.board import BoardFile
    from xlbench.records.published import PublishedRow
    from xlbench.records.rows import Row
    from xlbench.report.figures import Figures


RECORDS = "records"
STATISTICS = "statistics.json"
FAILURES = "failures.json"
LONGEST = 60  # characters of a record's file name

_failures = TypeAdapter(tuple[Failure, ...])


class SavedStatistics(Frozen):
    """``statistics.json``: statistics and what they were computed for."""

    board: str  # fingerprint of what the TOML file declares
    records: str  # fingerprint of the records
    statistics: Statistics


@dataclass(frozen=True)
class Folder:
    """The results of a board, as read from its folder.

    Attributes:
        records: In the order of their files' names.
        rows: The records, those that differ in nothing but the seed taken together.
        statistics: Of the rows.
        failures: Runs that the board asks for and that left no record.
        stale: Why the statistics are not those of these records or this board; None when they are.
    """

    records: tuple[Record, ...]
    rows: tuple[Row, ...]
    statistics: Statistics
    failures: tuple[Failure, ...]
    stale: str | None


def folder_path(board: BoardFile) -> Path:
    """Return the directory that belongs to a board."""
    return board.path.with_suffix("")


def was_run(board: BoardFile) -> bool:
    """Return whether a board has been run, whatever has changed since."""
    return folder_path(board).joinpath(STATISTICS).is_file()


def named_records(records: Sequence[Record]) -> dict[str, Record]:
    """Return records by the names of their files, in the order of these.

    Raises:
        XlbenchError: The records do not belong into one table.
    """
    check_comparable(rows_of(records))
    named: dict[str, Record] = {}
    for record in records:
        stem = re.sub(r"[^a-z0-9]+", "-", record.name.lower())[:LONGEST].strip("-") or "row"
        if record.experiment is not None:
            stem += f"-seed{record.experiment.seed}"
        name, number = f"{stem}.json", 1
        while name in named:
            number += 1
            name = f"{stem}-{number}.json"
        named[name] = record
    return dict(sorted(named.items()))


def write_folder(
    board: BoardFile, records: Sequence[Record], statistics: Statistics, failures: Sequence[Failure]
) -> None:
    """Write what a board rests on; what was there before goes.

    Args:
        board: The board.
        records: Its records.
        statistics: Of the rows of :func:`named_records`.
        failures: Runs that left no record.

    Raises:
        XlbenchError: The records do not belong into one table, or the disk is full or read-only.
    """
    path = folder_path(board)
    named = named_records(records)
    # Statistics are deleted first and written last, so that an interrupted write is noticed.
    (path / STATISTICS).unlink(missing_ok=True)
    (path / FAILURES).unlink(missing_ok=True)
    for old in set(path.joinpath(RECORDS).glob("*.json")) - {path / RECORDS / name for name in named}:
        old.unlink()
    for name, record in named.items():
        write_atomically(path / RECORDS / name, record.model_dump_json(indent=1, by_alias=True) + "\n")
    if failures:
        write_atomically(path / FAILURES, _failures.dump_json(tuple(failures), indent=1).decode() + "\n")
    stored = SavedStatistics(board=board.board.digest(), records=_digest(path / RECORDS), statistics=statistics)
    write_atomically(path / STATISTICS, stored.model_dump_json(indent=1) + "\n")


def record_paths(board: BoardFile) -> list[Path]:
    """Return where the records of a board are; nothing where it was not run."""
    return sorted(folder_path(board).joinpath(RECORDS).glob("*.json"))


def read_folder(board: BoardFile) -> Folder:
    """Read what a board rests on.

    Raises:
        XlbenchError: The board has not been run, a file cannot be read, or the records do not belong into one table.
    """
    path = folder_path(board)
    remedy = f"Run `xlbench leaderboard run {board.given}`."
    records = tuple(read_record(file) for file in record_paths(board))
    if not records or not (path / STATISTICS).is_file():
        missing = "records" if not records else "statistics"
        raise XlbenchError(f"Board '{board.name}' has no {missing} in '{path}'.", remedy)
    rows = rows_of(records)
    check_comparable(rows)
    stale = None
    try:
        stored = SavedStatistics.model_validate_json((path / STATISTICS).read_text("utf-8"))
        failures: tuple[Failure, ...] = ()
        if (path / FAILURES).is_file():
            failures = _failures.validate_json((path / FAILURES).read_text("utf-8"))
    except (OSError, ValueError) as error:
        problem = f"The statistics or failures in '{path}' cannot be read: {invalid(error)}"
        raise XlbenchError(problem, remedy) from error
    if stored.board != board.board.digest():
        stale = f"'{board.path}' asks for other rows than '{path}' holds"
    elif stored.records != _digest(path / RECORDS):
        stale = f"the records in '{path}' are not those that its statistics were computed for"
    if {row.name for row in rows} != set(stored.statistics.rows):
        raise XlbenchError(f"The statistics in '{path}' are of other rows than its records.", remedy)
    return Folder(records, rows, stored.statistics, failures, stale)


def _digest(path: Path) -> str:
    """Return the fingerprint of the record files: of what they say, however a line ends."""
    facts: Json = {file.name: json.loads(file.read_text("utf-8")) for file in sorted(path.glob("*.json"))}
    return fingerprint(facts)


MOST_LINES = 40  # of a page's difference
LONGEST = 160  # characters of a line of it


def write_pages(board: BoardFile, only: str = "") -> list[Path]:
    """Write a board's pages beside its TOML file and return their paths.

    Args:
        board: The board.
        only: The ending of the one page to write; empty for all.

    Raises:
        XlbenchError: The board has not been run as it is, or a page cannot be written.
    """
    paths = []
    for name, text in page_texts(board, _current(board)).items():
        if name.endswith(only):
            paths.append(board.path.with_name(name))
            write_atomically(paths[-1], text)
    return paths


def read_board_figures(board: BoardFile) -> tuple[Figures, BoardText]:
    """Read the figures of a board, and its texts.

    Raises:
        XlbenchError: The board has not been run as it is.
    """
    folder = _current(board)
    return figures(folder.rows, folder.statistics, published_rows(board, folder), folder.failures), _text(board)


def _current(board: BoardFile) -> Folder:
    folder = read_folder(board)
    if folder.stale:
        raise XlbenchError(f"{_sentence(folder.stale)}.", f"Run `xlbench leaderboard run {board.given}`.")
    return folder


def differences(board: BoardFile) -> list[str]:
    """Return how the pages that are there differ from what the board's folder gives, as lines of a unified diff.

    Of a plot its data counts and not how it is drawn, which is for the plotting library's version to decide.

    Raises:
        XlbenchError: The board has not been run, or its folder cannot be read.
    """
    folder = read_folder(board)
    lines = [f"{_sentence(folder.stale)}."] if folder.stale else []
    for name, text in page_texts(board, folder).items():
        path = board.path.with_name(name)
        there = without_drawings(path.read_text("utf-8")) if path.is_file() else ""
        expected = without_drawings(text)
        if there != expected:
            lines += _diff(str(path), there, expected)
    return lines


def page_texts(board: BoardFile, folder: Folder) -> dict[str, str]:
    """Return the files that show a board, by name: ``NAME.md``, ``NAME.html`` and pictures."""
    return render(_text(board), folder.rows, folder.statistics, published_rows(board, folder), folder.failures)


def published_rows(board: BoardFile, folder: Folder) -> tuple[PublishedRow, ...]:
    """Return the rows by others that a board shows beside its own."""
    tasks = folder.records[0].scores.tasks
    return (*(published_row(entry.model, tasks) for entry in board.board.published), *mteb_rows(board, tasks))


def _text(board: BoardFile) -> BoardText:
    declared = board.board
    return BoardText(name=board.name, title=declared.title, text=declared.text, findings=declared.finding)


def _diff(path: str, there: str, given: str) -> list[str]:
    lines = list(unified_diff(_lines(there), _lines(given), path, f"{path}, rendered", lineterm="", n=1))
    cut = [line if len(line) <= LONGEST else f"{line[:LONGEST]}…" for line in lines[:MOST_LINES]]
    more = len(lines) - len(cut)
    return [*cut, f"... {more} more lines"] if more else cut


def _lines(text: str) -> list[str]:
    """Return lines, long ones broken after brackets, so that a difference is not lost in one."""
    return [
        part
        for line in text.splitlines()
        for part in ([line] if len(line) <= LONGEST else re.split(r"(?<=[>}\]])", line))
    ]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
