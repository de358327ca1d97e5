"""The store: directories under content-addressed keys, each written completely or not at all.

``<home>/<kind>/<key>/`` holds the files of one entry and ``entry.json``, which says when the entry was built, how long
that took, and the SHA-256 of every file. An entry is built in ``<home>/partial/<kind>-<key>/`` under a lock and then
renamed, so that readers never see an incomplete entry, and an interrupted build resumes from the files it left there.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from filelock import FileLock, Timeout
from pydantic import ValidationError

from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen, Json, file_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

P = ParamSpec("P")
R = TypeVar("R")

MANIFEST = "entry.json"
REMIND_EVERY = 60.0  # seconds of waiting for another process
ATTEMPT = "attempt.json"  # in the directory of a build that is not finished


class Attempt(Frozen):
    """The times of a build that is not finished.

    Attributes:
        began: When it began, in seconds since the epoch.
        spent: Seconds that interrupted builds of the same entry took before.
    """

    began: float
    spent: float


class Manifest(Frozen):
    """The content of ``entry.json``.

    Attributes:
        kind: Sort of entry, e.g. 'corpora'.
        key: Its fingerprint.
        made: When it was finished, in seconds since the epoch.
        seconds: Time that building took. Of an interrupted build the time up to its last written file counts.
        facts: What the build function returned.
        files: SHA-256 of each file, by path in the entry.
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


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn errors from a full disk or a forbidden write into an :class:`XlbenchError` with a remedy."""
    try:
        yield
    except XlbenchError:
        raise
    except Exception as error:
        if _is_full(error):
            raise XlbenchError(
                f"The disk is full: writing {getattr(error, 'filename', None) or 'the store'} failed.",
                "Free some space (`xlbench store prune`) or set XLBENCH_HOME to another disk; the run resumes.",
            ) from error
        if not isinstance(error, OSError):
            raise
        if error.errno in {errno.EACCES, errno.EROFS, errno.EPERM}:
            raise XlbenchError(
                f"'{error.filename}' cannot be written: {error.strerror}.",
                "Set XLBENCH_HOME to a directory that you may write to.",
            ) from error
        raise


def _is_full(error: Exception) -> bool:
    """Return whether an error means a full disk; safetensors and torch do not raise an OSError then."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return any(message in str(error) for message in ("No space left on device", "PytorchStreamWriter failed"))


def _with_disk_errors(function: Callable[P, R]) -> Callable[P, R]:
    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        with disk_errors():
            return function(*args, **kwargs)

    return guarded


def entry_path(home: Path, kind: str, key: str) -> Path:
    """Return the directory of an entry, whether it exists or not."""
    return home / kind / key


def read_entry(home: Path, kind: str, key: str, *, verify: bool = True) -> Entry | None:
    """Return a finished entry; None if there is none or its files do not match their checksums.

    Args:
        home: The store.
        kind: Sort of entry.
        key: Its fingerprint.
        verify: Compare every file with its checksum; otherwise only the manifest is read.
    """
    path = entry_path(home, kind, key)
    try:
        manifest = Manifest.model_validate_json((path / MANIFEST).read_text("utf-8"))
    except (OSError, ValidationError):
        return None
    if verify and not is_whole(path, manifest):
        return None
    return Entry(path, manifest, reused=True)


def is_whole(path: Path, manifest: Manifest) -> bool:
    """Return whether every file of an entry has the checksum that its manifest gives."""
    try:
        return all(file_digest(path / name) == digest for name, digest in manifest.files.items())
    except OSError:
        return False


@_with_disk_errors
def get_or_build(
    home: Path,
    kind: str,
    key: str,
    build: Callable[[Path], dict[str, Json]],
    *,
    waiting: Callable[[], None] | None = None,
) -> Entry:
    """Return an entry, after building it if it is missing or damaged.

    Args:
        home: The store.
        kind: Sort of entry.
        key: Its fingerprint.
        build: Writes the entry's files into the directory it is called with, and returns facts for the manifest. The
            directory may have files of an interrupted build to resume from. Its subdirectory ``scratch`` is removed.
        waiting: Called if another process is building the same entry, and again every minute until it has ended.

    Raises:
        XlbenchError: The disk is full or read-only.
    """
    if entry := read_entry(home, kind, key):
        return entry
    target = entry_path(home, kind, key)
    partial = home / "partial" / f"{kind}-{key}"
    locks = home / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with _locked(locks / f"{kind}-{key}.lock", waiting):
        if entry := read_entry(home, kind, key):
            return entry
        if target.exists():  # damaged: its checksums do not match
            shutil.rmtree(target)
        partial.mkdir(parents=True, exist_ok=True)
        attempt = Attempt(began=time.time(), spent=_spent(partial))
        write_atomically(partial / ATTEMPT, attempt.model_dump_json())
        began = time.monotonic()
        try:
            facts = build(partial)
        except BaseException:
            if [path.name for path in partial.iterdir()] == [ATTEMPT]:  # it left nothing to resume from
                shutil.rmtree(partial)
            raise
        seconds = attempt.spent + time.monotonic() - began
        shutil.rmtree(partial / "scratch", ignore_errors=True)
        (partial / ATTEMPT).unlink()
        files = {
            str(path.relative_to(partial)): file_digest(path)
            for path in sorted(partial.rglob("*"))
            if path.is_file() and path.name != MANIFEST
        }
        manifest = Manifest(kind=kind, key=key, made=time.time(), seconds=seconds, facts=facts, files=files)
        write_atomically(partial / MANIFEST, manifest.model_dump_json(indent=1))
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(target)
    return Entry(target, manifest, reused=False)


def _spent(partial: Path) -> float:
    """Return the seconds of earlier, interrupted builds, each up to the last file that it wrote."""
    try:
        attempt = Attempt.model_validate_json((partial / ATTEMPT).read_text("utf-8"))
    except (OSError, ValidationError):
        return 0.0
    written = [path.stat().st_mtime for path in partial.rglob("*") if path.is_file() and path.name != ATTEMPT]
    return attempt.spent + max(0.0, max(written, default=0.0) - attempt.began)


@contextmanager
def _locked(path: Path, waiting: Callable[[], None] | None) -> Iterator[None]:
    lock = FileLock(path)
    patience = 0.0
    while not lock.is_locked:
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            patience = REMIND_EVERY
            if waiting is not None:
                waiting()
    try:
        yield
    finally:
        lock.release()


@_with_disk_errors
def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that readers see either the old or the new content.

    Raises:
        XlbenchError: The disk is full or read-only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def entries(home: Path) -> Iterator[Manifest]:
    """Yield the manifests of all finished entries, by kind and then the oldest first."""
    manifests = []
    for path in home.glob(f"*/*/{MANIFEST}"):
        if path.parent.parent.name == "partial":
            continue
        try:
            manifests.append(Manifest.model_validate_json(path.read_text("utf-8")))
        except (OSError, ValidationError, json.JSONDecodeError):
            continue
    yield from sorted(manifests, key=lambda manifest: (manifest.kind, manifest.made))
