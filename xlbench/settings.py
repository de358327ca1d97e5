"""Settings of this machine: where data is and how to run. None of them changes what an experiment means."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from pydantic import Field

from xlbench.disk import answered
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen
from xlbench.launch import leads

HOME_VARIABLE = "XLBENCH_HOME"
DATA_VARIABLE = "XLBENCH_DATA"
STRICT_VARIABLE = "XLBENCH_STRICT"
MOST_THREADS = 4096


class Settings(Frozen):
    """Paths and switches of one call of xlbench."""

    home: Path = Field(description="Directory of the store: artifacts, targets, records.")
    data_root: Path | None = Field(default=None, description="Directory with local copies of hub datasets and models.")
    offline: bool = Field(default=False, description="Never access the hub.")
    device: str | None = Field(default=None, description="torch device; None chooses the fastest one available.")
    compile_training: bool | None = Field(
        default=None, description="Compile training; None decides by device and tools."
    )
    threads: int | None = Field(
        default=None, ge=1, le=MOST_THREADS, description="Threads of torch; None keeps its default."
    )
    quiet: bool = Field(default=False, description="Show no progress.")
    report_to: tuple[str, ...] = Field(default=(), description="Trackers that are told how training goes.")
    speed_rounds: int = Field(
        default=5, ge=0, description="Rounds in which the speed of a record that has none is measured; 0 measures none."
    )

    def local(self, kind: str, name: str) -> Path | None:
        """Return the local copy of a hub dataset or model; None if there is none.

        Args:
            kind: 'datasets' or 'models'.
            name: 'org/name'.

        Returns:
            ``<data root>/<kind>/<org>/<name>`` if that is a directory.
        """
        if self.data_root is None:
            return None
        path = self.data_root / kind / name
        return path if path.is_dir() else None

    def carried(self, path: str) -> Path | None:
        """Return the copy that a bundle holds of a path of the machine where it was made; None if there is none.

        Args:
            path: As an encoder or a corpus is given: absolute or relative.
        """
        copy = self.data_root / carried_name(path) if self.data_root and path else None
        return copy if copy and copy.exists() else None


def carried_name(path: str) -> PurePath:
    """Return where a bundle holds the copy of a path: under ``local/``, without the root or drive that it starts at."""
    parts = PurePath(os.path.normpath(path)).parts[1 if PurePath(path).anchor else 0 :]
    return PurePath("local", *("up" if part == os.pardir else part for part in parts))


def path_of(given: str | os.PathLike[str], name: str) -> Path:
    """Return a path as a user gives it, '~' expanded.

    Args:
        given: A text or a path.
        name: What it is, for errors: 'home'.

    Raises:
        XlbenchError: It is neither text nor a path, is empty, contains a null character, or names no user's directory.
    """
    kind = "Variable" if name.isupper() else "Argument"
    if not isinstance(given, str | os.PathLike) or not isinstance(text := os.fspath(given), str):
        raise XlbenchError(f"{kind} '{name}' cannot be {given!r}: it is no path.", "Give a path as text or as a Path.")
    if not text or "\0" in text:
        fault = "it contains a null character" if text else "it is empty"
        raise XlbenchError(f"{kind} '{name}' cannot be {text!r}: {fault}.", "Give a path.")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise XlbenchError(
            f"{kind} '{name}' cannot be '{text}': there is no such user, or no home directory is known.",
            "Write the path without '~'.",
        ) from None


def new_path(given: str | os.PathLike[str], name: str, *, over: bool = False) -> Path:
    """Return a path that something will be written to, checked before the work whose result it is to hold.

    Args:
        given: A text or a path.
        name: What it is, for errors: 'save'.
        over: A file that is there may be replaced.

    Raises:
        XlbenchError: It is no path, is there already, or is in no directory that can be written to.
    """
    path = path_of(given, name)
    with answered():
        if not over:
            refuse_existing(path)
        elif path.is_dir():
            raise XlbenchError(f"'{path}' is a directory.", "Name a file.")
        elif path.exists() and not path.is_file():  # a device would be replaced by a file
            raise XlbenchError(f"'{path}' is no plain file.", "Name a file.")
        elif path.is_symlink():  # what it leads to is written, as by any program
            path = path.resolve()
        check_writable(path.parent, f"'{path}' cannot be written", "Name another place.")
    return path


def refuse_existing(path: Path) -> None:
    """Refuse a path at which something is, a broken link included.

    Raises:
        XlbenchError: Something is.
    """
    if path.exists() or path.is_symlink():
        special = path.exists() and not path.is_file() and not path.is_dir()  # /dev/null is not to be deleted
        remedy = "Name another place." if special else "Name another directory, or delete this one."
        raise XlbenchError(f"'{path}' is there already.", remedy)


def check_writable(directory: Path, problem: str, remedy: str) -> None:
    """Refuse a directory that can neither be written to nor be made.

    Raises:
        XlbenchError: It is a file or below one, or may not be written to.
    """
    there = next(it for it in (directory.absolute(), *directory.absolute().parents) if it.exists() or it.is_symlink())
    if not there.is_dir():
        raise XlbenchError(f"{problem}: '{there}' is not a directory.", remedy)
    if not os.access(there, os.W_OK | os.X_OK):
        raise XlbenchError(f"{problem}: '{there}' may not be written to.", remedy)


def read_settings(
    home: str | Path | None = None,
    data_root: str | Path | None = None,
    *,
    offline: bool = False,
    device: str | None = None,
    compile_training: bool | None = None,
    threads: int | None = None,
    quiet: bool = False,
    report_to: tuple[str, ...] = (),
) -> Settings:
    """Return the arguments as settings; what is not given comes from environment variables, else from defaults.

    The variables are ``XLBENCH_HOME``, ``XLBENCH_DATA`` and ``HF_HUB_OFFLINE``.

    Raises:
        XlbenchError: A path is no path, the store is a file or below one, or the data root is not a directory.
    """
    store = path_of(home, "home") if home is not None else _default_home()
    variable = os.environ.get(DATA_VARIABLE)
    data: Path | None = None
    if data_root is not None:
        data = path_of(data_root, "data_root")
    elif variable:
        data = path_of(variable, DATA_VARIABLE)
    with answered():
        _check_store(store)
        if data is not None and not data.is_dir():
            raise XlbenchError(
                f"The data root '{data}' is not a directory.",
                f"Give --data-root a directory that holds datasets/, models/ or parallel/, or unset {DATA_VARIABLE}.",
            )
    offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    return Settings(
        home=store.absolute(),
        data_root=data.absolute() if data else None,
        offline=offline,
        device=device,
        compile_training=compile_training,
        threads=threads,
        quiet=quiet or not leads(),  # of several processes one prints
        report_to=report_to,
    )


def _default_home() -> Path:
    """Return the store of who does not choose one.

    Raises:
        XlbenchError: No home directory is known, as in some containers.
    """
    for variable, below in ((HOME_VARIABLE, ""), ("XDG_CACHE_HOME", "xlbench")):
        if given := os.environ.get(variable):
            return path_of(given, variable) / below
    try:
        return Path.home() / ".cache" / "xlbench"
    except RuntimeError:
        raise XlbenchError(
            "There is no home directory for the store.", f"Give --home a directory, or set {HOME_VARIABLE} to one."
        ) from None


def _check_store(home: Path) -> None:
    """Refuse a store that is a file, or that a file is in the way of.

    Raises:
        XlbenchError: It is.
    """
    for place in (home, *home.parents):
        if place.exists() and not place.is_dir():
            what = "is a file" if place == home else f"cannot be made: '{place}' is a file"
            raise XlbenchError(
                f"The store '{home}' {what}.", f"Give --home a directory, or set {HOME_VARIABLE} to one; it is created."
            )
