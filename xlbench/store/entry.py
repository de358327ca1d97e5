"""Entries as they lie in the store: which there are, and whether one is what its manifest says.

What an entry is follows from its path, ``<home>/<kind>/<key>``; a manifest that says otherwise is damaged.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from xlbench.errors import XlbenchError, nearest
from xlbench.fingerprint import LENGTH, Frozen, Json, file_digest
from xlbench.store.seal import read_sealed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

MANIFEST = "entry.json"
SHORTEST = 4  # digits of a key that may stand for it
LISTED = 4  # entries that an ambiguous key lists
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FINGERPRINT = re.compile(rf"[0-9a-f]{{{LENGTH}}}")
RESERVED = frozenset(
    {"partial", "locks", "digests", "hub", "running", "tasks"}
)  # folders of the store that hold no entries


class Manifest(Frozen):
    """The content of ``entry.json``, which has a digest of all this as well.

    Attributes:
        kind: Sort of entry, e.g. 'corpora'.
        key: Its fingerprint.
        made: When it was finished, in seconds since the epoch.
        seconds: Time that building took. Of an interrupted build the time up to its last written file counts.
        facts: What the build function returned.
        files: SHA-256 of each file, by path in the entry, with '/' between its parts.
    """

    kind: str
    key: str
    made: float
    seconds: float
    facts: dict[str, Json]
    files: dict[str, str]


@dataclass(frozen=True)
class Entry:
    """A finished entry.

    Attributes:
        path: Its directory.
        manifest: The content of its ``entry.json``.
        reused: Whether it existed before this call.
    """

    path: Path
    manifest: Manifest
    reused: bool


class Damage(NamedTuple):
    """What lies where an entry should be, and is not the entry that was written there.

    Attributes:
        path: Of the entry.
        reason: What is wrong with it: 'items.parquet has changed'.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path.parent.name} {self.path.name} is damaged ({self.reason})"


def require_files(entry: Entry, *names: str) -> None:
    """Refuse an entry without files that all of its kind have; a manifest may say that it has none.

    Args:
        entry: An entry that is as its manifest says.
        names: By path in the entry.

    Raises:
        XlbenchError: Names the first one that is absent.
    """
    for name in names:
        if name not in entry.manifest.files:
            raise XlbenchError(f"{name} is missing", "Run again: it is then made anew.")


def is_name(kind: str, key: str) -> bool:
    """Return whether kind and key may name an entry."""
    return bool(NAME.fullmatch(kind) and kind not in RESERVED and NAME.fullmatch(key))


def entry_path(home: Path, kind: str, key: str) -> Path:
    """Return the directory of an entry, whether it exists or not.

    Raises:
        XlbenchError: Kind or key is no name of an entry, e.g. a path that leads out of the store.
    """
    if not is_name(kind, key):
        raise XlbenchError(
            f"'{kind}/{key}' is no name of an entry in the store.", "Was the file that names it changed by hand?"
        )
    return home / kind / key


def refuse_links(home: Path, *folders: str) -> None:
    """Refuse folders of the store that are links, since what is written there would lie outside of it.

    Raises:
        XlbenchError: One of them is a link.
    """
    for folder in folders:
        if (home / folder).is_symlink():
            raise XlbenchError(
                f"'{home / folder}' is a link, and the store follows none.",
                "Move the directory itself into the store, or set XLBENCH_HOME to a disk with more room.",
            )


def examine(home: Path, kind: str, key: str, only: Collection[str] | None = None) -> Entry | Damage | None:
    """Return a finished entry, what is wrong with it, or None if nothing is there.

    Args:
        home: The store.
        kind: Sort of entry.
        key: Its fingerprint.
        only: Compare these files with their checksums, by path in the entry; None compares all, and notices files that
            do not belong to the entry. The manifest is always verified.
    """
    path = entry_path(home, kind, key)
    if path.parent.is_symlink() or path.is_symlink():
        return Damage(path, "it is a link, or lies in one")
    if not os.path.lexists(path):
        return None
    manifest = read_sealed(path / MANIFEST, Manifest)
    if manifest is None:
        return Damage(path, f"{MANIFEST} is missing or has changed")
    if (manifest.kind, manifest.key) != (kind, key):
        return Damage(path, f"{MANIFEST} is that of {manifest.kind} {manifest.key}")
    reason = _wrong_file(path, manifest, only)
    return Damage(path, reason) if reason else Entry(path, manifest, reused=True)


