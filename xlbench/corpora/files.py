"""Corpora in local files, tab-separated or Parquet: found, streamed, and every row checked."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.corpora.corpus import LANGUAGE, Pair
from xlbench.corpora.lines import numbered_lines
from xlbench.corpora.names import unread_files, wanted
from xlbench.disk import require_regular
from xlbench.errors import XlbenchError
from xlbench.fingerprint import file_digest
from xlbench.settings import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from xlbench.settings import Settings

_TSV = re.compile(rf"en-({LANGUAGE.pattern})\.tsv(\.gz)?")
_PARQUET = re.compile(rf"en-({LANGUAGE.pattern})\.parquet")
_PARQUET_DIRECTORY = re.compile(rf"en-({LANGUAGE.pattern})")
_BATCH = 8192  # rows of a Parquet file in memory at a time


@dataclass(frozen=True)
class FileCorpus:
    """A corpus whose languages lie in files of their own.

    Attributes:
        files: The files of each language.
        read: Yields the pairs of one file, given its path and language.
        note: What readers of scores must know.
        notices: Which files beside those look like a corpus and are not read.
    """

    files: Mapping[str, Sequence[Path]]
    read: Callable[[Path, str], Iterator[Pair]]
    note: str = field(default="")
    notices: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the languages and the bytes of their files.

        Raises:
            XlbenchError: A file cannot be read.
        """
        total = hashlib.sha256()
        for language in self.languages():
            for path in self.files[language]:
                require_regular(path)
                try:
                    total.update(f"{language} {file_digest(path)}\n".encode())
                except OSError as error:
                    raise XlbenchError(
                        f"'{path}' cannot be read: {error.strerror}.",
                        "Check that it is a file and that you may read it.",
                    ) from error
        return total.hexdigest()

    def languages(self) -> tuple[str, ...]:
        """Return the codes of the non-English sides, sorted."""
        return tuple(sorted(self.files))

    def pairs(self, language: str) -> Iterator[Pair]:
        """Yield the pairs of one of :meth:`languages`, file by file.

        Raises:
            XlbenchError: A row or a file is malformed; the message names file and line.
        """
        for path in self.files[language]:
            yield from self.read(path, language)


def open_tsv(argument: str, settings: Settings) -> FileCorpus:
    """Open a file en-xx.tsv or en-xx.tsv.gz (English, tab, translation; no header), or a directory of them.

    Raises:
        XlbenchError: There is no such file, or its name does not contain its language.
    """
    path = find_path(_require_argument(argument, "tsv"), settings)
    candidates = sorted(path.iterdir()) if path.is_dir() else [path]
    files: dict[str, list[Path]] = {}
    for candidate in candidates:
        if match := _TSV.fullmatch(candidate.name):
            files.setdefault(match[1], []).append(candidate)
    for language, found in files.items():
        if len(found) > 1:
            raise XlbenchError(
                f"Both '{found[0].name}' and '{found[1].name}' in '{path}' hold '{language}'.",
                "Keep one of them.",
            )
    _require_files(files, path, "en-xx.tsv or en-xx.tsv.gz", ".tsv")
    read = [file for found in files.values() for file in found]
    return FileCorpus(files, read_tsv, notices=unread_files(path, read, ".tsv"))


def open_parquet(argument: str, settings: Settings) -> FileCorpus:
    """Open a file en-xx.parquet, or a directory laid out as :func:`parquet_files` reads it.

    Raises:
        XlbenchError: There is no such file, or its name does not contain its language.
    """
    path = find_path(_require_argument(argument, "parquet"), settings)
    files = parquet_files(path)
    _require_files(files, path, "en-xx.parquet or en-xx/train*.parquet", ".parquet")
    return FileCorpus(files, read_parquet, notices=unread_parquet(path, files))


def unread_parquet(path: Path, files: Mapping[str, Sequence[Path]]) -> tuple[str, ...]:
    """Return a note on the files and directories under ``path`` that :func:`parquet_files` does not read."""
    read = {place for found in files.values() for file in found for place in (file, *file.parents)}
    return unread_files(path, read, ".parquet")


