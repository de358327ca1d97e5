"""Pushing a directory to a Hugging Face hub: in one commit, so that the repository has all of it or nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlbench._version import __version__
from xlbench.encoders.hub import bars_unless_quiet
from xlbench.errors import XlbenchError, first_line
from xlbench.exports.pushable import files_to_push
from xlbench.fingerprint import file_digest
from xlbench.progress import progress
from xlbench.students.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from huggingface_hub import HfApi, ModelInfo
    from huggingface_hub.hf_api import RepoSibling

    from xlbench.settings import Settings

OF_THE_HUB = frozenset({".gitattributes"})  # written by the hub itself
LOG_IN = "Log in with a token that may write (`hf auth login`), or set HF_TOKEN."


@dataclass(frozen=True)
class Pushed:
    """A directory on a hub, or with ``dry_run`` one that would be there.

    Attributes:
        repository: Its name, 'org/name'.
        url: Of its page.
        private: Whether only its members see it.
        files: Bytes of each file, by name.
        commit: Of the repository; None where nothing was sent.
    """

    repository: str
    url: str
    private: bool
    files: Mapping[str, int]
    commit: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def push_directory(
    directory: Path,
    repository: str,
    settings: Settings,
    *,
    private: bool = True,
    force: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Pushed:
    """Push a saved or exported encoder to a hub, as :func:`xlbench.push` does.

    Raises:
        XlbenchError: The directory is refused, the hub refuses or cannot be reached, or the repository has other files.
    """
    _check_name(repository)
    files = files_to_push(directory)
    if not dry_run:
        _require_access(settings)
    load(directory)  # refuses what is damaged
    sizes = {name: path.stat().st_size for name, path in files.items()}
    if dry_run:
        return Pushed(repository, _url(repository), private, sizes)
    try:
        with progress(f"pushing to {repository}", None, quiet=settings.quiet), bars_unless_quiet(quiet=settings.quiet):
            return _send(files, Pushed(repository, _url(repository), private, sizes), force=force, say=say)
    except XlbenchError:
        raise
    except Exception as error:
        raise _refusal(error, repository) from error


def _send(files: Mapping[str, Path], asked: Pushed, *, force: bool, say: Callable[[str], None]) -> Pushed:
    """Commit files to a repository, which is made if it is not there."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(library_name="xlbench", library_version=__version__)
    there = _repository(api, asked)
    others = {it.rfilename: it for it in there.siblings or () if it.rfilename not in OF_THE_HUB} if there else {}
    if there and others.keys() == files.keys() and all(_is_same(others[name], path) for name, path in files.items()):
        say(f"'{asked.repository}' has these files already; nothing was sent")
        return Pushed(asked.repository, asked.url, bool(there.private), asked.files)
    if others and not force:
        raise XlbenchError(
            f"'{asked.repository}' is on the hub already, with other files ({', '.join(sorted(others)[:3])} ...).",
            "Name another repository, or give --force to replace what it holds in a new commit.",
        )
    if there is None:
        api.create_repo(asked.repository, private=asked.private)
    commit = api.create_commit(
        asked.repository,
        [
            *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()),
            *(CommitOperationDelete(path_in_repo=name) for name in sorted(others.keys() - files.keys())),
        ],
        commit_message=f"Pushed with xlbench {__version__}",
        parent_commit=there.sha if there else None,  # what was looked at is what is replaced
    )
    private = asked.private if there is None else bool(there.private)
    return Pushed(asked.repository, asked.url, private, asked.files, commit.oid)


def _repository(api: HfApi, asked: Pushed) -> ModelInfo | None:
    """Return what the hub says of a repository; None if there is none.

    Raises:
        XlbenchError: Everybody sees it, and the push is to be private.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        found = api.model_info(asked.repository, files_metadata=True)
    except RepositoryNotFoundError:
        return None
    if asked.private and not found.private:
        raise XlbenchError(
            f"'{asked.repository}' is public on the hub, and this push is private.",
            "Give --public (in Python: private=False), or name another repository.",
        )
    return found


def _is_same(there: RepoSibling, path: Path) -> bool:
    """Return whether a file on the hub has the content of one here, by the digest that the hub keeps of it."""
    if there.size != path.stat().st_size:
        return False
    if there.lfs:
        return bool(there.lfs.sha256 == file_digest(path))
    content = path.read_bytes()
    # Git's name of a blob.
    return there.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _check_name(repository: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repository)
        valid = repository.count("/") == 1
    except HFValidationError:
        valid = False
    if not valid:
        raise XlbenchError(f"'{repository}' is no name of a repository.", "Write ORG/NAME, as in my-org/my-student.")


def _require_access(settings: Settings) -> None:
    """Refuse to push where the hub may not be asked, or does not know who asks."""
    from huggingface_hub import get_token

    if settings.offline:
        raise XlbenchError(
            "xlbench is offline (--offline or HF_HUB_OFFLINE), so that nothing can be pushed.",
            "Unset it, or give --dry-run to see what would be pushed.",
        )
    if get_token() is None:
        raise XlbenchError("There is no token of the hub on this machine.", LOG_IN)


def _url(repository: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repository}"


def _refusal(error: Exception, repository: str) -> XlbenchError:
    """Return what went wrong between here and the hub, with a remedy."""
    from huggingface_hub.errors import HfHubHTTPError

    organisation = repository.partition("/")[0]
    if not isinstance(error, HfHubHTTPError):
        if isinstance(error, ValueError) and "README.md" in str(error):
            return XlbenchError(
                f"The hub refuses the model card: {' '.join(str(error).split())}", "Correct its front matter."
            )
        return XlbenchError(
            f"The hub cannot be reached to push to '{repository}': {first_line(error)}",
            "Try again with a network; nothing or all of it was pushed.",
        )
    status = error.response.status_code
    known = {
        401: ("The hub does not accept the token of this machine.", LOG_IN),
        403: (
            f"The token of this machine may not write to '{repository}'.",
            f"Use a token with write permission, of a member of '{organisation}'.",
        ),
        404: (
            f"The hub does not find '{repository}', or hides it from this token.",
            f"Is '{organisation}' your user or an organisation that you are a member of?",
        ),
    }
    problem, remedy = known.get(
        status, (f"The hub refuses the push to '{repository}' ({status}): {first_line(error)}", "Try again later.")
    )
    return XlbenchError(problem, remedy)