def _wrong_file(path: Path, manifest: Manifest, only: Collection[str] | None) -> str | None:
    """Return which file of an entry is not what its manifest says, and why."""
    if any(not is_inside(name) for name in manifest.files):
        return f"{MANIFEST} names files outside of it"
    if only is None and (foreign := _foreign_file(path, manifest)):
        return foreign
    found = (_wrong(path, name, manifest.files.get(name)) for name in (manifest.files if only is None else only))
    return next((reason for reason in found if reason), None)


def _wrong(path: Path, name: str, digest: str | None) -> str | None:
    """Return what is wrong with one file of an entry."""
    file = path / name
    try:
        if _has_links(path, name):
            return f"{name} is a link"
        if digest is None or not file.is_file():
            return f"{name} is missing"
        return None if file_digest(file) == digest else f"{name} has changed"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"


def _foreign_file(path: Path, manifest: Manifest) -> str | None:
    """Return what is said of a link, or of a file that does not belong to an entry; hidden files are no matter."""
    for folder, folders, names in os.walk(path):
        for name in folders + names:
            file = Path(folder, name)
            place = file.relative_to(path).as_posix()
            if file.is_symlink():
                return f"{place} is a link"
            if name in names and not name.startswith(".") and place != MANIFEST and place not in manifest.files:
                return f"{place} does not belong to it"
    return None


def is_inside(name: str) -> bool:
    """Return whether a name is that of a file in a directory, wherever that is."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\\" not in name and ":" not in name


def _has_links(path: Path, name: str) -> bool:
    """Return whether a file of an entry, or a directory on the way to it, is a link."""
    parts = PurePosixPath(name).parts
    return any(path.joinpath(*parts[: count + 1]).is_symlink() for count in range(len(parts)))


def read_entry(home: Path, kind: str, key: str, *, only: Collection[str] | None = None) -> Entry | None:
    """Return a finished entry; None if there is none or it is damaged.

    Args:
        home: The store.
        kind: Sort of entry.
        key: Its fingerprint.
        only: Compare these files with their checksums; None compares all. The manifest is always verified.
    """
    found = examine(home, kind, key, only)
    return found if isinstance(found, Entry) else None


def entry_names(home: Path) -> Iterator[tuple[str, str]]:
    """Yield kind and key of everything that is or was an entry, damaged or not, in order; no link is followed.

    Other directories that lie there, of somebody who made a directory of his own the store, are none.
    """
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        if folder.is_symlink() or not folder.is_dir() or not is_name(folder.name, "x"):
            continue
        for path in sorted(folder.iterdir()):
            was_written = FINGERPRINT.fullmatch(path.name) or os.path.lexists(path / MANIFEST)
            if is_name(folder.name, path.name) and was_written and (path.is_symlink() or path.is_dir()):
                yield folder.name, path.name


def find_name(name: str, known: Sequence[tuple[str, str]], place: str) -> tuple[str, str]:
    """Return kind and key of an entry that a user names.

    Args:
        name: Its key, or the first four digits of it or more, after its kind and a slash if you like.
        known: Kind and key of the entries that there are.
        place: Where, to begin a sentence with: 'The store in /home'.

    Raises:
        XlbenchError: There is no such entry, or there are several.
    """
    kind, slash, key = name.rpartition("/")
    found = [it for it in known if it[1] == key and (not slash or it[0] == kind)]
    if not found and len(key) >= SHORTEST:
        found = [it for it in known if it[1].startswith(key) and (not slash or it[0] == kind)]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join("/".join(it) for it in found[:LISTED])
        raise XlbenchError(f"{len(found)} entries of the store are called '{name}'.", f"Name one: {shown}.")
    raise XlbenchError(f"{place} has no entry '{name}'.", nearest(key, (it[1] for it in known)))


def entries(home: Path) -> Iterator[Manifest]:
    """Yield the manifests of all finished entries, by kind and then the oldest first; their files are not read."""
    found = (read_entry(home, kind, key, only=()) for kind, key in entry_names(home))
    yield from sorted((it.manifest for it in found if it), key=lambda manifest: (manifest.kind, manifest.made))


def entry_size(path: Path) -> int:
    """Return the bytes of the files of an entry, damaged or not."""
    if path.is_symlink():
        return 0
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):  # deleted meanwhile
                total += Path(folder, name).lstat().st_size
    return total
