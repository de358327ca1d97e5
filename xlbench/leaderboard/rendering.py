"""A board's pages: written from its folder alone, and compared with those that are there."""

from __future__ import annotations

import re
from difflib import unified_diff
from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError
from xlbench.leaderboard.folder import read_folder
from xlbench.leaderboard.pages import BoardText, render
from xlbench.leaderboard.plot_svg import without_drawings
from xlbench.leaderboard.published import published_row
from xlbench.store import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.leaderboard.board import BoardFile
    from xlbench.leaderboard.folder import Folder

MOST_LINES = 40  # of a page's difference
LONGEST = 160  # characters of a line of it


def write_pages(board: BoardFile) -> list[Path]:
    """Write a board's pages beside its TOML file and return their paths.

    Raises:
        XlbenchError: The board has not been run as it is, or a page cannot be written.
    """
    folder = read_folder(board)
    if folder.stale:
        raise XlbenchError(f"{_sentence(folder.stale)}.", f"Run `xlbench leaderboard run {board.name}`.")
    paths = []
    for name, text in _pages(board, folder).items():
        paths.append(board.path.with_name(name))
        write_atomically(paths[-1], text)
    return paths


def differences(board: BoardFile) -> list[str]:
    """Return how the pages that are there differ from what the board's folder gives, as lines of a unified diff.

    Of a plot its data counts and not how it is drawn, which is for the plotting library's version to decide.

    Raises:
        XlbenchError: The board has not been run, or its folder cannot be read.
    """
    folder = read_folder(board)
    lines = [f"{_sentence(folder.stale)}."] if folder.stale else []
    for name, text in _pages(board, folder).items():
        path = board.path.with_name(name)
        there = without_drawings(path.read_text("utf-8")) if path.is_file() else ""
        given = without_drawings(text)
        if there != given:
            lines += _diff(str(path), there, given)
    return lines


def _pages(board: BoardFile, folder: Folder) -> dict[str, str]:
    declared = board.board
    tasks = folder.records[0].scores.tasks
    published = tuple(published_row(entry.model, tasks) for entry in declared.published)
    text = BoardText(name=board.name, title=declared.title, text=declared.text, findings=declared.finding)
    return render(text, folder.rows, folder.statistics, published, folder.failures)


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