def parquet_files(path: Path) -> dict[str, list[Path]]:
    """Return the Parquet files under ``path`` by language.

    Two layouts are known: ``en-xx.parquet``, and that of hub datasets with a configuration per language,
    ``en-xx/train*.parquet`` or ``en-xx/train/*.parquet``. Other splits are ignored.
    """
    files: dict[str, list[Path]] = {}
    for candidate in sorted(path.iterdir()) if path.is_dir() else [path]:
        if candidate.is_dir():
            if match := _PARQUET_DIRECTORY.fullmatch(candidate.name):
                found = sorted([*candidate.glob("train*.parquet"), *candidate.glob("train/*.parquet")])
                if found:
                    files.setdefault(match[1], []).extend(found)
        elif match := _PARQUET.fullmatch(candidate.name):
            files.setdefault(match[1], []).append(candidate)
    return files


def read_tsv(path: Path, _language: str = "") -> Iterator[Pair]:
    """Yield the rows of a tab-separated file, plain or ``.gz``. Quotation marks have no special meaning.

    Raises:
        XlbenchError: A row does not have exactly two columns that are not empty, or is not UTF-8; or a ``.gz`` file is
            damaged.
    """
    for number, text in numbered_lines(path):
        columns = text.split("\t")
        if len(columns) != 2:
            count = f"{len(columns)} column{'s' if len(columns) > 1 else ''} instead of 2"
            raise XlbenchError(
                f"{path}, line {number}: {count if text.strip() else 'it is empty'}.",
                "Each line is an English sentence, one tab and its translation.",
            )
        if not all(column.strip() for column in columns):
            side = "second" if columns[0].strip() else "first"
            raise XlbenchError(f"{path}, line {number}: the {side} column is empty.", "Fill it or remove the line.")
        yield Pair(*columns)


def read_parquet(path: Path, language: str) -> Iterator[Pair]:
    """Yield the rows of a Parquet file with columns english and non_english, or en and the language's code.

    Raises:
        XlbenchError: It is not a valid Parquet file, lacks these columns, or a side is null, empty or not text.
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
                            f"{path}, row {number}: a side is empty or not text.", "Fill it or remove the row."
                        )
                    yield Pair(english, other)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise XlbenchError(f"{path} is not a valid Parquet file: {error}", "Fetch or write it again.") from error


def find_path(argument: str, settings: Settings, name: str = "corpus") -> Path:
    """Find a file or directory in the working directory, the data root, its ``parallel/``, or among a bundle's copies.

    Raises:
        XlbenchError: It is in none of them.
    """
    path = path_of(argument, name)
    roots = [Path(), *([settings.data_root, settings.data_root / "parallel"] if settings.data_root else [])]
    candidates = [root / path for root in roots]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    if copy := settings.carried(argument):
        return copy
    tried = ", ".join(f"'{candidate}'" for candidate in dict.fromkeys(candidates))
    raise XlbenchError(
        f"There is no corpus at {tried}.",
        "Check the path; relative ones start in the working directory, the data root or its parallel/.",
    )


def _require_argument(argument: str, scheme: str) -> str:
    if not argument:
        raise XlbenchError(f"Corpus '{scheme}' needs a path.", f"Write {scheme}:PATH.")
    return argument


def _require_files(files: Mapping[str, Sequence[Path]], path: Path, expected: str, ending: str) -> None:
    if files:
        return
    if path.is_dir():
        others = [note.removeprefix("warning: ") for note in unread_files(path, (), ending)]
        problem = " ".join([f"'{path}' holds no corpus files.", *(note[0].upper() + note[1:] for note in others)])
        raise XlbenchError(problem, f"It needs files named {expected}.")
    advice = wanted(path, ending)
    raise XlbenchError(
        f"The name of '{path}' does not tell its language.",
        f"Call it {expected}, xx being the language" + ("." if "en-xx" in advice else f": {advice}."),
    )


def _columns(names: list[str], path: Path, language: str) -> list[str]:
    for columns in (["english", "non_english"], ["en", language]):
        if set(columns) <= set(names):
            if twice := next((name for name in columns if names.count(name) > 1), None):
                raise XlbenchError(f"{path} has the column '{twice}' {names.count(twice)} times.", "Keep one of them.")
            return columns
    raise XlbenchError(
        f"{path} has the columns {', '.join(names)}.",
        f"It needs english and non_english, or en and {language}.",
    )
