"""The formats that an encoder can be exported to, by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from xlbench.encoders.graph_runtimes import ONNX, OPENVINO
from xlbench.errors import look_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer


class Format(Protocol):
    """A format; each is a module of this room that has these names.

    Attributes:
        SUMMARY: One sentence for the card of an export.
        LIBRARY: What loads it, as the hub names it.
        TOLERANCE: The largest difference of one number of a vector that counts as equal; None where vectors change.
        LOSS: The largest mean of 1 - cosine, over the sentences of one language, of an export that is not refused.
    """

    SUMMARY: str
    LIBRARY: str
    TOLERANCE: float | None
    LOSS: float

    def write(self, model: SentenceTransformer, directory: Path, sentences: Sequence[str]) -> None:
        """Write the encoder.

        Args:
            model: On the CPU.
            directory: Exists, and is empty.
            sentences: Of the languages that it is for, for whatever is chosen by measurement.

        Raises:
            XlbenchError: The format cannot hold this encoder.
        """
        ...

    def usage(self) -> str:
        """Return a Python script that encodes two sentences with the files of the directory that it is run in."""
        ...


FORMATS = {
    "stock": "xlbench.exports.stock",
    "onnx": "xlbench.exports.onnx_float32",
    "onnx-int8": "xlbench.exports.onnx_int8",
    "openvino-int8": "xlbench.exports.openvino_int8",
}
RESULTS = "mteb-results"  # the scores of a run and not its encoder: xlbench.exports.mteb_results
NEEDED = {  # of each, what runs it, and packages to write and run it
    "onnx": (ONNX, ("onnx", "onnxruntime")),
    "onnx-int8": (ONNX, ("onnx", "onnxruntime")),
    "openvino-int8": (OPENVINO, ("onnx", "openvino", "nncf")),
}


def check_format(name: str) -> None:
    """Refuse an unknown format, and one that lacks a package.

    Raises:
        XlbenchError: There is none of that name, or a package that it needs is not installed.
    """
    look_up("format", name, FORMATS)
    if name in NEEDED:
        runtime, packages = NEEDED[name]
        runtime.require(packages, f"To export to '{name}'")


def find_format(name: str) -> Format:
    """Return a format.

    Raises:
        XlbenchError: As :func:`check_format` says.
    """
    check_format(name)
    return cast("Format", import_module(FORMATS[name]))
