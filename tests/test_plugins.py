"""Plugins: loaded one by one; broken ones are reported and stop no others."""

from __future__ import annotations

import sys
import textwrap
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

import pytest

from xlbench import XlbenchError
from xlbench.errors import look_up
from xlbench.plugins.registry import Registry, load_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Install = Callable[..., Registry]

METHODS = {"multistage", "single-stage", "no-contrastive", "no-bottleneck", "no-recurrent", "reference"}
GOOD = """
    from xlbench.api import StudentSpec, hookimpl

    @hookimpl
    def xlbench_students():
        return [StudentSpec(name="mine", layers=2)]
"""


def write(path: Path, source: str) -> Path:
    path.write_text(textwrap.dedent(source))
    return path


@pytest.fixture
def with_entry_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Install]:
    """Return a function that installs modules as plugins beside the built-ins."""
    real = entry_points
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(**sources: str) -> Registry:
        extra = []
        for name, source in sources.items():
            write(tmp_path / f"xlp_{name}.py", source)
            extra.append(EntryPoint(name, f"xlp_{name}", "xlbench"))
        monkeypatch.setattr("xlbench.plugins.registry.entry_points", lambda group: [*real(group=group), *extra])
        load_registry.cache_clear()
        return load_registry()

    yield install
    load_registry.cache_clear()
    for name in [name for name in sys.modules if name.startswith("xlp_")]:
        del sys.modules[name]


def test_the_built_ins_come_through_the_entry_points() -> None:
    load_registry.cache_clear()
    registry = load_registry()
    assert registry.broken == ()
    assert set(registry.methods) >= METHODS
    assert {"minilm-half", "minilm-half-deep", "minilm-third", "xlmr-half", "xlmr-fifth"} <= set(registry.students)
    assert {plugin.distribution for plugin in registry.loaded} >= {"xlbench"}


def test_a_broken_plugin_is_reported_and_the_others_work(with_entry_points: Install) -> None:
    registry = with_entry_points(good=GOOD, bad="raise OSError('no such library')")
    assert [(it.name, it.cause) for it in registry.broken] == [("bad", "OSError: no such library")]
    assert "mine" in registry.students
    assert set(registry.methods) >= METHODS


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("from xlbench.api import hookimpl\n@hookimpl\ndef xlbench_method():\n    return []\n", "unknown hook"),
        ("x = 1\n", "implements no xlbench hook"),
        ("from xlbench.api import hookimpl\n@hookimpl\ndef xlbench_students(a):\n    return []\n", "hook"),
        (
            "from xlbench.api import hookimpl\n@hookimpl\ndef xlbench_students():\n    1 / 0\n",
            "ZeroDivisionError",
        ),
        (
            "from xlbench.api import hookimpl\n@hookimpl\ndef xlbench_students():\n    return ['x']\n",
            "not a StudentSpec",
        ),
        (GOOD.replace("mine", "minilm-half"), "already the name of a StudentSpec"),
    ],
)
def test_every_fault_has_a_cause(with_entry_points: Install, source: str, cause: str) -> None:
    registry = with_entry_points(bad=textwrap.dedent(source))
    assert len(registry.broken) == 1
    assert registry.broken[0].name == "bad"
    assert cause in registry.broken[0].cause
    assert set(registry.methods) >= METHODS
    assert registry.students["minilm-half"].bottleneck == 128


def test_in_strict_mode_a_broken_plugin_is_an_error(
    with_entry_points: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLBENCH_STRICT", "1")
    with pytest.raises(XlbenchError, match=r"Plugin 'bad' .* is broken: ImportError"):
        with_entry_points(bad="raise ImportError('x')")


def test_a_single_file_is_a_plugin(tmp_path: Path) -> None:
    assert "mine" in load_registry((write(tmp_path / "mine.py", GOOD),)).students


def test_a_broken_single_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(XlbenchError, match="SyntaxError"):
        load_registry((write(tmp_path / "bad.py", "def"),))
    with pytest.raises(XlbenchError, match="there is no file"):
        load_registry((tmp_path / "absent.py",))


def test_an_unknown_name_proposes_the_nearest_names() -> None:
    with pytest.raises(XlbenchError, match=r"Unknown method 'multistge'\.\nDid you mean multistage\?"):
        look_up("method", "multistge", load_registry().methods)
    with pytest.raises(XlbenchError, match=r"Valid names: a, b\."):
        look_up("method", "zzz", {"a": 1, "b": 2})
