"""Where things are on this machine and how to run on it: nothing here changes what an experiment means."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen

HOME_VARIABLE = "XLBENCH_HOME"
DATA_VARIABLE = "XLBENCH_DATA"
STRICT_VARIABLE = "XLBENCH_STRICT"


class Settings(Frozen):
    """Paths and switches of one invocation."""

    home: Path = Field(description="The store: artifacts, targets, records.")
    data_root: Path | None = Field(default=None, description="Local copies of hub datasets and models.")
    offline: bool = Field(default=False, description="Never ask the hub, whatever the name.")
    device: str | None = Field(default=None, description="torch device; None chooses by what is there.")
    compile_training: bool | None = Field(default=None, description="None chooses by what is there.")
    threads: int | None = Field(default=None, ge=1, description="Threads for torch; None leaves its default.")
    quiet: bool = Field(default=False, description="No progress bars and no lines on how far it is.")
    speed_rounds: int = Field(
        default=5, ge=0, description="Rounds of measuring speed for a new record; 0 leaves it out."
    )

    def local(self, kind: str, name: str) -> Path | None:
        """Return ``<data root>/<kind>/<org>/<name>`` if it is a directory (kind: 'datasets' or 'models')."""
        if self.data_root is None:
            return None
        path = self.data_root / kind / name
        return path if path.is_dir() else None


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
    """Complete what was given by the environment's variables and the defaults.

    Raises:
        XlbenchError: The data root is not a directory.
    """
    if home is None:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        home = Path(os.environ.get(HOME_VARIABLE) or Path(cache) / "xlbench")
    if data_root is None and (named := os.environ.get(DATA_VARIABLE)):
        data_root = Path(named)
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
