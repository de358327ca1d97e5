"""SHA-256 of files, remembered in the store so that a warm start does not read 90 MB again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from xlbench.encoders.runtime import choose_device
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Json, file_digest, fingerprint
from xlbench.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.settings import Settings


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
    """Return whether a file lies where no loading evaluations: hidden, or another backend's."""
    folders = file.relative_to(root).parts[:-1]
    return file.name.startswith(".") or any(folder.startswith(".") or folder in OTHER_BACKENDS for folder in folders)


def load_directory(path: Path, settings: Settings) -> SentenceTransformer:
    """Load a model directory in float32 on the chosen device, in evaluation mode.

    Args:
        path: A SentenceTransformer directory, or a transformers one (mean pooling is then added).
        settings: Chooses the device.

    Raises:
        XlbenchError: It cannot be loaded, or would need code of its own.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    device = choose_device(settings)
    try:
        with quiet_transformers():
            model = SentenceTransformer(
                str(path),
                device=device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, AttributeError, TypeError) as error:
        # What the libraries say runs over many lines; the first one names the cause.
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise XlbenchError(
            f"The encoder in '{path}' cannot be loaded: {cause}",
            "xlbench loads SentenceTransformer or transformers directories with safetensors weights and "
            "without code of their own.",
        ) from error
    return model.eval()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from drawing bars for the second that it reads or writes weights, and from remarks."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
