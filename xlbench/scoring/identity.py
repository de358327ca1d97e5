"""Which data a task scores: part of every record, and of what training data must not contain."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from xlbench.encoders.digests import remembered_digest
from xlbench.scoring.declared import declared, mteb_version

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.experiment import TaskRef
    from xlbench.settings import Settings

STARTER = "xlbench.scoring.starter_tasks"


def data_identity(ref: TaskRef, settings: Settings) -> str:
    """Return which data a task scores: ``sha256:...`` of a local copy, a hub revision, or mteb's version.

    Raises:
        XlbenchError: The task's module cannot be found.
    """
    said = declared(ref)
    if ref.loader is not None and ref.loader.startswith(f"{STARTER}:"):
        shipped = files("xlbench.corpora").joinpath("data", f"{ref.family}.jsonl")
        return f"sha256:{hashlib.sha256(shipped.read_bytes()).hexdigest()}"
    if said.path is not None and (local := settings.local("datasets", said.path)):
        return f"sha256:{_directory_digest(local, settings.home)}"
    if said.revision is not None:
        return f"{said.path}@{said.revision}{said.source and '+' + said.source}"
    return said.source or f"mteb {mteb_version()}"


def _directory_digest(path: Path, home: Path) -> str:
    """Return the SHA-256 over names and bytes of a dataset's files, without its pages and hidden files."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        # `hf download --local-dir` keeps notes of its own under .cache.
        if file.is_file() and file.suffix != ".md" and not any(part.startswith(".") for part in name.parts):
            digest.update(f"{name.as_posix()}\0{remembered_digest(file, home)}\n".encode())
    return digest.hexdigest()
