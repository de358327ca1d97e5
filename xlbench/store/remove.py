"""Taking entries out of the store, unless somebody builds or needs them just now."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xlbench.store.build import ATTEMPT, FENCE, entry_lock, named_lock
from xlbench.store.disk import DELETED, IMPORT, remove_tree, set_aside, with_disk_errors
from xlbench.store.entry import entry_path, refuse_links
from xlbench.store.lease import FOLDER, gate, leased
from xlbench.store.lock import alone

if TYPE_CHECKING:
    from collections.abc import Iterator


@with_disk_errors
def remove_entry(home: Path, kind: str, key: str) -> str | None:
    """Delete an entry, damaged or not; of a link the link itself.

    Returns:
        Why it is kept: a process builds it, or a run needs it; None if it is gone.

    Raises:
        XlbenchError: It is no entry's name, or the store may only be read.
    """
    path = entry_path(home, kind, key)
    refuse_links(home, kind, "partial", FOLDER)
    with alone(entry_lock(home, kind, key), wait=False) as free:
        if not free:
            return "a process is building it"
        (home / FOLDER).mkdir(parents=True, exist_ok=True)
        with alone(gate(home), wait=True):
            if f"{kind}/{key}" in leased(home):
                return "a run needs it"
            rubbish = set_aside(path, home)
    if rubbish is not None:
        remove_tree(rubbish)
    return None


class Unfinished(NamedTuple):
    """A build that was interrupted, or that goes on just now.

    Attributes:
        path: Its directory.
        changed: When it was last written to, in seconds since the epoch.
    """

    path: Path
    changed: float


def unfinished(home: Path) -> Iterator[Unfinished]:
    """Yield what builds have left that did not end, in order of their names; what goes meanwhile is left out."""
    folder = home / "partial"
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if not (path.name.startswith((DELETED, IMPORT)) or (path / ATTEMPT).is_file()):
            continue
        with suppress(FileNotFoundError):
            changed = path.lstat().st_mtime
            yield Unfinished(path, max([changed, *_times_below(path)]))


def _times_below(path: Path) -> Iterator[float]:
    """Yield when each file and directory below one was written to; a build that goes on may delete some meanwhile."""
    for folder, folders, names in () if path.is_symlink() else os.walk(path):
        for name in folders + names:
            with suppress(FileNotFoundError):
                yield Path(folder, name).lstat().st_mtime


@with_disk_errors
def remove_unfinished(home: Path, name: str) -> str | None:
    """Delete what an interrupted build left; the build would then begin anew.

    Returns:
        Why it is kept: it goes on just now; None if it is gone.
    """
    refuse_links(home, "partial", "locks")
    path = home / "partial" / name
    with alone(named_lock(home, name.partition(FENCE)[0]), wait=False) as free:
        if not free:
            return "a process is building it"
        rubbish = path if name.startswith(DELETED) else set_aside(path, home)
    if rubbish is not None:
        remove_tree(rubbish)
    return None
