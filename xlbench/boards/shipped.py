"""The boards that ship with xlbench: read where they lie, and copied before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from xlbench.errors import XlbenchError

PACKAGED = Path(__file__).with_name("published")  # in an installed wheel
CLONE = Path(__file__).parents[2]  # of an editable install, whose boards are the clone's


def shipped_folder() -> Path | None:
    """Return the folder of the boards that ship; None in a clone without boards."""
    if PACKAGED.is_dir():
        return PACKAGED
    folder = CLONE / "leaderboards"
    return folder if (CLONE / "pyproject.toml").is_file() and folder.is_dir() else None


def shipped_paths() -> dict[str, Path]:
    """Return the TOML files of the boards that ship, by the boards' names."""
    folder = shipped_folder()
    return {path.stem: path for path in sorted(folder.glob("*.toml"))} if folder else {}


def is_installed(path: Path) -> bool:
    """Return whether a board lies in the installed package, however its path is written."""
    return path.resolve().parent == PACKAGED.resolve()


def copy_board(path: Path, folder: Path) -> Path:
    """Copy a board with its records, statistics and predictions, whole or not at all.

    Args:
        path: Its TOML file.
        folder: Where the copy goes; made if it is not there.

    Returns:
        The TOML file of the copy.

    Raises:
        XlbenchError: Something of that name is there already, or the folder cannot be written to.
    """
    target = folder / path.name
    for there in (target, target.with_suffix("")):
        if there.exists():
            raise XlbenchError(
                f"Board '{path.stem}' ships with xlbench and is not copied over '{there}', which is there already.",
                "Move that away, or work in another directory.",
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.stem}-", dir=folder) as name:
            temporary = Path(name)
            _copy(path, temporary / path.name)
            below = path.with_suffix("")
            for file in sorted(it for it in below.rglob("*") if it.is_file()):
                _copy(file, temporary / path.stem / file.relative_to(below))
            # The TOML file comes last: it is what makes a board.
            if below.is_dir():
                (temporary / path.stem).rename(target.with_suffix(""))
            (temporary / path.name).rename(target)
    except OSError as error:
        raise XlbenchError(
            f"Board '{path.stem}' cannot be copied into '{folder}': {error}",
            "Work in a directory that can be written to.",
        ) from error
    return target


def _copy(source: Path, target: Path) -> None:
    # Without the permissions: an installed file may be read-only, the copy is to be changed.
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
