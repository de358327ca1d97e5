"""Files of hub repositories: listed with their sizes, and fetched into a directory."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from xlbench.errors import XlbenchError, first_line
from xlbench.fingerprint import file_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from xlbench.settings import Settings

Kind = Literal["models", "datasets"]


class HubFile(NamedTuple):
    """Bytes of a file, and its SHA-256 where the hub knows it (of large files)."""

    size: int
    digest: str | None


@dataclass(frozen=True)
class HubFiles:
    """Files of a repository at one commit.

    Attributes:
        kind: 'models' or 'datasets'.
        name: 'org/name'.
        commit: The full hash.
        files: By path in the repository.
    """

    kind: Kind
    name: str
    commit: str
    files: Mapping[str, HubFile]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def list_files(
    kind: Kind,
    name: str,
    revision: str,
    settings: Settings,
    *,
    wanted: Sequence[str] | None,
    unwanted: Sequence[str],
) -> HubFiles:
    """Ask the hub for the files of a repository.

    Args:
        kind: 'models' or 'datasets'.
        name: 'org/name'.
        revision: A commit, branch or tag.
        settings: Whether the hub may be asked.
        wanted: Patterns, one of which a file must match; None: every file.
        unwanted: Patterns that no file may match.

    Raises:
        XlbenchError: The hub may not or cannot be asked, or has nothing of that name.
    """
    if settings.offline:
        raise XlbenchError("it is on the hub, and xlbench is offline.", "Run without --offline.")
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    ask = HfApi().model_info if kind == "models" else HfApi().dataset_info
    try:
        info = ask(name, revision=revision, files_metadata=True)
    except Exception as error:  # the client's network errors share no base class
        raise XlbenchError(f"the hub does not give '{name}' at '{revision}': {first_line(error)}") from error
    assert info.sha is not None
    found = {
        file.rfilename: HubFile(file.size or 0, file.lfs.sha256 if file.lfs else None) for file in info.siblings or ()
    }
    patterns = None if wanted is None else list(wanted)
    kept = filter_repo_objects(found, allow_patterns=patterns, ignore_patterns=list(unwanted))
    return HubFiles(kind, name, info.sha, {file: found[file] for file in sorted(kept)})


def fetch(listed: HubFiles, directory: Path, settings: Settings) -> None:
    """Fetch files into a directory, which then holds nothing else. What is there from before is not fetched again.

    Raises:
        XlbenchError: A file cannot be fetched, or is not what the hub says of it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    directory.mkdir(parents=True, exist_ok=True)
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if path.is_file() and name.parts[0] != ".cache" and name.as_posix() not in listed.files:
            path.unlink()
    shown = not are_progress_bars_disabled()
    if settings.quiet:
        disable_progress_bars()
    try:
        snapshot_download(
            listed.name,
            repo_type=listed.kind.removesuffix("s"),
            revision=listed.commit,
            local_dir=directory,
            allow_patterns=list(listed.files),
        )
    except Exception as error:  # as above
        raise XlbenchError(f"'{listed.name}' cannot be fetched: {first_line(error)}") from error
    finally:
        if settings.quiet and shown:
            enable_progress_bars()
    for file, facts in listed.files.items():
        path = directory / file
        if not path.is_file() or (facts.digest is not None and file_digest(path) != facts.digest):
            path.unlink(missing_ok=True)
            raise XlbenchError(f"'{file}' of '{listed.name}' is not what the hub says of it.")
    shutil.rmtree(directory / ".cache", ignore_errors=True)  # the client's own, for resuming
