"""Which files of a directory go to a hub, and which directories do not: with pickles, without a card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.encoders.directories import settings_in
from xlbench.errors import XlbenchError
from xlbench.exports.card import CARD
from xlbench.students.carried_code import CODE, code
from xlbench.students.load import PICKLES

if TYPE_CHECKING:
    from pathlib import Path


MORE_PICKLES = frozenset({".pickle", ".joblib", ".npy"})
OPENVINO_WEIGHTS = "openvino_model.bin"  # of an export: plain numbers, which OpenVINO reads by offsets


def files_to_push(directory: Path) -> dict[str, Path]:
    """Return the files of a directory by their names there, sorted; hidden ones stay at home.

    Raises:
        XlbenchError: There is no such directory, it has no model card, a file is a link or may be a pickle, or the code
            of the architecture is not xlbench's.
    """
    if not directory.is_dir():
        raise XlbenchError(
            f"There is no directory '{directory}'.", "Name one that `xlbench run --save` or `xlbench export` made."
        )
    found: dict[str, Path] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if any(part.startswith(".") for part in name.parts):
            continue
        if path.is_symlink():
            raise XlbenchError(f"'{path}' is a link, and only files are pushed.", "Put a copy of the file there.")
        if not path.is_file():
            continue
        if path.suffix in PICKLES | MORE_PICKLES and name.as_posix() != OPENVINO_WEIGHTS:
            raise XlbenchError(
                f"'{path}' may be a pickle, which can run code when it is loaded; none is pushed.",
                "Keep the weights as safetensors, and move this file elsewhere.",
            )
        found[name.as_posix()] = path
    _check_card(directory, found)
    if CODE in found and found[CODE].read_bytes() != code():
        raise XlbenchError(
            f"'{found[CODE]}' is not the code that this xlbench writes, and whoever trusts the student would run it.",
            "Save the student again, which writes it anew.",
        )
    if CODE not in found and "auto_map" in settings_in(directory / "config.json"):
        raise XlbenchError(
            f"'{directory / 'config.json'}' names code that is not there: {CODE}.",
            "Save the student again, which writes it anew.",
        )
    return found


def _check_card(directory: Path, found: dict[str, Path]) -> None:
    try:
        text = found[CARD].read_text("utf-8") if CARD in found else ""
    except ValueError as error:
        raise XlbenchError(f"The model card '{directory / CARD}' is not UTF-8.", "Save it as UTF-8.") from error
    if not text.strip():
        raise XlbenchError(
            f"'{directory}' has no model card ({CARD}), and nothing is pushed without one.",
            "Save or export the student again, which writes one, or write it yourself.",
        )
