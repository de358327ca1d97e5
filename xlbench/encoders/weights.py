"""The files of a model directory: whole, with every tensor that the encoder needs and none that it has no place for.

What transformers cannot find in the files it draws at random, and says so in a report that is muted elsewhere. An
encoder that is partly random has another score each time, so here such a directory is refused.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from xlbench.encoders.named_files import INDEX, WHOLE, check_folders, check_named, check_shards
from xlbench.encoders.same_tensor import refuse_two_of_one, two_of_one
from xlbench.errors import XlbenchError, first_line
from xlbench.experiment import MOST_LAYERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer
    from torch import nn
    from transformers import PreTrainedModel

LFS = b"version https://git-lfs"  # how a pointer begins that Git LFS leaves in the place of a file
SMALL = 1 << 20  # bytes; larger JSON files are tokenizers, which are read once, by their own library
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})  # safetensors' names of the types that hold a weight's own value
LENGTHS = ("max_seq_length", "model_max_length")  # settings of modules and tokenizers
POOLER = "pooler."  # its tensors; most sentence encoders are pooled otherwise and never read it
STUDENTS = "xlbench-"  # how the model type of a student begins
FETCH = "Fetch it again: its download, or the copy, was not finished."


def check_files(path: Path, files: Iterable[Path]) -> None:
    """Refuse files that are not whole, before any library reads them.

    Args:
        path: The model directory.
        files: Its files that loading may read.

    Raises:
        XlbenchError: A file is a pointer of Git LFS, cannot be read, is a shard's index whose shards are absent, or
            names one that is not among ``files``.
    """
    covered = frozenset(files)
    for file in sorted(covered):
        name = file.relative_to(path).as_posix()
        with file.open("rb") as stream:
            if stream.read(len(LFS)) == LFS:
                raise XlbenchError(
                    f"'{name}' in '{path}' is a pointer of Git LFS, not the file itself.",
                    "Run `git lfs pull` there, or fetch the model with `hf download`.",
                )
        if file.suffix == ".safetensors":
            tensor_types(file)
        elif file.suffix == ".json" and file.stat().st_size < SMALL:
            content = _read_json(file)
            _check_numbers(file, content)
            _check_repeats(file, content)
            check_named(file, content, path, covered)
            if file.name == INDEX and not (file.parent / WHOLE).is_file():
                _check_shards(file, content, covered)


def _read_json(file: Path) -> object:
    try:
        content: object = json.loads(file.read_text("utf-8"))
    except (ValueError, OSError, RecursionError) as error:  # text that is no UTF-8 is a ValueError too
        raise XlbenchError(f"'{file}' cannot be read: {first_line(error)}", FETCH) from error
    return content


def _check_numbers(file: Path, content: object) -> None:
    if not isinstance(content, dict):
        return
    width = content.get("truncate_dim")
    if width is not None and (isinstance(width, bool) or not isinstance(width, int) or width < 1):
        raise XlbenchError(
            f"'{file}' says that truncate_dim is {width!r}, which is no number of columns.",
            "Give a whole number above 0, or leave it out.",
        )
    for name in LENGTHS:
        length = content.get(name)
        if length is not None and (isinstance(length, bool) or not isinstance(length, int | float)):
            raise XlbenchError(
                f"'{file}' says that {name} is {length!r}, which is no number of tokens.",
                "Give a whole number, or leave it out.",
            )


def _check_repeats(file: Path, content: object) -> None:
    """Refuse a student whose layers run more often than any may: of this, its weights show nothing."""
    if not isinstance(content, dict) or not str(content.get("model_type")).startswith(STUDENTS):
        return
    repeats = content.get("repeats", 1)
    if isinstance(repeats, bool) or not isinstance(repeats, int) or not 1 <= repeats <= MOST_LAYERS:
        raise XlbenchError(
            f"'{file}' says that repeats is {repeats!r}, which is no number of times that layers may run.",
            f"Give a whole number from 1 to {MOST_LAYERS}, the one that the student was trained with.",
        )


def _check_shards(index: Path, content: object, covered: Collection[Path]) -> None:
    """Refuse an index that names files elsewhere or absent ones, or tensors that the named files lack."""
    placed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(placed, dict) or not placed:
        raise XlbenchError(f"'{index}' names no shard (it has no weight_map).", FETCH)
    shards = sorted({str(shard) for shard in placed.values()})
    check_shards(index, (shard for shard in shards if (index.parent / shard).is_file()), covered)
    if absent := [shard for shard in shards if not (index.parent / shard).is_file()]:
        raise XlbenchError(f"'{index}' names {_some(absent)}, which {_verb(absent)} not there.", FETCH)
    there = {shard: tensor_types(index.parent / shard) for shard in shards}
    if lost := sorted(name for name, shard in placed.items() if name not in there[shard]):
        raise XlbenchError(f"'{index}' names {_some(lost)}, which its shards do not hold.", FETCH)


def tensor_types(file: Path) -> dict[str, str]:
    """Return the type of each tensor of a safetensors file by its name, e.g. 'F32'; reads the file's header alone.

    Raises:
        XlbenchError: The file is cut off or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            return {name: str(opened.get_slice(name).get_dtype()) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise XlbenchError(f"The weights '{file}' cannot be read: {first_line(error)}", FETCH) from error


class Absent(NamedTuple):
    """Tensors that a transformers model reads and its files lack; all of a pooler, and set to zero."""

    model: PreTrainedModel
    names: tuple[str, ...]


@contextmanager
def checked_weights() -> Iterator[list[Absent]]:
    """Check what transformers could not place, for every model that it loads meanwhile.

    Yields:
        The poolers that were absent; whether something reads them is known once the whole encoder is built.

    Raises:
        XlbenchError: A tensor is missing, has no place, has another shape, or is stored in integers without a scale.
    """
    from transformers import PreTrainedModel

    absent: list[Absent] = []
    original = PreTrainedModel.__dict__["from_pretrained"]

    def load(cls: type[PreTrainedModel], /, source: str, *args: object, **kwargs: object) -> PreTrainedModel:
        # SentenceTransformer passes no such options on, because it expects the model alone.
        reporting = {**kwargs, "output_loading_info": True, "ignore_mismatched_sizes": True}
        model, report = original.__func__(cls, source, *args, **reporting)
        names = _check_report(model, report, _weight_files(source, kwargs.get("subfolder")))
        if names:
            absent.append(Absent(model, names))
        return model  # type: ignore[no-any-return]

    PreTrainedModel.from_pretrained = classmethod(load)  # type: ignore[assignment,method-assign]
    try:
        yield absent
    finally:
        PreTrainedModel.from_pretrained = original  # type: ignore[method-assign]


def _weight_files(source: str, folder: object) -> list[Path]:
    """Return the safetensors files that transformers read in a directory."""
    from pathlib import Path

    directory = Path(source, str(folder or ""))
    if (whole := directory / WHOLE).is_file():
        return [whole]
    if (index := directory / INDEX).is_file():
        content = _read_json(index)
        placed = content.get("weight_map") if isinstance(content, dict) else None
        return [directory / shard for shard in sorted({str(it) for it in (placed or {}).values()})]
    return sorted(directory.glob("*.safetensors"))


def _check_report(model: PreTrainedModel, report: Mapping[str, Any], files: Sequence[Path]) -> tuple[str, ...]:
    """Return the tensors of an absent pooler, after setting them to zero; refuse all else that has no place."""
    where = f"The weights in '{files[0].parent}'" if files else "The weights"
    missing: list[str] = sorted(report["missing_keys"])
    mismatched: list[tuple[str, Sequence[int], Sequence[int]]] = sorted(report["mismatched_keys"])
    held = {file: tensor_types(file) for file in files}
    stored = {name: kind for found in held.values() for name, kind in found.items()}
    refuse_two_of_one(model, held, where)
    unexpected = [name for name in sorted(report["unexpected_keys"]) if not _is_unread(name, model, stored)]
    if needed := [name for name in missing if not name.startswith(POOLER)]:
        compiled = any(name.startswith("_orig_mod.") for name in unexpected)
        also = f", and hold {_some(unexpected)} instead" if unexpected else ""
        raise XlbenchError(
            f"{where} lack {_some(needed)}{also}: these would be random.",
            "They were saved from a compiled model: save its _orig_mod instead."
            if compiled
            else "config.json and the weights must be of the same encoder; save or fetch both again.",
        )
    if unexpected:
        raise XlbenchError(
            f"{where} hold {_some(unexpected)}, for which config.json has no place.",
            "config.json and the weights must be of the same encoder; save or fetch both again.",
        )
    for name, there, wanted in mismatched:
        raise XlbenchError(
            f"{where} hold '{name}' of shape {list(there)}, but config.json wants {list(wanted)}.",
            "config.json and the weights must be of the same encoder; save or fetch both again.",
        )
    _refuse_integers(model, stored, where, model.base_model_prefix)
    _set_to_zero(model, missing)
    return tuple(missing)


def _is_unread(name: str, model: PreTrainedModel, stored: Iterable[str]) -> bool:
    """Return whether a tensor belongs to a head for another task, or to a pooler, which no sentence vector needs."""
    first, prefix = name.partition(".")[0], model.base_model_prefix
    if f"{first}." == POOLER:
        return True
    with_head = any(it.startswith(f"{prefix}.") for it in stored) or type(model).__name__ not in (
        model.config.architectures or [type(model).__name__]
    )
    return with_head and first != prefix and first not in dict(model.named_children())


def _set_to_zero(model: PreTrainedModel, names: Iterable[str]) -> None:
    """Give tensors that nothing reads one fixed value, so that what is saved with them is always the same."""
    import torch

    with torch.no_grad():
        for name in names:
            model.get_parameter(name).zero_()


def _refuse_integers(module: nn.Module, stored: Mapping[str, str], where: str, prefix: str = "") -> None:
    """Refuse integers, or floats of 8 bits, in the place of a float weight: without a scale they are other numbers."""
    floats = {name for name, tensor in module.state_dict().items() if tensor.is_floating_point()}
    for name, kind in stored.items():
        if kind not in FLOATS and name.removeprefix(f"{prefix}.") in floats:
            raise XlbenchError(
                f"{where} hold '{name}' as {kind}, where the encoder computes with floats.",
                "Save them as float32 or float16; xlbench's own 8-bit students come with the scale of each row.",
            )


def check_modules(model: SentenceTransformer, path: Path) -> None:
    """Refuse modules after the transformer whose weights are stored in another kind of number.

    Raises:
        XlbenchError: Names the tensor.
    """
    for module, folder in zip(model.children(), module_folders(path), strict=False):
        file = path / folder / WHOLE
        if getattr(module, "auto_model", None) is None and file.is_file():
            if {"embedding.weight", "embeddings"} <= set(tensor_types(file)):  # a static table's names, new and old
                raise two_of_one(f"The weights in '{file.parent}'", "embedding.weight", "embeddings")
            _refuse_integers(module, tensor_types(file), f"The weights in '{file.parent}'")
        for name, parameter in module.named_parameters():
            if not parameter.is_floating_point():
                raise XlbenchError(
                    f"The weights in '{file.parent}' hold '{name}' as {str(parameter.dtype).removeprefix('torch.')},"
                    " where the encoder computes with floats.",
                    "Save them as float32 or float16.",
                )


def module_folders(path: Path) -> list[str]:
    """Return the folder of each module of a model directory, relative to it; '' for the directory itself."""
    file = path / "modules.json"
    if not file.is_file():
        return [""]
    listed = _read_json(file)
    if not isinstance(listed, list) or not all(isinstance(it, dict) and "path" in it for it in listed):
        raise XlbenchError(f"'{file}' is no list of modules.", FETCH)
    folders = [str(it["path"]) for it in listed]
    check_folders(file, folders, path)
    return folders


def _some(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"'{names[0]}'{more}"


def _verb(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
