"""Model directories: what identifies one, and which are refused before anything of them is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.encoders.digests import remembered_digest
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Json, fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.settings import Settings

WEIGHTS = ".safetensors"
MODEL_FILES = frozenset({WEIGHTS, ".json", ".txt", ".model"})  # weights, settings, vocabularies, SentencePiece
PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
OTHER_BACKENDS = frozenset({"onnx", "openvino"})  # what hub directories hold beside, and nobody reads here
MANIFEST = "entry.json"  # the store's, which says when an entry was made


def directory_fingerprint(path: Path, settings: Settings) -> str:
    """Return what identifies a model directory: names and bytes of its model files, wherever it lies.

    Raises:
        XlbenchError: It holds no model, or one with pickled weights only.
    """
    refuse_unsafe(path)
    files: dict[str, Json] = {
        file.relative_to(path).as_posix(): remembered_digest(file, settings.home) for file in model_files(path)
    }
    return fingerprint({"directory": files})


def model_files(path: Path) -> list[Path]:
    """Return the files of a model directory that loading may read, sorted."""
    return [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix in MODEL_FILES and file.name != MANIFEST and file.is_file() and not _apart(file, path)
    ]


def refuse_unsafe(path: Path) -> None:
    """Refuse a directory that is no model's, or some of whose weights exist as pickles only.

    Raises:
        XlbenchError: With the remedy.
    """
    if not any((path / name).is_file() for name in ("modules.json", "config.json")):
        raise XlbenchError(
            f"'{path}' is no model directory: it has neither modules.json nor config.json.",
            "Give a directory written by SentenceTransformer.save_pretrained or by transformers.",
        )
    for pattern in PICKLED:
        for file in sorted(path.rglob(pattern)):
            if not _apart(file, path) and not any(file.parent.glob(f"*{WEIGHTS}")):
                raise XlbenchError(
                    f"'{file}' is a pickle, which may run code when loaded; xlbench reads safetensors only.",
                    "If you trust it, convert it once: "
                    f"python -c \"from sentence_transformers import SentenceTransformer as S; S('{path}')"
                    ".save_pretrained('CONVERTED')\" and give CONVERTED.",
                )
    if not any(not _apart(file, path) for file in path.rglob(f"*{WEIGHTS}")):
        raise XlbenchError(
            f"'{path}' holds no weights: there is no {WEIGHTS} file.",
            "Was its download interrupted? Fetch it again.",
        )


def _apart(file: Path, root: Path) -> bool:
    """Return whether a file lies where no loading looks: hidden, or another backend's."""
    folders = file.relative_to(root).parts[:-1]
    return file.name.startswith(".") or any(folder.startswith(".") or folder in OTHER_BACKENDS for folder in folders)
