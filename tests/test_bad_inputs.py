"""Every bad argument, by command line and from Python: refused in words, before any work, and nothing is left behind.

The cases are data, in ``bad_inputs/*.toml``; its README says how one is written.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from toy_board import example_student

import xlbench
from xlbench.cli import main
from xlbench.errors import UNPRINTABLE
from xlbench.runs.results import Student
from xlbench.settings import Settings
from xlbench.testing.toys import save_toy_encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parent / "bad_inputs"
LONG = "x" * 5000
MOST_LINES = 3
ALLOWED = UNPRINTABLE.pattern.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f")  # all but the ends of lines
# How pydantic writes places and types: nobody is to read it.
FOREIGN = re.compile(r"Traceback|errors\.pydantic\.dev|\[type=|validation error|\.(str|bool|int|float|StudentSpec)\b'")

# What TOML cannot say.
VALUES: dict[str, object] = {
    "None": None, "True": True, "5": 5, "-1": -1, "1.5": 1.5, "nan": math.nan, "inf": math.inf, "text": "x", "''": "",
    "bytes": b"x", "[]": [], "['x']": ["x"], "{}": {}, "{'x': 1}": {"x": 1}, "object": object(), "1j": 1j,
    "Path": Path("nowhere"), "numpy.float64": np.float64(1.5), "numpy.bool": np.True_, "numpy.array": np.arange(2),
    "type": int, "nul": "a\0b", "long": LONG, "escape": "a\x1b[31mb", "surrogate": "a\udcffb", "bidi": "a\u202eb",
    "huge": 10**40, "[None]": [None], "[[]]": [[]], "lambda": lambda: None,
}  # fmt: skip

# What a function needs beside the argument that is bad.
NEEDED: dict[str, dict[str, object]] = {
    "score": {"model": "nowhere"}, "compare": {"first": "a", "second": "b"}, "leaderboard": {"name": "headline"},
    "push": {"directory": "carded", "repository": "org/name"},
    "sync_store": {"url": "shared"},
    "encode": {"texts": ["a"]}, "search": {"corpus": ["a"], "queries": "a"}, "mine": {"a": ["a"], "b": ["a"]},
}  # fmt: skip
PLACED = {
    "run",
    "score",
    "compare",
    "export",
    "leaderboard",
    "open_store",
    "push",
    "status",
    "sync_store",
    "encode",
    "search",
    "mine",
}


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        title: For the test's name.
        says: What the answer contains: the thing, the place, the remedy.
        cli: Words of the command line; None where it has no such door.
        python: Keywords of the function; None where Python has no such door.
        door: The function.
        files: What lies in the working directory, by path.
        environment: Variables; an empty value unsets one.
        bare: Neither a store nor ``--offline`` is given.
        works: It is refused in the middle of the work: when an encoder is loaded or pairs are read. What the work had
            made by then stays in the store.
    """

    title: str
    says: tuple[str, ...]
    cli: tuple[str, ...] | None = None
    python: dict[str, Any] | None = None
    door: str = "run"
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    bare: bool = False
    works: bool = False


def cases() -> Iterator[Case]:
    for path in sorted(FOLDER.glob("*.toml")):
        declared = tomllib.loads(path.read_text("utf-8"))
        shared = declared.get("files", {})
        for entry in declared.get("case", ()):
            own = dict(entry)
            cli = own.pop("cli", None)
            title = own.pop("name", None) or " ".join(cli or [own.get("door", "run"), str(own["python"])])
            yield Case(
                title=f"{path.stem}: {title}",
                says=tuple(own.pop("says")),
                cli=tuple(word.replace("<LONG>", LONG) for word in cli) if cli is not None else None,
                files={**shared, **own.pop("files", {})},
                **own,
            )
        for entry in declared.get("types", ()):
            for value in entry["values"]:
                keyword = entry["keyword"]
                yield Case(
                    title=f"{path.stem}: {entry['door']}({keyword}={value})",
                    says=tuple(entry["says"]),
                    python={keyword: VALUES[value]},
                    door=entry["door"],
                    files=shared,
                )


CASES = list(cases())


