"""Entries at an address that fsspec knows: s3://, gs://, sftp://, a directory.

An upload lies under ``<kind>/<key>/<place>/``, as its entry does in the store, and its ``entry.json`` gets its name
last: without it an upload is not finished and counts for nothing. Each store that pushes has a place of its own, so
that two that push the same entry at once disturb neither each other nor who reads. Nothing there is believed: names are
checked before anything is fetched, and what was fetched is verified before the store takes it over.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from xlbench.disk import disk_errors
from xlbench.errors import XlbenchError, first_line, nearest
from xlbench.fingerprint import fingerprint
from xlbench.store.entry import MANIFEST, Damage, Entry, Manifest, entry_path, examine, is_inside, is_name
from xlbench.store.owner import host_name
from xlbench.store.seal import unsealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fsspec import AbstractFileSystem

PLACE = re.compile(r"[0-9a-f]{20}")
PASSWORD = re.compile(r"(//[^/@:]*):[^/@]*@")
LARGEST_MANIFEST = 1 << 26  # bytes
UNFINISHED = f".{MANIFEST}.new"  # a manifest before it has its name
BLOCK = 1 << 22  # bytes that are copied at a time
DEPTH = 4  # parts of the shortest name: kind, key, place, file
GO_ON = "Check the network, the space there and your credentials; the same command goes on where this one broke off."


class Remote(NamedTuple):
    """An address that entries are pushed to and pulled from.

    Attributes:
        files: Its file system.
        root: The directory in it.
        name: As a user gave it, without a password.
    """

    files: AbstractFileSystem
    root: str
    name: str


class Upload(NamedTuple):
    """An upload of an entry that has a manifest.

    Attributes:
        kind: Sort of entry.
        key: Its fingerprint.
        place: The directory below those.
        sizes: Bytes of each file, by path in the entry.
        content: Its manifest as it lies there.
        link: A file of it that is a link; None if none is.
    """

    kind: str
    key: str
    place: str
    sizes: dict[str, int]
    content: bytes
    link: str | None

    @property
    def name(self) -> str:
        """Its path at the address."""
        return f"{self.kind}/{self.key}/{self.place}"

    def manifest(self) -> Manifest | str:
        """Return its manifest, or what is wrong with the upload as far as its listing tells."""
        found = unsealed(self.content.decode("utf-8", "replace"), Manifest)
        if self.link:
            return f"{self.link} is a link"
        if found is None or (found.kind, found.key) != (self.kind, self.key):
            return f"{MANIFEST} has changed, or is that of another entry"
        missing = next((file for file in found.files if file not in self.sizes), None)
        return found if missing is None else f"{missing} is missing"


class Listing(NamedTuple):
    """What an address holds.

    Attributes:
        uploads: Those that have a manifest, by kind and key.
        links: What is a link, by path at the address.
    """

    uploads: dict[tuple[str, str], list[Upload]]
    links: frozenset[str]

    def has(self, name: tuple[str, str]) -> bool:
        """Return whether an entry is there, as far as manifests and names tell."""
        return any(isinstance(it.manifest(), Manifest) for it in self.uploads.get(name, ()))


def open_remote(url: str, home: Path) -> Remote:
    """Return what entries are pushed to and pulled from.

    Args:
        url: Whatever fsspec takes: a path too.
        home: The store, which may not be or hold it.

    Raises:
        XlbenchError: There is no such protocol, a package for it is missing, or it cannot be reached.
    """
    from fsspec.core import url_to_fs
    from fsspec.registry import available_protocols
    from fsspec.utils import get_protocol

    name, protocol = PASSWORD.sub(r"\1:…@", url), get_protocol(url)
    if protocol not in available_protocols():
        raise XlbenchError(f"'{name}': there is no protocol '{protocol}'.", nearest(protocol, available_protocols()))
    try:
        files, root = url_to_fs(url)
    except ImportError as error:
        cause = error if error.name else error.__cause__
        package = getattr(cause, "name", None) or protocol
        raise XlbenchError(
            f"'{name}' needs the package '{package}', which is not installed.", f"Run: python -m pip install {package}"
        ) from error
    except Exception as error:  # whatever the library of a protocol raises
        raise XlbenchError(f"'{name}' cannot be opened: {first_line(error)}.", "Check the address.") from error
    if protocol in {"file", "local"}:
        place = Path(root).resolve()
        if place.is_relative_to(home.resolve()):
            raise XlbenchError(f"'{name}' lies in the store itself.", "Name another directory.")
        if home.resolve().is_relative_to(place):
            raise XlbenchError(f"The store lies in '{name}'.", "Name another directory, of entries alone.")
        if not place.parent.is_dir() or (place.exists() and not place.is_dir()):
            raise XlbenchError(f"'{name}' is no directory, and none can be made there.", "Is its disk mounted?")
    return Remote(files, root.rstrip("/"), name)


def require_there(remote: Remote) -> None:
    """Refuse an address that nothing can be pulled from, as a mistyped one.

    Raises:
        XlbenchError: There is nothing at it.
    """
    with remote_errors(remote):
        found = remote.files.exists(remote.root or "/")
    if not found:
        raise XlbenchError(f"There is nothing at '{remote.name}'.", "Check the address, or push to it first.")


@contextmanager
def remote_errors(remote: Remote) -> Iterator[None]:
    """Turn whatever a file system raises into an error of two lines.

    Raises:
        XlbenchError: The address may not be used, or fails.
    """
    try:
        yield
    except XlbenchError:
        raise
    except PermissionError as error:
        raise XlbenchError(
            f"'{remote.name}' may not be used: {first_line(error)}.", "Check its permissions and your credentials."
        ) from error
    except Exception as error:  # whatever the library of a protocol raises
        raise XlbenchError(f"'{remote.name}' failed: {first_line(error)}.", GO_ON) from error


def list_uploads(remote: Remote) -> Listing:
    """Return which entries an address holds. Names that no upload has are left out.

    Raises:
        XlbenchError: It cannot be listed, or is a store itself.
    """
    with remote_errors(remote):
        remote.files.invalidate_cache()
        try:
            remote.files.ls(remote.root or "/", detail=False)  # find() would take what fails for empty
        except FileNotFoundError:
            return Listing({}, frozenset())
        found = remote.files.find(remote.root, detail=True)
        small = [path for path, it in found.items() if _is_manifest(path) and (it["size"] or 0) <= LARGEST_MANIFEST]
        contents = remote.files.cat(small, on_error="return") if small else {}
        for failure in contents.values():
            if isinstance(failure, Exception) and not isinstance(failure, FileNotFoundError):
                raise failure
    sizes: dict[tuple[str, str, str], dict[str, int]] = {}
    manifests: dict[tuple[str, str, str], object] = {}
    links = set()
    for path, facts in found.items():
        name = path.removeprefix(remote.root).lstrip("/")
        parts = name.split("/")
        if len(parts) == DEPTH - 1 and parts[-1] == MANIFEST and is_name(*parts[:2]):
            raise XlbenchError(
                f"'{remote.name}' is a store itself, with the entry {'/'.join(parts[:2])}: a push would damage it.",
                "Name a directory of its own, or `xlbench store export` from one store and `import` into the other.",
            )
        if facts.get("islink") or facts["type"] != "file":
            links.add(name)
        if name.count("/") < DEPTH - 1:
            continue
        kind, key, place, file = name.split("/", DEPTH - 1)
        if is_name(kind, key) and PLACE.fullmatch(place) and is_inside(file):
            sizes.setdefault((kind, key, place), {})[file] = int(facts["size"] or 0)
            if file == MANIFEST:
                manifests[kind, key, place] = contents.get(path, b"")
    uploads: dict[tuple[str, str], list[Upload]] = {}
    for (kind, key, place), files in sorted(sizes.items()):
        content = manifests.get((kind, key, place))
        if isinstance(content, bytes):
            link = next((file for file in files if f"{kind}/{key}/{place}/{file}" in links), None)
            uploads.setdefault((kind, key), []).append(Upload(kind, key, place, files, content, link))
    return Listing(uploads, frozenset(links))


def _is_manifest(path: str) -> bool:
    return path.endswith(f"/{MANIFEST}")


def _read(source: IO[bytes]) -> bytes:
    with disk_errors("the store", store=True):  # so that it is no error of the address
        return source.read(BLOCK)


def upload(remote: Remote, entry: Entry, home: Path, advance: Callable[[float], object]) -> None:
    """Push an entry that was verified just now; its manifest last.

    Args:
        remote: Where to.
        entry: The entry.
        home: Its store.
        advance: Told of bytes that are done.

    Raises:
        XlbenchError: The address fails, or has other bytes afterwards.
    """
    manifest = entry.manifest
    place = fingerprint([host_name(), str(home.resolve()), manifest.model_dump(mode="json")])
    folder = f"{remote.root}/{manifest.kind}/{manifest.key}/{place}"
    for file in (*manifest.files, MANIFEST):
        path, target = entry.path / file, f"{folder}/{UNFINISHED if file == MANIFEST else file}"
        with path.open("rb") as source, remote_errors(remote):
            remote.files.makedirs(target.rpartition("/")[0], exist_ok=True)
            with remote.files.open(target, "wb") as sink:
                while block := _read(source):
                    sink.write(block)
                    advance(len(block))
            remote.files.invalidate_cache()
            size = remote.files.size(target)
        if size is not None and size != path.stat().st_size:
            raise XlbenchError(f"'{remote.name}' has {size:,} bytes of '{target}', which has other ones here.", GO_ON)
    with remote_errors(remote):
        if unsealed(remote.files.cat_file(target).decode("utf-8", "replace"), Manifest) != manifest:
            raise XlbenchError(f"'{remote.name}' has '{target}' otherwise than it was written.", GO_ON)
        remote.files.mv(target, f"{folder}/{MANIFEST}")


def download(remote: Remote, found: Upload, place: Path, advance: Callable[[float], object]) -> str | None:
    """Fetch an upload as an entry of a store of its own, and verify it.

    Args:
        remote: Where from.
        found: The upload.
        place: The store to write it to, which has no such entry.
        advance: Told of bytes that are done.

    Returns:
        What is wrong with it; None if it is what its manifest says.

    Raises:
        XlbenchError: The address fails.
    """
    manifest = found.manifest()
    if isinstance(manifest, str):
        return manifest
    folder = entry_path(place, found.kind, found.key)
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_bytes(found.content)
    for file in manifest.files:
        try:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            sink = (folder / file).open("xb")
        except (FileExistsError, NotADirectoryError):
            return f"{file} is named twice"
        with sink, remote_errors(remote), remote.files.open(f"{remote.root}/{found.name}/{file}", "rb") as source:
            while block := source.read(BLOCK):
                with disk_errors("pulled entries", folder, store=True):
                    sink.write(block)
                advance(len(block))
    checked = examine(place, found.kind, found.key)
    return checked.reason if isinstance(checked, Damage) else None
