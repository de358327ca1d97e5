"""A record: one result with everything that it depends on, where it was measured, and how records are read."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field

from xlbench._version import __version__
from xlbench.corpora.facts import CorpusFacts
from xlbench.distill.outcome import StageOutcome
from xlbench.errors import XlbenchError
from xlbench.experiment import Experiment
from xlbench.fingerprint import Frozen, fingerprint
from xlbench.progress import note
from xlbench.scoring.footprint import Footprint
from xlbench.scoring.machine import Machine, describe_machine
from xlbench.scoring.scores import SuiteScores
from xlbench.scoring.speed import Speed
from xlbench.validation import invalid

if TYPE_CHECKING:
    from xlbench.settings import Settings


def git_revision() -> str | None:
    """Return the commit of the checkout that this package runs from, with '+changes' if files differ from it.

    None where it does not run from a checkout, or git is not there, broken or slow: a finished training is worth more
    than to know its commit.
    """
    home = Path(__file__).parents[2]
    if not (home / ".git").exists():
        return None
    try:
        commit = run_git(home, "rev-parse", "HEAD")
        return f"{commit}+changes" if run_git(home, "status", "--porcelain") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def run_git(home: Path, *words: str) -> str:
    """Return what git prints of a checkout, stripped.

    Args:
        home: The checkout.
        words: Constants of the code that calls this.

    Raises:
        OSError: There is no git.
        subprocess.SubprocessError: It fails, or takes more than 20 seconds.
    """
    return subprocess.run(  # noqa: S603
        ["git", *words],  # noqa: S607
        cwd=home,
        check=True,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=20,
    ).stdout.strip()


SCHEMA = 1
KIND = "records"  # in the store
FILE = "record.json"
ITEMS = "items.parquet"

Role = Literal["teacher", "assistant", "aligned", "student", "encoder"]


class Provenance(Frozen):
    """When, on which machine and with which versions a record was measured."""

    made: str = Field(description="UTC, ISO 8601.")
    xlbench: str
    git: str | None = Field(
        description="Commit of the checkout that xlbench ran from, '+changes' if files differed from it."
    )
    machine: Machine


def make_provenance(settings: Settings) -> Provenance:
    """Return the provenance of what is measured now, in this process.

    Raises:
        XlbenchError: The settings name a device that is not available.
    """
    return Provenance(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        xlbench=__version__,
        git=git_revision(),
        machine=describe_machine(settings),
    )


class Record(Frozen):
    """One row of a board: an encoder, how it was trained, and its scores, size and speed."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    version: Literal[1] = Field(default=1, alias="schema")
    name: str = Field(description="What boards call the row.")
    role: Role
    encoder_key: str = Field(description="Fingerprint of the encoder, or of the stage that produced it.")
    experiment: Experiment | None = Field(description="None for an encoder that was only scored.")
    stages: tuple[StageOutcome, ...] = ()
    corpus: CorpusFacts | None = None
    scores: SuiteScores
    footprint: Footprint
    speed: Speed | None = None
    provenance: Provenance


class Failure(Frozen):
    """A run whose training diverged or collapsed: boards show it, no mean includes it, and nothing of it is cached."""

    row: str = Field(description="What the board calls it.")
    seed: int
    message: str


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        XlbenchError: The file cannot be read, or has another schema.
    """
    remedy = "Delete it and run its experiment again."
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise XlbenchError(f"Record '{path}' is no file.", "Name a JSON file.")
    try:
        return Record.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:  # not there, not UTF-8, or no record
        raise XlbenchError(f"Record '{path}' cannot be read: {invalid(error)}", remedy) from error


def record_digest(record: Record) -> str:
    """Return what identifies all that a record says."""
    return fingerprint(json.loads(record.model_dump_json(by_alias=True)))


def records_in(directory: Path, *, quiet: bool) -> list[Record]:
    """Return the records in the JSON files of a directory, oldest first; one that is damaged is named and left out.

    Args:
        directory: Of records that claim nothing together: a board's rows are read by :mod:`xlbench.boards.folder`,
            which leaves none out.
        quiet: Name none.

    Raises:
        XlbenchError: There is no such directory, or no file in it can be read.
    """
    if not directory.is_dir():
        raise XlbenchError(f"There is no directory '{directory}'.", "Name one that holds records as JSON files.")
    found: list[Record] = []
    damaged: list[XlbenchError] = []
    for path in sorted(directory.glob("*.json")):
        try:
            found.append(read_record(path))
        except XlbenchError as error:
            damaged.append(error)
    if damaged and not found:
        raise damaged[0]
    for damage in damaged:
        note(f"{damage.problem.removesuffix('.')}: left out", quiet=quiet)
    return sorted(found, key=lambda record: (record.provenance.made, record.name))
