"""Names of corpus files that are not read, and what each would have to be called."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from xlbench.corpora.languages import ENGLISH, base, code_of_name, is_known, standard

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

SHOWN = 20  # files that are named
TABLES = (".tsv", ".parquet")
DATA = (*TABLES, ".csv", ".txt", ".json", ".jsonl", ".ndjson", ".tmx", ".xlsx", ".arrow", ".zip", ".tab")
PACKED = (".gz", ".bz2", ".xz", ".zst", ".lzma", ".7z", ".z")
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp")  # of a download that was broken off
_ABOUT = re.compile(r"readme|licen[cs]e|sources?\b|changelog|notice|citation", re.IGNORECASE)


def unread_files(path: Path, read: Collection[Path], ending: str) -> tuple[str, ...]:
    """Return a note that names the files of a directory which look like a corpus and are not read; nothing without any.

    Args:
        path: The directory; a single file has no neighbours.
        read: The files that are read, or directories that they lie in.
        ending: Of the names that are read: '.tsv' or '.parquet'.
    """
    if not path.is_dir():
        return ()
    others = [file for file in sorted(path.iterdir()) if file not in read and looks_like_a_corpus(file)]
    if not others:
        return ()
    named = [f"'{file.name}' ({wanted(file, ending, read)})" for file in others[:SHOWN]]
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    return (f"warning: not read from '{path}', though it looks like a corpus: {', '.join(named)}{more}.",)


def unread_folders(dataset: str, paths: Iterable[str], read: Collection[str]) -> tuple[str, ...]:
    """Return a note that names the folders of a hub dataset which look like a language and are not read.

    Args:
        dataset: 'org/name'.
        paths: All files of the dataset.
        read: The folders that files are read from.
    """
    folders = {path.partition("/")[0] for path in paths if path.endswith(".parquet") and "/" in path}
    others = [folder for folder in sorted(folders.difference(read)) if _pair(folder)]
    if not others:
        return ()
    named = [f"'{folder}'" for folder in others[:SHOWN]]
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    return (
        f"warning: not read from hub dataset '{dataset}', though it looks like a corpus: {', '.join(named)}{more} (read"
        " are en-xx/train*.parquet; download the dataset and rename its folders to have them).",
    )


def looks_like_a_corpus(file: Path) -> bool:
    """Return whether a file or directory may hold pairs: its name ends like data and, but for tables, has a pair."""
    if file.name.startswith(".") or _ABOUT.match(file.name):
        return False
    stem, kind, _ = _split(_whole(file.name))
    if file.is_dir():
        return bool(_pair(file.name)) and any(file.iterdir())
    return kind in TABLES or (bool(_pair(stem)) and (kind in DATA or _is_language(kind.removeprefix("."))))


def wanted(file: Path, ending: str, read: Iterable[Path] = ()) -> str:
    """Return what a file would have to be called to be read, and what else it would need: 'call it en-pt-br.tsv'."""
    if _whole(file.name) != file.name:
        return f"finish its download, as {_whole(file.name)}"
    stem, kind, packed = _split(file.name)
    pair = _pair(file.name if file.is_dir() else stem)
    if pair == (ENGLISH, ENGLISH):
        return "both sides are English"
    code, swapped = pair_language(pair) if pair else ("xx", False)
    if file.is_dir():
        return f"put its files here as en-{code}{ending}" if ending == ".tsv" else f"call it en-{code}"
    name = f"en-{code}{ending}{'.gz' if packed and ending == '.tsv' else ''}"
    if kind == ".parquet" != ending:
        return f"name it as parquet:{file.parent / f'en-{code}.parquet'}"
    needed = ["with the English column first"] if swapped else []
    if kind != ending:
        needed.append("as tab-separated text" if ending == ".tsv" else "as Parquet")
    if packed not in {"", ".gz"}:
        needed.append("compressed with gzip")
    there = ", which is there already" if any(name == other.name for other in read) else ""
    return ", ".join([f"call it {name}{there}", *([" and ".join(needed)] if needed else [])])


def pair_language(pair: tuple[str, str]) -> tuple[str, bool]:
    """Return the code of the side that is not English, and whether it comes first; 'xx' where neither is English."""
    first, second = pair
    if base(first) == ENGLISH:
        return standard(second), False
    return (standard(first), True) if base(second) == ENGLISH else ("xx", False)


def _whole(name: str) -> str:
    """Return the name that a file has once its download has ended."""
    ending = next((it for it in UNFINISHED if name.lower().endswith(it)), "")
    return name[: len(name) - len(ending)]


def _split(name: str) -> tuple[str, str, str]:
    """Return the stem of a file's name, its ending and that of its compression, both in lower case."""
    stem, packed = name, ""
    for ending in PACKED:
        if stem.lower().endswith(ending):
            stem, packed = stem[: -len(ending)], ending
    head, dot, kind = stem.rpartition(".")
    return (head, f".{kind.lower()}", packed) if dot else (stem, "", packed)


def _pair(stem: str) -> tuple[str, str] | None:
    """Return the two languages that a name has beside each other, one of them English; None without them."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", stem.replace("2", "-")) if word and word != "to"]
    codes = [_code(word) for word in words]
    for place, (first, second) in enumerate(pairwise(codes)):
        if first and second and ENGLISH in {base(first), base(second)}:
            after = words[place + 2] if place + 2 < len(words) else ""
            regional = f"{second}-{after.lower()}"
            return first, regional if _is_variant(regional, after) else second
        # The region of the first side stands between the two: pt_BR-en, en_US-de.
        third = codes[place + 2] if place + 2 < len(codes) else None
        if first and third and ENGLISH in {base(first), base(third)}:
            regional = f"{first}-{words[place + 1].lower()}"
            if _is_variant(regional, words[place + 1]):
                return regional, third
    return None


def _code(word: str) -> str | None:
    """Return the code that a word of a name is, in two or three letters or as the language's English name."""
    lower = word.lower()
    if len(word) in {2, 3}:
        return lower if is_known(lower) else None
    found = code_of_name(word) if len(word) > 3 else None
    return found if found and _is_language(word) else None


def _is_language(word: str) -> bool:
    return (len(word) in {2, 3} and is_known(word.lower())) or (len(word) > 4 and code_of_name(word) is not None)


def _is_variant(code: str, part: str) -> bool:
    """Return whether a code ends in a region of two letters or a script of four."""
    return (len(part) == 2 and part.isupper() and is_known(code)) or (len(part) == 4 and is_known(code))
