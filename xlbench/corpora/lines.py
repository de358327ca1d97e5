"""Lines of text files, plain or compressed: what is damaged, packed otherwise or endless is named with its place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import IO, TYPE_CHECKING

from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PACKED: dict[str, Callable[[Path], IO[bytes]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}  # type: ignore[dict-item]
OTHERWISE = frozenset({".zst", ".lz4", ".br", ".lzma", ".7z", ".zip", ".z", ".rar", ".tar", ".tgz"})
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_LINE = 1 << 24  # bytes; a file without line ends would be held whole, and one that is no text may be endless


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file without their ends, each with its number, from 1.

    Args:
        path: Plain text, or compressed as .gz, .bz2 or .xz.

    Raises:
        XlbenchError: It is compressed in another way, damaged or cut off; a line is not UTF-8, or has no end.
    """
    kind = path.suffix.lower()
    if kind in OTHERWISE:
        raise XlbenchError(f"'{path}' is packed as {kind}, which is not read.", "Unpack it, or pack it as .gz.")
    number = 0
    try:
        if kind in PACKED and path.stat().st_size == 0:
            raise EOFError("the file is empty")
        with PACKED.get(kind, _open)(path) as stream:
            while line := stream.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    raise XlbenchError(
                        f"{path}, line {number}: it has more than {LONGEST_LINE:,} bytes.",
                        "Write one sentence, or pair of sentences, on each line.",
                    )
                yield number, (line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line).decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise XlbenchError(
            f"{path}, line {number}: not UTF-8 (byte {error.object[error.start]:#04x}).",
            "Convert the file, e.g. with iconv -t UTF-8.",
        ) from None
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:  # a damaged archive has no number of the system's
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise XlbenchError(
            f"{path}: damaged or cut off after line {number} ({error}).", "Fetch the file again."
        ) from error


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")
