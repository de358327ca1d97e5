"""The files that a model directory's own settings name: each must be one that its fingerprint covers.

A file that lies elsewhere could change while the encoder's key, and with it every stored score, stayed the same.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
OTHER_BACKENDS = frozenset({"onnx", "openvino"})  # folders of hub models that loading here never reads
ADAPTER = "adapter_config.json"
ROUTER = "router_config.json"  # of a Router, whose settings name folders of modules
COPY = "Copy it into the directory, as a file and not as a link, and name it by its place there."


def check_named(file: Path, content: object, path: Path, covered: Collection[Path]) -> None:
    """Refuse settings that have a library read what the fingerprint of their directory does not cover.

    Args:
        file: A JSON file of settings.
        content: What it holds.
        path: The model directory.
        covered: The files of the directory that its fingerprint covers; the hub cache's links into its blobs are
            among them, since their content is hashed.

    Raises:
        XlbenchError: It names a file or a folder that lies elsewhere, is an adapter to an encoder that does, or names
            other weights than those that are checked.
    """
    if file.name == ADAPTER:
        raise XlbenchError(
            f"'{file}' is that of an adapter, whose encoder lies elsewhere.",
            "Merge the two (merge_and_unload) and save the encoder that results.",
        )
    if not isinstance(content, dict):
        return
    if file.name == ROUTER and isinstance(content.get("types"), dict):
        check_folders(file, [str(it) for it in content["types"]], path)
    usual = WHOLE if file.parent / WHOLE in covered else INDEX
    if file.name == "config.json" and (weights := content.get("transformers_weights")) not in (None, usual):
        raise XlbenchError(
            f"'{file}' says that the weights are in {weights!r} (transformers_weights), and xlbench reads {usual}.",
            "Save the encoder with save_pretrained, or leave transformers_weights out.",
        )
    if file.name.startswith("sentence_") and (name := _named_elsewhere(content)):
        raise XlbenchError(
            f"'{file}' sets {name}, which has other files read than those beside it.",
            "Put the tokenizer into the directory and leave that out.",
        )


def _named_elsewhere(settings: Mapping[str, object]) -> str | None:
    """Return the first setting that tells sentence-transformers which files to read, other than the usual ones."""
    for key, value in settings.items():
        if isinstance(value, dict):
            if found := _named_elsewhere(value):
                return found
        elif value and str(key).endswith(("name_or_path", "_file")):
            return str(key)
    return None


def check_shards(index: Path, shards: Iterable[str], covered: Collection[Path]) -> None:
    """Refuse shards that are there, but that the fingerprint of the directory does not cover.

    Raises:
        XlbenchError: Names the first one.
    """
    for shard in shards:
        if index.parent / shard not in covered:
            raise XlbenchError(f"'{index}' names '{shard}', which does not lie in that directory.", COPY)


def check_folders(file: Path, folders: Sequence[str], path: Path) -> None:
    """Refuse folders of modules that lie elsewhere: absolute, above, behind a link or where no file is looked for.

    Args:
        file: Names them, relative to its own directory.
        folders: Their names; '' for the directory itself.
        path: The model directory.

    Raises:
        XlbenchError: Names the first one.
    """
    for folder in folders:
        parts = PurePosixPath(folder.replace("\\", "/")).parts
        places = [file.parent.joinpath(*parts[: count + 1]) for count in range(len(parts))]
        strange = any(part.startswith(".") or part in OTHER_BACKENDS for part in parts)
        if strange or any(it.is_symlink() or not it.is_relative_to(path) for it in places):
            raise XlbenchError(f"'{file}' names the folder '{folder}', which does not lie in that directory.", COPY)
