"""Entries in one file: a tar archive with the checksums of all that is in it, verified before anything is taken over.

``xlbench-store.json`` comes first and says which entries follow; it carries a digest of itself, as every manifest does.
Only plain files at the places that manifests name are accepted: no links, no devices, no name that leads elsewhere.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zlib
from contextlib import contextmanager
from lzma import LZMAError
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from xlbench.disk import disk_errors, require_regular
from xlbench.errors import XlbenchError, first_line
from xlbench.fingerprint import Frozen, file_digest
from xlbench.store.build import STOPPED, entry_lock, named_lock
from xlbench.store.disk import IMPORT, discard, publish, with_disk_errors
from xlbench.store.entry import MANIFEST, Entry, entry_path, examine, is_inside, is_name, refuse_links
from xlbench.store.lease import claim
from xlbench.store.seal import sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

INDEX = "xlbench-store.json"
LARGEST_INDEX = 1 << 26  # bytes


class Index(Frozen):
    """The first file of an archive.

    Attributes:
        format: Of the archive.
        manifests: SHA-256 of the manifest of each entry, by kind/key.
    """

    format: int = 1
    manifests: dict[str, str]


class Imported(NamedTuple):
    """What an archive gave, as kind/key.

    Attributes:
        added: Entries that the store did not have, or had damaged.
        present: Entries that it had.
    """

    added: tuple[str, ...]
    present: tuple[str, ...]


@with_disk_errors
def export_entries(home: Path, names: Sequence[tuple[str, str]], target: Path) -> None:
    """Write entries into a new archive, each verified, whole or not at all.

    Args:
        home: The store.
        names: Kind and key of each entry.
        target: The file to write.

    Raises:
        XlbenchError: The file is there already, an entry is missing or damaged, or the disk is full.
    """
    if os.path.lexists(target):
        raise XlbenchError(f"'{target}' is there already.", "Name a file that is not, or delete it.")
    if not target.parent.is_dir():
        raise XlbenchError(f"There is no directory '{target.parent}'.", "Make it, or name another file.")
    found = []
    for kind, key in names:
        entry = examine(home, kind, key)
        if not isinstance(entry, Entry):
            missing = f"There is no entry {kind} {key} in {home}"
            raise XlbenchError(f"{entry or missing}.", "Leave it out, or run again what made it.")
        found.append(entry)
    index = Index(manifests={_name(entry): file_digest(entry.path / MANIFEST) for entry in found})
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with disk_errors(f"the archive '{target.name}'", target.parent, resumes=False):
            with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
                _add(archive, INDEX, sealed(index).encode())
                for entry in found:
                    for file in (MANIFEST, *entry.manifest.files):
                        member = _member(f"{_name(entry)}/{file}", (entry.path / file).stat().st_size)
                        with (entry.path / file).open("rb") as stream:
                            archive.addfile(member, stream)
            publish(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _name(entry: Entry) -> str:
    return f"{entry.manifest.kind}/{entry.manifest.key}"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_member(name, len(content)), io.BytesIO(content))


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Return a header that says nothing of this machine and its users."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


@with_disk_errors
def import_archive(home: Path, source: Path) -> Imported:
    """Take the entries of an archive over into the store, all of them verified before the first one is.

    Raises:
        XlbenchError: The archive is damaged, or holds what no archive of xlbench holds; nothing of it is kept then.
    """
    require_regular(source)
    with _opened(source):  # before anything is written: what is no archive leaves no trace in the store
        pass
    with import_place(home) as place:
        with _opened(source) as archive:
            index = _unpack(archive, place, source)
        names = [(kind, key) for kind, _, key in (name.partition("/") for name in index.manifests)]
        for kind, key in names:
            found = examine(place, kind, key)
            if not isinstance(found, Entry):
                missing = f"{kind} {key} is missing"
                raise _refused(source, str(found or missing))
            if file_digest(found.path / MANIFEST) != index.manifests[f"{kind}/{key}"]:
                raise _refused(source, f"{kind} {key} is not the entry that its index names")
        added = tuple(f"{kind}/{key}" for kind, key in names if take_over(place, home, kind, key))
    return Imported(added, tuple(name for name in index.manifests if name not in added))


def take_over(place: Path, home: Path, kind: str, key: str) -> bool:
    """Move an entry that was verified at an :func:`import_place` into the store, unless that has it."""
    refuse_links(home, kind)
    claim(home, kind, key)
    with entry_lock(home, kind, key) as lock:
        if isinstance(examine(home, kind, key), Entry):
            return False
        target = entry_path(home, kind, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not lock.is_held():
            raise XlbenchError(f"The lock of {kind} {key} was lost: {STOPPED}.", "Run the command again.")
        discard(target, home)
        publish(entry_path(place, kind, key), target)
        return True


@contextmanager
def import_place(home: Path) -> Iterator[Path]:
    """Give a new directory, laid out as a store, for entries that are not verified yet; it goes in the end."""
    refuse_links(home, "partial", "locks")
    place = home / "partial" / f"{IMPORT}{uuid4().hex}"
    with named_lock(home, place.name):
        place.mkdir(parents=True)
        try:
            yield place
        finally:
            shutil.rmtree(place)


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source, "r:*") as archive:
            yield archive
    except (tarfile.TarError, EOFError, FileNotFoundError, IsADirectoryError, LZMAError, zlib.error) as error:
        raise _refused(source, first_line(error)) from error
    except OSError as error:
        if error.errno is not None:  # the system's: of the disk
            raise
        raise _refused(source, first_line(error)) from error  # bz2's and gzip's: of what they read


def _unpack(archive: tarfile.TarFile, place: Path, source: Path) -> Index:
    first = archive.next()
    stream = archive.extractfile(first) if first and first.isreg() and first.name == INDEX else None
    index = unsealed(stream.read(LARGEST_INDEX).decode("utf-8", "replace"), Index) if stream else None
    if index is None or index.format != 1:
        raise _refused(source, f"it does not begin with an intact {INDEX}")
    known = {tuple(name.split("/")) for name in index.manifests}
    if not all(len(name) == 2 and is_name(*name) for name in known):
        raise _refused(source, "its index names what is no entry")
    while member := archive.next():
        if not member.isreg() or not is_inside(member.name):
            raise _refused(source, f"'{member.name}' is no plain file of an entry")
        if tuple(member.name.split("/")[:2]) not in known or (place / member.name).exists():
            raise _refused(source, f"'{member.name}' belongs to no entry that its index names")
        _write(archive, member, place / member.name)
    return index


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Write a plain file of an archive; its owner and mode are left to this machine."""
    stream = archive.extractfile(member)
    assert stream is not None  # as of every plain file
    path.parent.mkdir(parents=True, exist_ok=True)
    with stream, path.open("xb") as file:
        shutil.copyfileobj(stream, file)


def _refused(source: Path, reason: str) -> XlbenchError:
    return XlbenchError(
        f"'{source}' is not imported: {reason}.", "Give a file that `xlbench store export` wrote; copy it again."
    )
