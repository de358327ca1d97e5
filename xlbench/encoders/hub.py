"""Encoders on the Hugging Face hub: pinned to a commit, and fetched without pickles or code."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError, first_line
from xlbench.progress import progress
from xlbench.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xlbench.settings import Settings

# Pickles and code are not fetched, so that they cannot run.
WANTED = ["*.safetensors", "*.json", "*.txt", "*.model"]
UNWANTED = ["onnx/*", "openvino/*"]


def resolve_commit(name: str, settings: Settings, hint: str) -> str:
    """Return the commit of a hub model's main branch; offline, the one that was fetched last.

    Args:
        name: 'org/name'.
        settings: Whether to stay offline.
        hint: Proposes valid names; the remedy for a name that the hub does not know.

    Raises:
        XlbenchError: The hub has no such model or asks for its terms to be accepted; the hub cannot be asked and
            nothing was fetched before; or the model has no safetensors weights.
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
            info = HfApi().model_info(name)
        except GatedRepoError as error:
            raise XlbenchError(
                f"Model '{name}' on the hub is gated: its terms must be accepted first.",
                "Accept them on its page and log in (hf auth login), "
                f"or put it under the data root ({_command(name)}).",
            ) from error
        except RepositoryNotFoundError as error:
            raise XlbenchError(f"The hub has no model '{name}', or it is private.", hint) from error
        except Exception as error:  # noqa: BLE001 - the client's network errors share no base class
            problem = f"The hub cannot be reached for encoder '{name}': {first_line(error)}"
        else:
            if not any(file.rfilename.endswith(".safetensors") for file in info.siblings or ()):
                raise XlbenchError(
                    f"Hub model '{name}' has no safetensors weights, and xlbench reads no pickles.",
                    "Choose another model, or convert it if you trust it and give its directory.",
                )
            assert info.sha is not None
            write_atomically(_remembered_commit(name, settings), info.sha)
            return info.sha
    remembered = _remembered_commit(name, settings)
    try:
        # The client itself remembers under "main" what was fetched last, by this or another program.
        revision = remembered.read_text("ascii") if remembered.exists() else "main"
        return _snapshot(name, revision, settings, offline=True).name
    except LocalEntryNotFoundError as error:
        raise XlbenchError(problem, f"Put it under the data root ({_command(name)}), or give a directory.") from error


def fetch_snapshot(name: str, commit: str, settings: Settings) -> Path:
    """Return the directory of a hub model at a commit, fetching what is missing of it.

    Raises:
        XlbenchError: It cannot be fetched.
    """
    try:
        return _snapshot(name, commit, settings, offline=settings.offline)
    except Exception as error:  # the client's network errors share no base class
        raise XlbenchError(
            f"Encoder '{name}' at commit {commit[:12]} cannot be fetched: {first_line(error)}",
            f"Try again with a network, or put it under the data root ({_command(name)}).",
        ) from error


def _snapshot(name: str, revision: str, settings: Settings, *, offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    fetching = progress(f"fetching encoder {name}", None, quiet=settings.quiet)
    with bars_unless_quiet(quiet=settings.quiet), fetching:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                local_files_only=offline,
                allow_patterns=WANTED,
                ignore_patterns=UNWANTED,
            )
        )


@contextmanager
def bars_unless_quiet(*, quiet: bool) -> Iterator[None]:
    """Turn the bars of the hub's client off where nothing is to be shown, and leave them as they were.

    In a terminal and in a notebook it shows bars of its own, with time left.
    """
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    shown = not are_progress_bars_disabled()
    if quiet:
        disable_progress_bars()
    try:
        yield
    finally:
        if quiet and shown:
            enable_progress_bars()


def _remembered_commit(name: str, settings: Settings) -> Path:
    """Return the file that holds the last seen commit of the main branch, for when the hub cannot be asked."""
    return settings.home / "hub" / f"{name.replace('/', '--')}.commit"


def _command(name: str) -> str:
    return f"hf download {name} --local-dir DATA_ROOT/models/{name}"
