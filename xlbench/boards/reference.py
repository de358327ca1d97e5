"""A row of a board by its name, ``headline:multilingual-e5-small``: what one's own runs are compared with."""

from __future__ import annotations

from pathlib import Path

from xlbench.boards.board import board_names, find_board
from xlbench.boards.folder import record_paths
from xlbench.errors import XlbenchError, nearest
from xlbench.records.record import read_record


def run_reference(reference: str) -> str:
    """Return what names a run in the store.

    Args:
        reference: ``BOARD:ROW``, where the row is named as the board's table does or, of several seeds, as the file
            of its record; anything else is returned as it is.

    Returns:
        The path of the row's record, or the reference.

    Raises:
        XlbenchError: The board has no such row, or several of that name.
    """
    name, colon, row = reference.partition(":")
    if not colon or Path(reference).exists() or name not in board_names():
        return reference
    records = {path: read_record(path).name for path in record_paths(find_board(name))}
    found = [path for path, called in records.items() if row in {called, path.stem}]
    if not found:
        known = {*records.values(), *(path.stem for path in records)}
        raise XlbenchError(f"Board '{name}' has no row '{row}'.", nearest(row, known))
    if len(found) > 1:
        raise XlbenchError(
            f"Board '{name}' has {len(found)} records of '{row}', one for each seed.",
            f"Name one: {', '.join(f'{name}:{path.stem}' for path in found)}.",
        )
    return str(found[0])
