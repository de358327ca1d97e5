"""A board: which runs, encoders and published rows one table compares, as a TOML file declares it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, ValidationError, model_validator

from xlbench.boards.shipped import copy_board, is_installed, shipped_paths
from xlbench.errors import XlbenchError, nearest, printable
from xlbench.experiment import Seeds
from xlbench.fingerprint import Frozen, fingerprint
from xlbench.report.findings import FindingEntry
from xlbench.runs.request import Conditions, Treatment, load_toml
from xlbench.settings import path_of
from xlbench.validation import fields_at, rejection, shown, silently_converted

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path("leaderboards")  # under the working directory: NAME.toml, its folder, and its pages
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # it names files and their links


def _without_controls(text: str) -> str:
    if printable(text) != text:
        raise ValueError("contains a character that steers a terminal")
    return text


RowName = Annotated[str, Field(min_length=1), AfterValidator(_without_controls)]


class RunEntry(Treatment):
    """``[[run]]``: a student, trained once per seed."""

    seeds: Seeds | None = Field(default=None, description="Other seeds than the board's.")
    name: RowName | None = Field(
        default=None,
        description="What the table calls it; None: its student, or method/student where several cut the same one.",
    )


class EncoderEntry(Frozen):
    """``[[encoder]]``: an encoder that is only scored."""

    model: str = Field(min_length=1, description="A registered name, a directory, or org/name on the hub.")
    name: RowName | None = Field(default=None, description="What the table calls it; None: its own name.")


class ExportEntry(Frozen):
    """``[[export]]``: the student of a ``[[run]]``, exported and scored again as what production would load."""

    run: str = Field(min_length=1, description="The row of the `[[run]]`, as the table calls it.")
    to: str = Field(min_length=1, description="The format: stock, onnx, onnx-int8 or openvino-int8.")
    force: bool = Field(default=False, description="Keep an export that loses more than its format's bound.")
    name: RowName | None = Field(
        default=None,
        description="What the table calls it; None: 'RUN, FORMAT'.",
    )


class PublishedEntry(Frozen):
    """``[[published]]``: an encoder whose published scores ship with xlbench."""

    model: str = Field(min_length=1, description="Its name on the hub.")


class MtebEntry(Frozen):
    """``[[mteb]]``: an encoder with MTEB's results: those of a repository or cache where it lies, else the shipped."""

    model: str = Field(min_length=1, description="Its name on the hub.")
    results: str | None = Field(
        default=None,
        min_length=1,
        description="Directory of a results repository or cache of MTEB, relative to the board's; None: `MTEB_CACHE`,"
        " `~/.cache/mteb`, or, if these have none of the model, the scores that ship with xlbench.",
    )
    revision: str | None = Field(
        default=None,
        min_length=1,
        description="The encoder's; None: the one with results on most of the board's subsets.",
    )
    name: RowName | None = Field(default=None, description="What the table calls it; None: its model.")


class Board(Conditions):
    """What one table compares."""

    title: RowName = Field(description="The pages' heading.")
    text: str = Field(default="", description="Markdown paragraphs above the table.")
    seeds: Seeds = Field(default=(0,), description="A run is repeated with each.")
    run: tuple[RunEntry, ...] = Field(default=(), description="Students to train and score.")
    encoder: tuple[EncoderEntry, ...] = Field(default=(), description="Encoders that are only scored.")
    export: tuple[ExportEntry, ...] = Field(default=(), description="Students of the runs as exported files.")
    published: tuple[PublishedEntry, ...] = Field(default=(), description="Scores of others, not ranked.")
    mteb: tuple[MtebEntry, ...] = Field(default=(), description="Results of others that MTEB has, not ranked.")
    finding: tuple[FindingEntry, ...] = Field(
        default=(), description="Differences that a sentence under the table states."
    )

    @model_validator(mode="after")
    def _has_rows(self) -> Board:
        if not self.run and not self.encoder:
            raise ValueError("there is no [[run]] and no [[encoder]] to measure\none of them")
        return self

    def digest(self) -> str:
        """Return the fingerprint of what is measured; title, text and findings may change without a new run."""
        unmeasured = {"title", "text", "published", "mteb", "finding"}
        return fingerprint(self.model_dump(mode="json", exclude=unmeasured, exclude_defaults=True))


