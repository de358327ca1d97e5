"""Model directories: what identifies one, whether loading it is safe, and loading it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xlbench.encoders.building import bounded_building
from xlbench.encoders.graph_runtimes import TOKENIZER, runtime_of
from xlbench.encoders.named_files import OTHER_BACKENDS
from xlbench.encoders.runtime import choose_device
from xlbench.encoders.weights import check_files, check_modules, checked_weights, module_folders
from xlbench.errors import XlbenchError, first_line, is_panic
from xlbench.fingerprint import Frozen, Json, file_digest, fingerprint
from xlbench.store import read_sealed, refuse_links, write_sealed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from xlbench.settings import Settings

WEIGHTS = ".safetensors"
MODEL_FILES = frozenset({WEIGHTS, ".json", ".txt", ".model"})  # weights, settings, vocabularies, SentencePiece
PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
MANIFEST = "entry.json"  # written by the store; its time stamp must not change a fingerprint
TRAINED_TOKENS = 128  # to which training cuts sentences, whatever an encoder reads
SMALL = 1 << 20  # bytes; hashing a smaller file costs less than remembering its digest


def directory_fingerprint(path: Path, settings: Settings) -> str:
    """Return what identifies a model: a hash of the names and contents of its files, whatever the directory's path.

    Raises:
        XlbenchError: The directory holds no model, or one with pickled weights only.
    """
    if (runtime := runtime_of(path)) is not None:
        chosen = [*sorted(path.glob(runtime.weights)), path / TOKENIZER]
    else:
        refuse_unsafe(path)
        chosen = model_files(path)
    files: dict[str, Json] = {
        file.relative_to(path).as_posix(): remembered_digest(file, settings.home) for file in chosen
    }
    facts: dict[str, Json] = {"directory": files}
    if settled := _pipeline_facts(path):
        facts["pipeline"] = settled
    return fingerprint(facts)


def _pipeline_facts(path: Path) -> dict[str, Json]:
    """Return what a directory declares that training once left out, or that made vectors depend on the batch.

    What was stored of such an encoder then is not taken from the store any more; of all others the keys stay.
    """
    saved = settings_in(path / "config_sentence_transformers.json")
    tokenizer = settings_in(path / "tokenizer_config.json")
    prompts = saved.get("prompts")
    prompt = prompts.get(str(saved.get("default_prompt_name"))) if isinstance(prompts, dict) else None
    lengths = (settings_in(path / "sentence_bert_config.json").get("max_seq_length"), tokenizer.get("model_max_length"))
    shortest = min((length for length in lengths if isinstance(length, int)), default=TRAINED_TOKENS)
    facts: dict[str, Json] = {
        "prompt": prompt or None,
        "width": saved.get("truncate_dim"),
        "padding": tokenizer.get("padding_side") if tokenizer.get("padding_side") == "left" else None,
        "tokens": shortest if shortest < TRAINED_TOKENS else None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def settings_in(file: Path) -> dict[str, Json]:
    """Return the settings in a JSON file; none where it is absent or invalid, which loading refuses."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def model_files(path: Path) -> list[Path]:
    """Return the files of a model directory that loading may read, sorted."""
    return [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix in MODEL_FILES and file.name != MANIFEST and file.is_file() and not _is_ignored(file, path)
    ]


