"""What trials share. ``XLBENCH_FAULTS=long`` runs all of them and writes the table of ``docs/reliability.md``."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from trials import Place, Server, results, tree

from xlbench.testing.toys import save_toy_encoder, write_toy_corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = os.environ.get("XLBENCH_FAULTS") == "long"
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
TABLE = re.compile(r"(?<=<!-- measured: faults -->\n).*?(?=<!-- /measured -->)", re.DOTALL)
ROWS: list[tuple[str, str, str]] = []


def _commit() -> str:
    """Return the commit of the clone that the tests are in."""
    words = ["git", "-C", str(PAGE.parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


COMMIT = _commit()


@pytest.fixture(scope="session")
def long() -> bool:
    """Whether all trials are run."""
    return LONG


@pytest.fixture(scope="session")
def report() -> Callable[[str, object, str], None]:
    """Adds a row to the table: what was done, how often, what came of it."""
    return lambda what, trials, outcome: ROWS.append((what, str(trials), outcome))


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy encoders and a corpus."""
    root = tmp_path_factory.mktemp("toys")
    save_toy_encoder(root / "assistant")
    write_toy_corpus(root / "corpus", 240)
    return root


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """What forks children."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def short_place(server: Server, toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Where runs of one stage are tried, and what one leaves that nothing interrupts."""
    return _place(server, toys, tmp_path_factory.mktemp("short"), "single-stage")


@pytest.fixture(scope="session")
def place(
    request: pytest.FixtureRequest, server: Server, toys: Path, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    """Where runs are tried; in the long form those of all stages."""
    if not LONG:
        found: Place = request.getfixturevalue("short_place")
        return found
    return _place(server, toys, tmp_path_factory.mktemp("faults"), "multistage")


def _place(server: Server, toys: Path, root: Path, method: str) -> Place:
    place = Place(server, toys, root / "trials", method)
    directory = place.directory()
    words = [*place.words(directory / "home"), "--save", str(directory / "student"), "--json"]
    whole = place.start(directory, words, events=str(root / "events")).wait()
    assert whole.code == 0, whole.said
    place.whole = results(directory / "home")
    place.student = tree(directory / "student")
    place.events = (root / "events").read_text().split()
    place.home = directory / "home"
    return place


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Print the table; in the long form write it into the page."""
    if not ROWS:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    answered = [it for it in reporter.stats.get("passed", []) if "test_bad_inputs" in it.nodeid] if reporter else []
    if answered:  # where `tests/test_bad_inputs.py` runs beside these
        refused = "each refused with exit code 2 in at most three lines; nothing is left"
        ROWS.append(("Bad inputs, by command line and from Python (`tests/bad_inputs/`)", str(len(answered)), refused))
    from xlbench.scoring.machine import describe_machine
    from xlbench.settings import read_settings

    lines = ["| What was done | Trials | What came of it |", "|---|---|---|"]
    lines += [f"| {what} | {trials} | {outcome} |" for what, trials, outcome in ROWS]
    if exitstatus:
        lines.append("| Of these tests some failed | | see pytest's output |")
    machine = describe_machine(read_settings(device="cpu"))
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    under = (
        f"Run on {datetime.now(UTC):%Y-%m-%d} at commit {COMMIT}, with {machine.cores} cores of"
        f" {machine.cpu}, {machine.os}, Python {machine.python}, {versions}."
    )
    text = "\n".join([*lines, "", under, ""])
    print(f"\n{text}")
    if LONG and exitstatus == 0:
        PAGE.write_text(TABLE.sub(lambda _: text, PAGE.read_text("utf-8")), "utf-8")