@dataclass(frozen=True)
class BoardFile:
    """A board and where it was declared.

    Attributes:
        path: The TOML file. Its pages lie beside it; what they rest on, in a directory beside it.
        board: What it declares.
        shipped: Whether it lies where xlbench is installed, so that nothing may be written beside it.
    """

    path: Path
    board: Board
    shipped: bool = False

    @property
    def name(self) -> str:
        """What the command line calls it, and how its files' names begin."""
        return self.path.stem

    @property
    def given(self) -> str:
        """What a command takes for it: its name, or the path of a file that no name stands for."""
        named = self.shipped or (FOLDER / self.path.name).resolve() == self.path.resolve()
        return self.name if named else str(self.path)


def find_board(given: str | Path) -> BoardFile:
    """Read a board by its name or by the path of its TOML file.

    A name is looked for under ``leaderboards/`` of the working directory first, then among the boards that ship with
    xlbench.

    Raises:
        XlbenchError: There is no such board, or it is not valid; names file, table and key.
    """
    name = str(path_of(given, "name"))
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if path.is_file():
        return read_board(path)
    if (shipped := shipped_paths().get(name)) is not None:
        return replace(read_board(shipped), shipped=True)
    known = board_names()
    remedy = nearest(name, known) if known else f"There is no board in '{FOLDER}' here: give the path of a TOML file."
    raise XlbenchError(f"There is no board '{name}' ({path}).", remedy)


def board_names() -> list[str]:
    """Return the names of all boards that are found by name: those under ``leaderboards/`` first."""
    return list(dict.fromkeys([*(path.stem for path in board_paths()), *shipped_paths()]))


def own_board(board: BoardFile, say: Callable[[str], None] = lambda _: None) -> BoardFile:
    """Return a board that may be written to: of one that ships with xlbench, a copy under ``leaderboards/``.

    Args:
        board: The board.
        say: Called with a line that names the copy.

    Raises:
        XlbenchError: Something of its name is there already, or the copy cannot be written.
    """
    if not board.shipped:
        return board
    path = copy_board(board.path, FOLDER)
    say(f"board '{board.name}' ships with xlbench; copied to '{path}'")
    return read_board(path)


def board_paths() -> list[Path]:
    """Return the TOML files under ``leaderboards/`` of the working directory, by name."""
    return sorted(FOLDER.glob("*.toml"))


def read_board(path: Path) -> BoardFile:
    """Read a board.

    Raises:
        XlbenchError: The file cannot be read or declares no valid board; names file, table and key.
    """
    if not NAME.fullmatch(path.stem):
        raise XlbenchError(
            f"'{path}' cannot be a board's name.", "Use letters, digits, '-' and '_': pages link to each other by it."
        )
    declared = load_toml(path, "Board", "Give a TOML file.")
    try:
        board = Board.model_validate(declared)
    except ValidationError as error:
        raise _complaint(path, declared, error) from error
    if (converted := silently_converted(declared, board)) is not None:
        place, value, remedy = converted
        where, key, _ = _placed(path, place)
        raise XlbenchError(f"{where}: '{'.'.join(key)}' cannot be {shown(value)}.", remedy)
    return BoardFile(path, board, shipped=is_installed(path))


TABLES: dict[str, type[Frozen]] = {
    "run": RunEntry,
    "encoder": EncoderEntry,
    "export": ExportEntry,
    "published": PublishedEntry,
    "mteb": MtebEntry,
    "finding": FindingEntry,
}


def _placed(path: Path, place: tuple[str, ...]) -> tuple[str, tuple[str, ...], type[Frozen]]:
    """Return file and table, the key in that table, and what the table declares: 'run', 1 is the second ``[[run]]``."""
    if len(place) > 1 and place[0] in TABLES and place[1].isdecimal():
        return f"'{path}', [[{place[0]}]] {int(place[1]) + 1}", place[2:], TABLES[place[0]]
    return f"'{path}'", place, Board


def _complaint(path: Path, declared: dict[str, object], error: ValidationError) -> XlbenchError:
    """Return what pydantic rejects as an error of xlbench."""
    found = rejection(error, declared)
    where, place, kind = _placed(path, found.place)
    key = ".".join(place)
    if found.unknown:
        if len(place) == 1 and kind is not Board and key in Board.model_fields:
            return XlbenchError(f"{where}: '{key}' holds for the whole board.", "Set it above the tables, once.")
        return XlbenchError(f"{where}: unknown key '{key}'.", nearest(place[-1], fields_at(kind, place[:-1])))
    reason = found.reason[:1].upper() + found.reason[1:] if not key else found.reason
    if not key:
        return XlbenchError(f"{where}: {reason}.", found.remedy)
    if found.missing:
        return XlbenchError(f"{where}: '{key}': field required.", f"Add it: {fields_at(kind, place[:-1])[place[-1]]}")
    return XlbenchError(f"{where}: '{key}' cannot be {shown(found.value)}: {found.reason}.", found.remedy)
