"""Settings of this machine: where data is and how to run. None of them changes what an experiment means."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from pydantic import Field

from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

HOME_VARIABLE = "XLBENCH_HOME"
DATA_VARIABLE = "XLBENCH_DATA"
STRICT_VARIABLE = "XLBENCH_STRICT"


class Settings(Frozen):
    """Paths and switches of one call of xlbench."""

    home: Path = Field(description="Directory of the store: artifacts, targets, records.")
    data_root: Path | None = Field(default=None, description="Directory with local copies of hub datasets and models.")
    offline: bool = Field(default=False, description="Never access the hub.")
    device: str | None = Field(default=None, description="torch device; None chooses the fastest one available.")
    compile_training: bool | None = Field(
        default=None, description="Compile training; None decides by device and tools."
    )
    threads: int | None = Field(default=None, ge=1, description="Threads of torch; None keeps its default.")
    quiet: bool = Field(default=False, description="Show no progress.")
    speed_rounds: int = Field(
        default=5, ge=0, description="Rounds in which the speed of a new record is measured; 0 measures none."
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


def read_settings(
    home: Path | None = None,
    data_root: Path | None = None,
    *,
    offline: bool = False,
    device: str | None = None,
    compile_training: bool | None = None,
    threads: int | None = None,
    quiet: bool = False,
) -> Settings:
    """Return the arguments as settings; what is not given comes from environment variables, else from defaults.

    The variables are ``XLBENCH_HOME``, ``XLBENCH_DATA`` and ``HF_HUB_OFFLINE``.

    Raises:
        XlbenchError: The store is a file, or the data root is not a directory.
    """
    if home is None:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        home = Path(os.environ.get(HOME_VARIABLE) or Path(cache) / "xlbench")
    if home.is_file():
        raise XlbenchError(
            f"The store '{home}' is a file.", f"Give --home a directory, or set {HOME_VARIABLE} to one; it is created."
        )
    if data_root is None and (variable := os.environ.get(DATA_VARIABLE)):
        data_root = Path(variable)
    if data_root is not None and not data_root.is_dir():
        raise XlbenchError(
            f"The data root '{data_root}' is not a directory.",
            f"Give --data-root a directory that holds datasets/, models/ or parallel/, or unset {DATA_VARIABLE}.",
        )
    offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    return Settings(
        home=home.expanduser().absolute(),
        data_root=data_root.expanduser().absolute() if data_root else None,
        offline=offline,
        device=device,
        compile_training=compile_training,
        threads=threads,
        quiet=quiet,
    )
