"""Encoders by name: registered by a plugin, in a local directory, under the data root, or on the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.encoders.directories import directory_fingerprint, load_directory, quiet_transformers
from xlbench.encoders.graph_runtimes import is_exported
from xlbench.errors import XlbenchError, look_up, nearest
from xlbench.experiment import EncoderRef
from xlbench.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sentence_transformers import SentenceTransformer

    from xlbench.settings import Settings

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")  # org/name, exactly one slash


@dataclass(frozen=True)
class RegisteredEncoder:
    """An encoder that a plugin brings under a name.

    Attributes:
        name: What ``--teacher`` and ``--assistant`` take.
        summary: One line for listings.
        fingerprint: Returns what identifies the weights. It must be quick: load no weights, import no torch.
        load: Returns the encoder as a SentenceTransformer.
        notes: What readers of scores must know (licence, training data).
        license: Of the weights, as model cards write it, e.g. 'mit'; empty where it is not known.
        published: Where the weights are on the hub, 'org/name'; empty where they are not.
        optional: Whether `xlbench doctor` takes no offence at its absence.
    """

    name: str
    summary: str
    fingerprint: Callable[[Settings], str]
    load: Callable[[Settings], SentenceTransformer]
    notes: str = field(default="")
    license: str = field(default="")
    published: str = field(default="")
    optional: bool = field(default=False)


def find_encoder(name: str, registered: Mapping[str, RegisteredEncoder], settings: Settings) -> EncoderRef:
    """Find an encoder and pin its weights by their fingerprint, without loading them or importing torch.

    A name is looked up in this order: registered encoders; directories, and their copies in a
    bundle; ``<data root>/models/<org>/<name>``; the hub.

    Args:
        name: A registered name, a path, or 'org/name'.
        registered: The encoders of plugins, by name.
        settings: The data root, the store (which remembers digests), and whether to stay offline.

    Raises:
        XlbenchError: There is no such encoder, or it is unsafe to load.
    """
    if name in registered:
        return EncoderRef(name=name, origin="registered", fingerprint=registered[name].fingerprint(settings))
    if directory := find_directory(name, settings):
        return EncoderRef(name=name, origin="local", fingerprint=directory_fingerprint(directory, settings))
    path = _expand(name)
    hint = _suggest(name, registered, settings)
    if path.is_file():
        raise XlbenchError(f"Encoder '{name}' is a file, not a model directory.", hint)
    if not HUB_NAME.fullmatch(name) or name.startswith("."):
        raise XlbenchError(f"Unknown encoder '{name}'.", hint)
    if copy := settings.local("models", name):
        return EncoderRef(name=name, origin="data-root", fingerprint=directory_fingerprint(copy, settings))
    from xlbench.encoders.hub import resolve_commit

    commit = resolve_commit(name, settings, hint)
    return EncoderRef(name=name, origin="hub", fingerprint=_hub_fingerprint(name, commit), revision=commit)


def load_encoder(
    ref: EncoderRef, registered: Mapping[str, RegisteredEncoder], settings: Settings
) -> SentenceTransformer:
    """Load exactly the weights that :func:`find_encoder` found, in float32, in evaluation mode.

    Raises:
        XlbenchError: The encoder is gone, has changed, or needs code from its directory.
    """
    from xlbench.encoders.verify import check_vectors, fit_tokens

    if ref.origin == "registered":
        encoder = look_up("encoder", ref.name, registered)
        _check_unchanged(ref, encoder.fingerprint(settings))
        with quiet_transformers():  # a plugin's loading need not draw bars
            model = encoder.load(settings)
        fit_tokens(model, encoder.name)
        check_vectors(model.eval(), encoder.name)
        return model
    if ref.origin == "hub":
        from xlbench.encoders.hub import fetch_snapshot

        assert ref.revision is not None
        return load_path(fetch_snapshot(ref.name, ref.revision, settings), settings)
    path = find_directory(ref.name, settings) if ref.origin == "local" else settings.local("models", ref.name)
    if path is None:
        raise XlbenchError(
            f"Encoder '{ref.name}' is no longer there ({ref.origin}).",
            "Run from the same directory with the same data root, or give its full path.",
        )
    _check_unchanged(ref, directory_fingerprint(path, settings))
    return load_path(path, settings)


def load_path(path: Path, settings: Settings) -> SentenceTransformer:
    """Load a directory in evaluation mode: a model, in float32 on the chosen device, or an exported encoder.

    Raises:
        XlbenchError: It cannot be loaded, or needs code from its directory.
    """
    if is_exported(path):
        from xlbench.encoders.exported import load_exported

        return load_exported(path, settings.threads)
    return load_directory(path, settings)


def find_directory(name: str, settings: Settings) -> Path | None:
    """Return the directory that a name is the path of, or the copy of it in a bundle; None if there is neither."""
    if name and (path := _expand(name)).is_dir():
        return path
    copy = settings.carried(name)
    return copy if copy and copy.is_dir() else None


def _expand(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # '~name' without such a user
        return Path(name)


def _check_unchanged(ref: EncoderRef, found: str) -> None:
    if found != ref.fingerprint:
        raise XlbenchError(
            f"Encoder '{ref.name}' has changed: its fingerprint was {ref.fingerprint} and is {found}.",
            "Start the experiment again with the encoder as it is now.",
        )


def _hub_fingerprint(name: str, commit: str) -> str:
    return fingerprint({"hub": f"{name}@{commit}"})


def _suggest(name: str, registered: Mapping[str, RegisteredEncoder], settings: Settings) -> str:
    copies = settings.data_root.glob("models/*/*") if settings.data_root else ()
    names = [*registered, *(f"{path.parent.name}/{path.name}" for path in copies if path.is_dir())]
    return f"{nearest(name, names)} Or give a directory, or a hub model as org/name."
