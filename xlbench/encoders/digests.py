"""SHA-256 of files, remembered in the store so that a warm start does not read 90 MB again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.fingerprint import Json, file_digest, fingerprint
from xlbench.store import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

SMALL = 1 << 20  # bytes; below it, hashing costs less than remembering


def remembered_digest(path: Path, home: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, from memory when the file has not been touched since.

    Args:
        path: The file.
        home: The store, which remembers digests under path, size and the times of the last change.
    """
    facts = path.stat()
    if facts.st_size < SMALL:
        return file_digest(path)
    # The time of the inode's change too: unpackers and `cp -p` set the other one to whatever they like.
    known: Json = [str(path.resolve()), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]
    note = home / "digests" / fingerprint(known)
    try:
        digest = note.read_text("ascii").strip()
    except OSError:
        digest = ""
    if len(digest) != 64:
        digest = file_digest(path)
        write_atomically(note, digest + "\n")
    return digest
