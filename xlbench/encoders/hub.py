"""Encoders on the Hugging Face hub: the commit pinned once, then safetensors and settings only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError
from xlbench.progress import progress
from xlbench.store import write_atomically

if TYPE_CHECKING:
    from xlbench.settings import Settings

# Neither pickles nor code: what is not fetched cannot run.
WANTED = ["*.safetensors", "*.json", "*.txt", "*.model"]
UNWANTED = ["onnx/*", "openvino/*"]


def resolve_commit(name: str, settings: Settings, hint: str) -> str:
    """Return the commit that a hub model's main branch is at; offline, the one that was fetched before.

    Args:
        name: 'org/name'.
        settings: Whether to stay offline.
        hint: A sentence on which names would be valid, for a name that the hub does not know.

    Raises:
        XlbenchError: The hub does not know it, keeps it locked, or cannot be asked and nothing was fetched
            before; or it has no safetensors weights.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise XlbenchError(f"Unknown encoder '{name}'.", hint) from None
    problem = f"Encoder '{name}' is not on this machine, and xlbench is offline."
    if not settings.offline:
        try:
            facts = HfApi().model_info(name)
        except GatedRepoError as error:
            raise XlbenchError(
                f"The hub gives '{name}' only to those who accepted its terms.",
                f"Accept them on its page and log in (hf auth login), {_lay_down(name)}.",
            ) from error
        except RepositoryNotFoundError as error:
            raise XlbenchError(f"The hub has no model '{name}', or keeps it private.", hint) from error
        except Exception as error:  # noqa: BLE001 - the client's network errors share no base class
            problem = f"The hub cannot be reached for encoder '{name}': {_first_line(error)}"
        else:
            if not any(file.rfilename.endswith(".safetensors") for file in facts.siblings or ()):
                raise XlbenchError(
                    f"Hub model '{name}' has no safetensors weights, and xlbench reads no pickles.",
                    "Choose another one, or convert it where you trust it and give the directory.",
                )
            assert facts.sha is not None
            write_atomically(_note(name, settings), facts.sha)
            return facts.sha
    note = _note(name, settings)
    try:
        # main is the client's own note of what was fetched, by this or another program.
        return _snapshot(name, note.read_text("ascii") if note.exists() else "main", settings, offline=True).name
    except LocalEntryNotFoundError as error:
        raise XlbenchError(problem, f"L{_lay_down(name)[1:]}, or give a directory.") from error


def fetch_snapshot(name: str, commit: str, settings: Settings) -> Path:
    """Return the directory of a hub model at a commit, fetching what is missing of it.

    Raises:
        XlbenchError: It cannot be fetched.
    """
    try:
        return _snapshot(name, commit, settings, offline=settings.offline)
    except Exception as error:  # the client's network errors share no base class
        raise XlbenchError(
            f"Encoder '{name}' at commit {commit[:12]} cannot be fetched: {_first_line(error)}",
            f"Try again with a network, or {_lay_down(name)}.",
        ) from error


def _snapshot(name: str, revision: str, settings: Settings, *, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    # In a terminal and in a notebook the client shows bars of its own, with time left.
    fetching = progress(f"fetching encoder {name}", None, quiet=settings.quiet)
    shown = not are_progress_bars_disabled()
    if settings.quiet:
        disable_progress_bars()
    try:
        with fetching:
            return Path(
                snapshot_download(
                    name,
                    revision=revision,
                    local_files_only=offline,
                    allow_patterns=WANTED,
                    ignore_patterns=UNWANTED,
                )
            )
    finally:
        if settings.quiet and shown:
            enable_progress_bars()


def _note(name: str, settings: Settings) -> Path:
    """Return where the commit that main was last seen at is noted, for when the hub cannot be asked."""
    return settings.home / "hub" / f"{name.replace('/', '--')}.commit"


def _lay_down(name: str) -> str:
    return f"lay it under the data root: hf download {name} --local-dir DATA_ROOT/models/{name}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
