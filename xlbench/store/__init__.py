"""The store: directories under content-addressed keys, each written completely or not at all.

``<home>/<kind>/<key>/`` holds the files of one entry and ``entry.json``, which says when the entry was built, how long
that took, and the SHA-256 of every file. An entry is built in ``<home>/partial/<kind>-<key>/`` under a lock and then
renamed, so that readers never see an incomplete entry, and an interrupted build resumes from the files it left there.
Locks hold on disks that machines share; whoever took one from a process that may still run builds in a copy.

Nothing that lies in the store is believed: what an entry is follows from its path, its manifest carries a digest of
itself, its files are compared with their checksums when they are read, and no link is followed. What is damaged is
built again. A process that runs holds a lease (``<home>/running/``), so that nothing it needs is deleted meanwhile.
"""

from __future__ import annotations

from xlbench.store.build import get_or_build
from xlbench.store.disk import publish, write_atomically
from xlbench.store.entry import (
    Damage,
    Entry,
    Manifest,
    entries,
    entry_path,
    examine,
    is_name,
    read_entry,
    refuse_links,
    require_files,
)
from xlbench.store.lease import claim, lease
from xlbench.store.lock import Lock
from xlbench.store.seal import read_sealed, write_sealed

__all__ = [
    "Damage",
    "Entry",
    "Lock",
    "Manifest",
    "claim",
    "entries",
    "entry_path",
    "examine",
    "get_or_build",
    "is_name",
    "lease",
    "publish",
    "read_entry",
    "read_sealed",
    "refuse_links",
    "require_files",
    "write_atomically",
    "write_sealed",
]
