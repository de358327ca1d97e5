"""Entries pushed to an address and pulled from it, for machines that share no disk; each verified before it is used."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.fingerprint import Frozen
from xlbench.progress import progress
from xlbench.store.archive import import_place, take_over
from xlbench.store.build import entry_lock
from xlbench.store.disk import with_disk_errors
from xlbench.store.entry import MANIFEST, Entry, entry_names, examine, read_entry
from xlbench.store.remote import download, list_uploads, upload

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from xlbench.progress import Advance
    from xlbench.store.remote import Listing, Remote, Upload

READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
MB = 1e6


class Synced(Frozen):
    """What was pushed to an address and pulled from it, or would be; entries are named kind/key."""

    pushed: tuple[str, ...] = Field(default=(), description="Entries that the address did not have.")
    pulled: tuple[str, ...] = Field(default=(), description="Entries that the store did not have.")
    bytes_pushed: int = 0
    bytes_pulled: int = 0
    refused: dict[str, str] = Field(
        default_factory=dict, description="Why others were neither pushed nor pulled: they are damaged, or being built."
    )

    def __add__(self, other: Synced) -> Synced:
        """Return what two calls did."""
        return Synced(
            pushed=self.pushed + other.pushed,
            pulled=self.pulled + other.pulled,
            bytes_pushed=self.bytes_pushed + other.bytes_pushed,
            bytes_pulled=self.bytes_pulled + other.bytes_pulled,
            refused={**self.refused, **other.refused},
        )


@with_disk_errors
def push_entries(
    home: Path, remote: Remote, names: Collection[tuple[str, str]] | None, *, dry_run: bool, quiet: bool
) -> Synced:
    """Push entries that an address does not have, each verified just before.

    Args:
        home: The store.
        remote: The address.
        names: Kind and key of those that may be pushed; None for all.
        dry_run: Only say what would be pushed.
        quiet: Show no progress.

    Raises:
        XlbenchError: The address fails.
    """
    there = list_uploads(remote)
    found = [
        entry
        for name in entry_names(home)
        if (names is None or name in names) and not there.has(name)
        if (entry := read_entry(home, *name, only=()))
    ]
    sizes = {_name(entry): _size(entry) for entry in found}
    done: list[str] = []
    refused: dict[str, str] = {}
    if not dry_run:
        with progress(f"pushing to {remote.name}", sum(sizes.values()) / MB, quiet=quiet, unit="MB") as advance:
            for entry in found:
                if reason := _push(home, remote, there, entry, advance):
                    refused[_name(entry)] = reason
                else:
                    done.append(_name(entry))
    names_done = tuple(sizes) if dry_run else tuple(done)
    return Synced(pushed=names_done, bytes_pushed=sum(sizes[name] for name in names_done), refused=refused)


def _push(home: Path, remote: Remote, there: Listing, entry: Entry, advance: Advance) -> str | None:
    """Push one entry, and return why not; None if it is there now."""
    kind, key = entry.manifest.kind, entry.manifest.key
    if link := next((it for it in there.links if it == kind or f"{it}/".startswith(f"{kind}/{key}/")), None):
        return f"'{link}' is a link there"
    with _kept(home, kind, key) as held:
        if not held:
            return "a process is building it"
        checked = examine(home, kind, key)
        if not isinstance(checked, Entry):
            return f"it is damaged here: {checked.reason}" if checked else "it was deleted"
        upload(remote, checked, home, lambda count: advance(count / MB))
    return None


@contextmanager
def _kept(home: Path, kind: str, key: str) -> Iterator[bool]:
    """Let nobody replace or delete an entry meanwhile; in a store that may only be read nobody does."""
    try:
        lock = entry_lock(home, kind, key)
        held = lock.acquire(timeout=0)
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        yield True
        return
    try:
        yield held
    finally:
        lock.release()


@with_disk_errors
def pull_entries(
    home: Path, remote: Remote, names: Collection[tuple[str, str]] | None, *, dry_run: bool, quiet: bool
) -> Synced:
    """Pull entries that the store does not have, or has with a damaged manifest; each is verified, then taken over.

    Args:
        home: The store.
        remote: The address.
        names: Kind and key of those that may be pulled; None for all.
        dry_run: Only say what would be pulled.
        quiet: Show no progress.

    Raises:
        XlbenchError: The address fails, or the disk is full or read-only.
    """
    missing = {
        name: uploads
        for name, uploads in list_uploads(remote).uploads.items()
        if (names is None or name in names) and read_entry(home, *name, only=()) is None
    }
    sizes = {"/".join(name): sum(uploads[0].sizes.values()) for name, uploads in missing.items()}
    if dry_run or not missing:
        return Synced(pulled=tuple(sizes), bytes_pulled=sum(sizes.values()))
    done: list[str] = []
    refused: dict[str, str] = {}
    with progress(f"pulling from {remote.name}", sum(sizes.values()) / MB, quiet=quiet, unit="MB") as advance:
        for (kind, key), uploads in missing.items():
            reasons = [reason for it in uploads if (reason := _pull(home, remote, it, advance))]
            if len(reasons) == len(uploads):
                refused[f"{kind}/{key}"] = f"it is damaged there: {reasons[0]}"
            else:
                done.append(f"{kind}/{key}")
    return Synced(pulled=tuple(done), bytes_pulled=sum(sizes[name] for name in done), refused=refused)


def _pull(home: Path, remote: Remote, found: Upload, advance: Advance) -> str | None:
    """Pull one upload, and return what is wrong with it; None if the store has the entry now."""
    with import_place(home) as place:
        reason = download(remote, found, place, lambda count: advance(count / MB))
        if reason is None:
            take_over(place, home, found.kind, found.key)
        return reason


def _name(entry: Entry) -> str:
    return f"{entry.manifest.kind}/{entry.manifest.key}"


def _size(entry: Entry) -> int:
    """Return the bytes of the files of an entry; one that is missing is noticed when the entry is verified."""
    paths = [entry.path / name for name in (MANIFEST, *entry.manifest.files)]
    return sum(path.lstat().st_size for path in paths if path.is_file())
