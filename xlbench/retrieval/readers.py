"""Sentences in files: one a line, a column of a tab-separated file, or a column of a Parquet file; streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.corpora.lines import PACKED, numbered_lines
from xlbench.corpora.starter import LANGUAGES, starter_items
from xlbench.errors import XlbenchError, look_up, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

STARTER = "starter"
BATCH = 8192  # rows of a Parquet file in memory at a time


def starter_sentences(reference: str) -> Iterator[str] | None:
    """Return the sentences of the starter kit's bitext task that a reference names; None for any other reference.

    Args:
        reference: 'starter' for all languages, one after another; 'starter:de' for one.

    Raises:
        XlbenchError: There is no such language.
    """
    scheme, _, language = reference.partition(":")
    if scheme != STARTER:
        return None
    languages: tuple[str, ...] = ("en", *LANGUAGES)
    if language:
        look_up("language of the starter sentences", language, dict.fromkeys(languages))
        languages = (language,)
    rows = starter_items("bitext")
    return (row.texts[code] for code in languages for row in rows)


def read_file(path: Path, column: str | None) -> Iterator[str]:
    """Yield the sentences of a file, in order.

    Args:
        path: A Parquet file; or text, plain or compressed as .gz, .bz2 or .xz.
        column: Which column: its name, which then heads the first line of a text, or its number, from 1. None: the
            whole line, or a Parquet file's only column of text.

    Raises:
        XlbenchError: There is no such file or column; a sentence is empty or not UTF-8; the file is damaged.
    """
    if not path.exists():
        raise XlbenchError(
            f"There is no file '{path}'.",
            "Give a text, TSV or Parquet file, 'starter', or in Python a list of sentences.",
        )
    if path.is_dir():
        raise XlbenchError(f"'{path}' is a directory.", "Give a text, TSV or Parquet file.")
    suffixes = [it.lower() for it in path.suffixes]
    kind = next((it for it in reversed(suffixes) if it not in PACKED), "")
    if kind == ".csv":
        raise XlbenchError(f"'{path}': CSV is not read.", "Convert it to TSV (.tsv) or Parquet.")
    return _parquet(path, column) if kind == ".parquet" else _text(path, column, is_tsv=kind == ".tsv")


def _text(path: Path, column: str | None, *, is_tsv: bool) -> Iterator[str]:
    """Yield the sentences of a text file: its lines, or one of their columns."""
    lines = (line for _, line in numbered_lines(path))
    place = None
    if column is not None:
        if column.isdecimal() and int(column) == 0:
            raise XlbenchError(f"{path}: there is no column {column}.", "Columns are numbered from 1.")
        place = int(column) - 1 if column.isdecimal() else _place(next(lines, ""), column, path)
    for number, line in enumerate(lines, start=1 if column is None or column.isdecimal() else 2):
        cells = line.split("\t") if place is not None or is_tsv else [line]
        if place is None and len(cells) > 1:
            raise XlbenchError(
                f"{path}, line {number}: {len(cells)} columns, and none is chosen.",
                "Name one: --column 1, or its heading in the first line (in Python: column=1).",
            )
        if len(cells) <= (place or 0):
            raise XlbenchError(
                f"{path}, line {number}: there is no column {column}, only {len(cells)}.",
                "Columns are separated by tabs and numbered from 1.",
            )
        yield _required(cells[place or 0], path, "line", number)


def _place(heading: str, column: str, path: Path) -> int:
    """Return the position of a column that the first line names."""
    names = heading.split("\t")
    if column not in names:
        raise XlbenchError(f"{path} has no column '{column}' in its first line.", nearest(column, names))
    if names.count(column) > 1:
        raise XlbenchError(
            f"{path} has the column '{column}' {names.count(column)} times.", "Choose one by its number, from 1."
        )
    return names.index(column)


def _parquet(path: Path, column: str | None) -> Iterator[str]:
    """Yield the sentences of a column of a Parquet file, some thousand rows in memory at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            texts = [field.name for field in schema if pa.types.is_string(field.type) or _is_large(field.type)]
            name = _parquet_column(schema.names, texts, column, path)
            number = 0
            for batch in file.iter_batches(BATCH, columns=[name]):
                for text in batch.column(0).to_pylist():
                    number += 1
                    yield _required(text if isinstance(text, str) else "", path, "row", number)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise XlbenchError(f"{path} is not a valid Parquet file: {error}", "Fetch or write it again.") from error


def _is_large(kind: object) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _parquet_column(names: Sequence[str], texts: Sequence[str], column: str | None, path: Path) -> str:
    """Return the name of the column to read."""
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise XlbenchError(f"{path} has the column '{twice}' {names.count(twice)} times.", "Keep one of them.")
    if column is None:
        if len(texts) != 1:
            raise XlbenchError(
                f"{path} has {len(texts)} columns of text.", f"Name one with --column: {', '.join(texts or names)}."
            )
        return texts[0]
    if column not in names and column.isdecimal() and 1 <= int(column) <= len(names):
        return names[int(column) - 1]
    if column not in names:
        raise XlbenchError(f"{path} has no column '{column}'.", nearest(column, names))
    return column


def _required(text: str, path: Path, noun: str, number: int) -> str:
    if not text.strip():
        raise XlbenchError(f"{path}, {noun} {number}: it holds no sentence.", f"Fill it or remove the {noun}.")
    return text
