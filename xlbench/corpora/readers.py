"""Parallel pairs from files: streamed, and strict about what a row is."""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING

from xlbench.errors import XlbenchError
from xlbench.kinds import Pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BATCH = 8192  # rows of a Parquet file in memory at a time


def read_tsv(path: Path, _language: str = "") -> Iterator[Pair]:
    """Yield the rows of a tab-separated file, ``.gz`` or plain; quotes are letters like any other.

    Raises:
        XlbenchError: A row has not exactly two columns or an empty one, or is not UTF-8, or the file is cut
            off or no gzip file.
    """
    with _open(path) as stream:
        for number, line in enumerate(_lines(stream, path), start=1):
            try:
                text = line.removeprefix(_BYTE_ORDER_MARK if number == 1 else b"").decode()
            except UnicodeDecodeError as error:
                raise XlbenchError(
                    f"{path}, line {number}: not UTF-8 (byte {error.object[error.start]:#04x}).",
                    "Convert the file, e.g. with iconv -t UTF-8.",
                ) from None
            columns = text.rstrip("\r\n").split("\t")
            if len(columns) != 2:
                raise XlbenchError(
                    f"{path}, line {number}: {len(columns)} columns instead of 2.",
                    "Each line is an English sentence, one tab and its translation.",
                )
            if not all(column.strip() for column in columns):
                side = "second" if columns[0].strip() else "first"
                raise XlbenchError(f"{path}, line {number}: the {side} column is empty.", "Fill it or remove the line.")
            yield Pair(*columns)


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    return path.open("rb")


def _lines(stream: Iterable[bytes], path: Path) -> Iterator[bytes]:
    number = 0
    try:
        for number, line in enumerate(stream, start=1):  # noqa: B007 - told in the error
            yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise XlbenchError(
            f"{path}: damaged or cut off after line {number} ({error}).", "Fetch the file again."
        ) from error


def read_parquet(path: Path, language: str) -> Iterator[Pair]:
    """Yield the rows of a Parquet file with columns english and non_english, or en and the language's code.

    Raises:
        XlbenchError: It is no Parquet file, lacks these columns, or a side is null, empty or no text.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            columns = _columns(file.schema_arrow.names, path, language)
            number = 0
            for batch in file.iter_batches(_BATCH, columns=columns):
                for english, other in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                    number += 1
                    if not all(isinstance(side, str) and side.strip() for side in (english, other)):
                        raise XlbenchError(
                            f"{path}, row {number}: a side is empty or no text.", "Fill it or remove the row."
                        )
                    yield Pair(english, other)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise XlbenchError(f"{path} is no sound Parquet file: {error}", "Fetch or write it again.") from error


def _columns(names: Sequence[str], path: Path, language: str) -> list[str]:
    for columns in (["english", "non_english"], ["en", language]):
        if set(columns) <= set(names):
            return columns
    raise XlbenchError(
        f"{path} has the columns {', '.join(names)}.",
        f"It needs english and non_english, or en and {language}.",
    )