def prepare(directory: Path, files: dict[str, dict[str, Any]]) -> None:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        match content:
            case {"toy": True}:
                shutil.copytree(toy_encoder(), path)
                for file in content.get("without", ()):
                    (path / file).rename(path / f"other-{file}")
                for file, changes in content.get("merge", {}).items():
                    old = json.loads((path / file).read_text("utf-8")) if (path / file).is_file() else {}
                    (path / file).write_text(json.dumps({**old, **changes}), "utf-8")
            case {"columns": columns}:
                arrays = [pa.array(values) for _, *values in columns]
                parquet.write_table(pa.Table.from_arrays(arrays, [name for name, *_ in columns]), path)
            case {"pipe": True}:
                os.mkfifo(path)
            case {"directory": True}:
                path.mkdir(exist_ok=True)
            case {"link": target}:
                path.symlink_to(target)
            case {"bytes": digits}:
                path.write_bytes(bytes.fromhex(digits))
            case {"repeat": part, "times": times}:
                path.write_text(content.get("before", "") + part * times, "utf-8")
            case {"text": text}:
                path.write_text(text, "utf-8")
            case _:
                raise ValueError(f"what is '{name}' to hold? {content}")


@cache
def toy_encoder() -> Path:
    return save_toy_encoder(Path(tempfile.mkdtemp()) / "toy")


def tree(directory: Path) -> set[tuple[str, int]]:
    paths = directory.rglob("*")
    return {(str(it.relative_to(directory)), it.lstat().st_size if it.is_file() else 0) for it in paths}


def check(text: str, case: Case) -> None:
    assert not re.search(ALLOWED, text), ascii(text)
    assert not FOREIGN.search(text), text
    assert len(text.strip().splitlines()) <= MOST_LINES, text
    for said in case.says:
        assert said in text, f"{said!r} is not in:\n{text}"


def door_of(name: str, home: Path) -> Callable[..., object]:
    if name == "student.save":
        return Student(example_student(), "0" * 20, Settings(home=home)).save
    if name.startswith("store."):
        return getattr(xlbench.open_store(home=home), name.removeprefix("store."))  # type: ignore[no-any-return]
    if name.startswith("board."):
        return getattr(xlbench.leaderboard("headline", home=home), name.removeprefix("board."))  # type: ignore[no-any-return]
    return getattr(xlbench, name)  # type: ignore[no-any-return]


def work_begins(*_: object) -> None:
    raise AssertionError("it was not refused before the work")


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.title)[1:110])
def test_it_is_refused_in_words_and_nothing_is_left(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path, case.files)
    monkeypatch.chdir(tmp_path)
    for variable in ("XLBENCH_HOME", "XLBENCH_DATA", "XLBENCH_STRICT"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in case.environment.items():
        if value:
            monkeypatch.setenv(variable, value)
        else:
            monkeypatch.delenv(variable, raising=False)
    for module in ("runs.run", "runs.score", "retrieval.encoder") if not case.works else ():
        monkeypatch.setattr(f"xlbench.{module}.prepare_process", work_begins)
    before, home = tree(tmp_path), tmp_path / "home"
    answers = []
    if case.cli is not None:
        words = list(case.cli) if case.bare else ["--home", str(home), "--offline", *case.cli]
        with pytest.raises(SystemExit) as left:
            main(words)
        shown = capsys.readouterr()
        assert left.value.code == 2, shown
        assert shown.out == ""
        check(shown.err, case)
        answers.append(shown.err)
    if case.python is not None:
        where = {} if case.bare or case.door not in PLACED else {"home": home, "offline": True, "quiet": True}
        function = door_of(case.door, home)
        with pytest.raises(xlbench.XlbenchError) as raised:
            function(**{**where, **NEEDED.get(case.door, {}), **case.python})
        assert capsys.readouterr() == ("", "")
        check(str(raised.value), case)
        answers.append(f"xlbench: {raised.value}\n")
    if case.works:
        assert not any(home.glob("partial/*"))
        assert not any(home.glob("records/*"))
    assert {it for it in tree(tmp_path) if not (case.works and it[0].startswith("home"))} == before
    if len(answers) > 1 and "See `xlbench" not in answers[0]:  # what click refuses has click's words
        assert answers[0] == answers[1]


def test_there_are_enough_cases_and_each_has_a_door() -> None:
    assert len(CASES) >= 300
    assert all(case.cli is not None or case.python is not None for case in CASES)
    assert all(case.says for case in CASES)
