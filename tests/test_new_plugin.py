"""``xlbench new-plugin``: a project whose own tests pass, under a valid name, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from xlbench import XlbenchError
from xlbench.cli.app import app
from xlbench.plugins.template import check_name, nearest_valid, new_plugin, rendered

if TYPE_CHECKING:
    from collections.abc import Mapping

TAKEN = ("multistage", "reference")


def installed(project: Path, place: Path) -> Path:
    """Do what ``pip install`` does for a project of pure Python: its packages and its metadata, in one directory."""
    facts = tomllib.loads((project / "pyproject.toml").read_text())
    name, version = facts["project"]["name"], facts["project"]["version"]
    metadata = place / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
    groups: Mapping[str, Mapping[str, str]] = facts["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in its.items()) for group, its in groups.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    for package in facts["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        (place / Path(package).name).symlink_to(project / package)
    return place


def run(place: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH")]))  # a checkout may be on it
    environment = {**os.environ, "PYTHONPATH": paths, "XLBENCH_HOME": str(cwd / "home")}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_the_tests_of_a_new_project_pass_once_it_is_installed(tmp_path: Path) -> None:
    project = new_plugin("two-step", tmp_path, TAKEN)
    place = installed(project, tmp_path / "site")
    tests = run(place, project, "pytest", "-q", "-p", "no:cacheprovider")
    assert tests.returncode == 0, tests.stdout + tests.stderr
    # Its own two, and the twelve of the conformance kit.
    assert "14 passed" in tests.stdout
    check = run(place, tmp_path, "xlbench", "plugins", "--check")
    assert check.returncode == 0, check.stdout
    assert "two-step  (xlbench-two-step 0.1.0): method two-step, student two-step-small" in check.stdout


def test_the_method_is_short_and_imports_public_names_only(tmp_path: Path) -> None:
    source = rendered("demo")[Path("src/xlbench_demo/__init__.py")]
    assert len(source.splitlines()) < 60
    imports = [line.split()[1] for line in source.splitlines() if line.startswith(("from ", "import "))]
    assert imports == ["__future__", "pydantic", "xlbench.api"]


def test_every_file_is_there_and_nothing_is_left_to_fill_in(tmp_path: Path) -> None:
    project = new_plugin("two-step", tmp_path, TAKEN)
    files = {str(path.relative_to(project)): path.read_text() for path in project.rglob("*") if path.is_file()}
    assert set(files) == {
        ".github/workflows/tests.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "src/xlbench_two_step/__init__.py",
        "src/xlbench_two_step/py.typed",
        "tests/test_plan.py",
    }
    for name, text in files.items():
        assert "{%" not in text, name
        assert "PACKAGE" not in text, name
        assert ("{{" in text) == (name.endswith("tests.yml")), name  # GitHub's own
    assert "python-version: ${{ matrix.python }}" in files[".github/workflows/tests.yml"]


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("My Method!", "my-method"),
        ("MyMethod", "my-method"),
        ("my_method", "my-method"),
        ("a--b", "a-b"),
        ("2-fast", "fast-2"),
        ("2fast", "method-2fast"),
        ("Zwölf", "zwolf"),
        ("", "method"),
        ("../up", "up"),
        ("-o", "o"),
        ("xlbench-mine", "mine"),
        ("x" * 50, "x" * 40),
        ("multistage", "my-multistage"),
    ],
)
def test_an_invalid_name_is_refused_with_the_nearest_valid_one(name: str, proposed: str) -> None:
    with pytest.raises(XlbenchError, match=rf"\b{proposed}(\?|, say\.)$"):
        check_name(name, TAKEN)
    assert nearest_valid(name, TAKEN) == proposed
    check_name(proposed, TAKEN)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.txt").write_text("mine")
    result = CliRunner().invoke(app, ["new-plugin", "demo", "--into", str(tmp_path)])
    assert isinstance(result.exception, XlbenchError)
    assert "is there already" in str(result.exception)
    assert [path.name for path in tmp_path.rglob("*")] == ["demo", "mine.txt"]
    with pytest.raises(XlbenchError, match="There is no directory"):
        new_plugin("demo", tmp_path / "nowhere", TAKEN)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def full(path: Path, text: str, encoding: str) -> int:
        if path.name == "pyproject.toml":
            raise OSError(28, "No space left on device", str(path))
        return write(path, text, encoding)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(XlbenchError, match=r"demo' cannot be written: No space left on device\.\n.*--into"):
        new_plugin("demo", tmp_path, TAKEN)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_the_next_step(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["new-plugin", "demo", "--into", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == (
        f"next: pip install {tmp_path / 'demo'} && xlbench run --method demo --student minilm-half"
    )
