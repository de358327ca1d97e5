"""The ``[[mteb]]`` rows of a board: MTEB's results where they lie, else the scores that ship with xlbench.

What was read is kept in ``NAME/mteb.json``: pages rest on it, and are the same on a machine without these results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen
from xlbench.records.mteb_results import check_results, default_cache, results_row, revisions_of
from xlbench.records.published import PublishedRow, check_published, published_row
from xlbench.settings import path_of
from xlbench.store import write_atomically
from xlbench.validation import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from xlbench.boards.board import BoardFile, MtebEntry
    from xlbench.scoring.scores import TaskScores

MTEB = "mteb.json"


class SavedRow(Frozen):
    """A row that was read, and the entry that it was read for."""

    entry: dict[str, str | None]
    row: PublishedRow


_saved = TypeAdapter(tuple[SavedRow, ...])


def mteb_rows(board: BoardFile, tasks: Mapping[str, TaskScores]) -> tuple[PublishedRow, ...]:
    """Return the rows as they were when the board was run; one that was added since is read now.

    Args:
        board: The board.
        tasks: The tasks of its records.

    Raises:
        XlbenchError: There are no results of a model on these tasks, or the file cannot be read.
    """
    saved = {tuple(it.entry.items()): it.row for it in _read(board)}
    return tuple(
        saved.get(tuple(entry.model_dump().items())) or _row(board, entry, tasks) for entry in board.board.mteb
    )


def write_mteb_rows(board: BoardFile, tasks: Mapping[str, TaskScores]) -> None:
    """Read the rows anew and keep them in the board's folder.

    Raises:
        XlbenchError: There are no results of a model on these tasks, or the disk is full or read-only.
    """
    path = _path(board)
    if not board.board.mteb:
        path.unlink(missing_ok=True)
        return
    rows = tuple(SavedRow(entry=it.model_dump(), row=_row(board, it, tasks)) for it in board.board.mteb)
    write_atomically(path, _saved.dump_json(rows, indent=1).decode() + "\n")


def check_mteb_rows(board: BoardFile, tasks: Iterable[str]) -> None:
    """Refuse entries for which there is nothing, before any training.

    Raises:
        XlbenchError: There are no results of a model.
    """
    for entry in board.board.mteb:
        if (cache := _cache(board, entry)) is None:
            _check_shipped(entry, tasks)
        else:
            check_results(entry.model, cache, entry.revision)


def _row(board: BoardFile, entry: MtebEntry, tasks: Mapping[str, TaskScores]) -> PublishedRow:
    if (cache := _cache(board, entry)) is None:
        _check_shipped(entry, tasks)
        row = published_row(entry.model, tasks)
    else:
        row = results_row(entry.model, tasks, cache, revision=entry.revision)
    return row.model_copy(update={"name": entry.name or entry.model})


def _cache(board: BoardFile, entry: MtebEntry) -> Path | None:
    """Return the directory that has the results; None where only the scores that ship with xlbench are left.

    Raises:
        XlbenchError: The directory that the entry names is none.
    """
    if entry.results is None:
        cache = default_cache()
        return cache if revisions_of(entry.model, cache) else None
    path = board.path.parent / path_of(entry.results, "results")
    if not path.is_dir():
        raise XlbenchError(
            f"'{board.path}', [[mteb]] of '{entry.model}': '{path}' is not a directory.",
            "Give a results repository or cache of MTEB, relative to the board.",
        )
    return path


def _check_shipped(entry: MtebEntry, tasks: Iterable[str]) -> None:
    if entry.revision is not None:
        raise XlbenchError(
            f"There are no results of '{entry.model}' at revision '{entry.revision}' in '{default_cache()}'.",
            'Name the directory that has them: results = "DIRECTORY".',
        )
    check_published(entry.model, tasks)


def _path(board: BoardFile) -> Path:
    return board.path.with_suffix("") / MTEB


def _read(board: BoardFile) -> tuple[SavedRow, ...]:
    path = _path(board)
    if not path.is_file():
        return ()
    try:
        return _saved.validate_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        problem = f"The rows of MTEB's results in '{path}' cannot be read: {invalid(error)}"
        raise XlbenchError(problem, f"Run `xlbench leaderboard run {board.given}`.") from error
