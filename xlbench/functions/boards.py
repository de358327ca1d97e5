"""What ``import xlbench`` does with boards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Unpack

from xlbench.arguments import Where, place, refuse_unknown
from xlbench.disk import answered
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen
from xlbench.settings import path_of
from xlbench.validation import validated

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.boards.bundle import Bundle
    from xlbench.boards.leaderboard import Leaderboard

    Say = Callable[[str], None]


class _Heard(Frozen):
    say: Callable[[str], None]


def leaderboard(name: str | Path, **where: Unpack[Where]) -> Leaderboard:
    """Open a board: its rows as frames, its table and pages; ``.run()`` adds missing rows.

    Args:
        name: Of a board under ./leaderboards or one that ships with xlbench, or the path of a TOML file.
        where: As :class:`Where` says.

    Raises:
        XlbenchError: There is no such board, or it is not valid.
    """
    from xlbench.boards.board import find_board
    from xlbench.boards.leaderboard import Leaderboard

    refuse_unknown(leaderboard, where)
    with answered():
        board = find_board(name)
        settings, registry = place(where)
        return Leaderboard(board, registry, settings)


def bundle(
    board: str | Path | None = None,
    directory: str | Path | None = None,
    *,
    check: str | Path | None = None,
    say: Say = lambda _: None,
    **where: Unpack[Where],
) -> Bundle:
    """Put everything that a board needs into a directory, the data root of a machine that reaches no hub.

    Encoders, datasets and corpora are taken from where a run of the board here would read them. A call that was
    interrupted, or that lacked something, is completed by the same call.

    Args:
        board: Name of a board, or the path of its TOML file.
        directory: New, empty, or a bundle of the same board.
        check: A bundle; every file of it is compared with its digest, and nothing is written.
        say: Told how much disk is needed, what is fetched, and what must be brought by other means.
        where: As :class:`Where` says.

    Raises:
        XlbenchError: The board is not valid, the directory holds something else, or something cannot be had; all that
            cannot be is named. With ``check``: a file is missing, differs or does not belong to the bundle.
    """
    from xlbench.boards.board import find_board
    from xlbench.boards.bundle import check_bundle, make_bundle

    refuse_unknown(bundle, where)
    heard = validated(_Heard, {"say": say}, "argument").say
    with answered():
        settings, registry = place(where)
        if check is not None:
            if board is not None or directory is not None:
                problem = "--check takes a bundle, and nothing else is named beside it."
                raise XlbenchError(problem, "Leave the rest out.")
            return check_bundle(path_of(check, "check"), quiet=settings.quiet)
        if board is None or directory is None:
            raise XlbenchError("A bundle is made of a board, in a directory.", "Write: xlbench bundle BOARD DIRECTORY.")
        return make_bundle(find_board(board), path_of(directory, "directory"), registry, settings, heard)
