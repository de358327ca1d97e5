"""Rows of a result in the formats of tables: TSV, Parquet and JSON, written a page at a time."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Protocol, TypeAlias

from xlbench.disk import disk_errors
from xlbench.errors import XlbenchError
from xlbench.store import publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd

Page: TypeAlias = "dict[str, list[str] | list[int] | list[float]]"
PAGE = 16_384  # rows in memory at a time
DIGITS = 6  # of a cosine or a margin in text


class Rows(Protocol):
    """A result of several columns."""

    def __len__(self) -> int: ...

    def page(self, start: int, stop: int) -> Page:
        """Return some rows, by column."""
        ...


def pages(rows: Rows) -> Iterator[Page]:
    """Yield all rows, some thousand at a time; at least one page, which names the columns."""
    for start in range(0, max(1, len(rows)), PAGE):
        yield rows.page(start, start + PAGE)


def to_dataframe(rows: Rows) -> pd.DataFrame:
    """Return all rows as a data frame."""
    import pandas as pd

    return pd.DataFrame(rows.page(0, len(rows)))


def tsv_lines(rows: Rows) -> Iterator[str]:
    """Yield a line of headings, then one for each row; tabs and line ends inside sentences become spaces."""
    for number, page in enumerate(pages(rows)):
        if not number:
            yield "\t".join(page)
        for cells in zip(*page.values(), strict=True):
            yield "\t".join(_cell(cell) for cell in cells)


def json_lines(rows: Rows) -> Iterator[str]:
    """Yield the lines of a JSON list with an object for each row, one a line."""
    yield "["
    left = len(rows)
    for page in pages(rows):
        for cells in zip(*page.values(), strict=True):
            left -= 1
            row = {
                name: round(cell, DIGITS) if isinstance(cell, float) else cell
                for name, cell in zip(page, cells, strict=True)
            }
            yield f" {json.dumps(row, ensure_ascii=False)}{',' if left else ''}"
    yield "]"


def write_rows(rows: Rows, path: Path) -> None:
    """Write rows to a file that is there whole or not at all, in the format that its name says.

    Raises:
        XlbenchError: The disk is full or cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with disk_errors(f"'{path.name}'", path.parent, resumes=False):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            FORMATS[path.suffix](rows, temporary)
            publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def check_rows_path(path: Path) -> None:
    """Refuse a name of a file that says no format.

    Raises:
        XlbenchError: It does not.
    """
    if path.suffix not in FORMATS:
        raise XlbenchError(f"'{path}' names no format of rows.", f"End it with {', '.join(FORMATS)}.")


def _cell(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.{DIGITS}f}"
    return " ".join(value.split()) if isinstance(value, str) else str(value)


def _write_parquet(rows: Rows, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    first = rows.page(0, 1) if len(rows) else rows.page(0, 0)
    kinds = {"cosine": pa.float32(), "margin": pa.float32(), "rank": pa.int32(), "line": pa.int64()}
    schema = pa.schema([(name, kinds.get(name.partition("_")[0], pa.string())) for name in first])
    with parquet.ParquetWriter(path, schema) as writer:
        for page in pages(rows):
            writer.write_table(pa.table(page, schema=schema))


def _text_writer(lines: Callable[[Rows], Iterator[str]]) -> Callable[[Rows, Path], None]:
    def write(rows: Rows, path: Path) -> None:
        with path.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as stream:
            stream.writelines(f"{line}\n" for line in lines(rows))

    return write


FORMATS: dict[str, Callable[[Rows, Path], None]] = {
    ".tsv": _text_writer(tsv_lines),
    ".parquet": _write_parquet,
    ".json": _text_writer(json_lines),
}