def refuse_unsafe(path: Path) -> None:
    """Refuse a directory that holds no model, or weights that exist as pickles only.

    Raises:
        XlbenchError: It is such a directory; the remedy says how to convert pickles.
    """
    if not any((path / name).is_file() for name in ("modules.json", "config.json")):
        raise XlbenchError(
            f"'{path}' is not a model directory: it has neither modules.json nor config.json.",
            "Give a directory written by SentenceTransformer.save_pretrained or by transformers.",
        )
    for pattern in PICKLED:
        for file in sorted(path.rglob(pattern)):
            if not _is_ignored(file, path) and not any(file.parent.glob(f"*{WEIGHTS}")):
                raise XlbenchError(
                    f"'{file}' is a pickle, which may run code when loaded; xlbench reads safetensors only.",
                    "If you trust it, convert it once: "
                    f"python -c \"from sentence_transformers import SentenceTransformer as S; S('{path}')"
                    ".save_pretrained('CONVERTED')\" and give CONVERTED.",
                )
    if not any(not _is_ignored(file, path) for file in path.rglob(f"*{WEIGHTS}")):
        raise XlbenchError(
            f"'{path}' holds no weights: there is no {WEIGHTS} file.",
            "Was its download interrupted? Fetch it again.",
        )


def load_directory(path: Path, settings: Settings) -> SentenceTransformer:
    """Load a model directory in float32 on the chosen device, in evaluation mode.

    Args:
        path: A SentenceTransformer directory, or a transformers one, to which mean pooling is added.
        settings: Choose the device.

    Raises:
        XlbenchError: The model cannot be loaded, or needs code from its directory.
    """
    return open_directory(path, choose_device(settings))


def open_directory(path: Path, device: str) -> SentenceTransformer:
    """Load a model directory in float32 on a device, in evaluation mode; every way to an encoder leads through here.

    Sentences are cut where the encoder's positions end, if its settings allow longer ones.

    Raises:
        XlbenchError: A file is damaged or absent; a tensor is missing, has no place or another shape; there is no
            tokenizer, or it is another encoder's; the vectors are not what its modules declare; code would be run.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer

    from xlbench.encoders.verify import check_pooler, check_tokenizer, check_vectors, fit_tokens

    refuse_unsafe(path)
    files = model_files(path)
    check_files(path, files)
    folders = module_folders(path)
    try:
        with quiet_transformers(), bounded_building(path, files), checked_weights() as absent:
            model = SentenceTransformer(
                str(path),
                device=device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
    except XlbenchError:
        raise
    except BaseException as error:  # whatever a library makes of another program's files
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise XlbenchError(
            f"The encoder in '{path}' cannot be loaded: {first_line(error)}",
            "xlbench loads SentenceTransformer or transformers directories with safetensors weights, and runs no code "
            "from them.",
        ) from error
    check_modules(model, path)
    first = next(iter(model.children()), None)
    if isinstance(first, Transformer):
        folder = path / (folders[0] if folders else "")
        check_tokenizer(first, folder)
        check_pooler(first, tuple(name for it in absent for name in it.names), folder)
    fit_tokens(model, str(path))
    model.float().eval()
    check_vectors(model, str(path))
    return model


class Remembered(Frozen):
    """A digest that the store remembers, and what identifies the file that has it."""

    file: str
    sha256: str


def remembered_digest(path: Path, home: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, without reading it again if it has not changed since.

    Args:
        path: The file.
        home: The store, which remembers digests by path, size and times of the last change.
    """
    stat = path.stat()
    if stat.st_size < SMALL:
        return file_digest(path)
    # The modification time alone would not do: archives and `cp -p` set it to an older one. The inode's change time
    # cannot be set.
    identity: Json = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    remembered = home / "digests" / fingerprint(identity)
    refuse_links(home, "digests")
    known = read_sealed(remembered, Remembered)
    if known is None or known.file != remembered.name:
        known = Remembered(file=remembered.name, sha256=file_digest(path))
        write_sealed(remembered, known)
    return known.sha256


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars and warnings while it reads or writes weights.

    Its report of tensors that it could not place is not lost: :func:`~xlbench.encoders.weights.checked_weights` reads
    it.
    """
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


def _is_ignored(file: Path, root: Path) -> bool:
    """Return whether loading never reads a file: it is hidden, or in the folder of another backend."""
    folders = file.relative_to(root).parts[:-1]
    return file.name.startswith(".") or any(folder.startswith(".") or folder in OTHER_BACKENDS for folder in folders)
