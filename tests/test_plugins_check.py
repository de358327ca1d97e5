"""``xlbench plugins --check``: every fault is reported with its place in the plugin; the other plugins work."""

from __future__ import annotations

import json
import sys
import textwrap
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from xlbench.cli.app import app
from xlbench.plugins.registry import check_plugins, load_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from xlbench.plugins.registry import Broken

    Install = Callable[..., dict[str, Broken]]

HEAD = """
from pydantic import Field
from xlbench.api import CorpusReader, RegisteredEncoder, Method, Options, Plan, StudentSpec, hookimpl
"""
GOOD = """
@hookimpl
def xlbench_students():
    return [StudentSpec(name="{name}", layers=2)]
"""


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Install]:
    """Return a function that installs modules as plugins and returns their faults, of which each may have one."""
    real = entry_points
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def install_all(**sources: str) -> dict[str, Broken]:
        extra = []
        for name, source in sources.items():
            (tmp_path / f"xlp_{name}.py").write_text(HEAD + textwrap.dedent(source))
            extra.append(EntryPoint(name, f"xlp_{name}", "xlbench"))
        monkeypatch.setattr("xlbench.plugins.registry.entry_points", lambda group: [*real(group=group), *extra])
        load_registry.cache_clear()
        found = check_plugins(load_registry())
        assert len({fault.name for fault in found}) == len(found), found
        return {fault.name: fault for fault in found}

    yield install_all
    load_registry.cache_clear()
    for name in [name for name in sys.modules if name.startswith("xlp_")]:
        del sys.modules[name]


# A method whose options have one field, on line 7 of the file.
OPTIONS = """
class Mine(Options):
    {config}
    {field}

def plan(experiment, options):
    return Plan((), "assistant")

@hookimpl
def xlbench_methods():
    return [Method("mine", "a method", plan, Mine)]
"""
GOOD_FIELD = 'share: float = Field(default=0.5, ge=0, description="Of pairs.")'


@pytest.mark.parametrize(
    ("field", "config", "cause", "line"),
    [
        ("share: float = Field(default=0.5, ge=0)", "", "option 'share' of Mine has no description", 7),
        (
            'share: float = Field(default=0.5, description="x")',
            "",
            "option 'share' of Mine is a number without a bound (ge, gt, le or lt)",
            7,
        ),
        (
            'share: int | None = Field(default=None, description="x")',
            "",
            "option 'share' of Mine is a number without a bound (ge, gt, le or lt)",
            7,
        ),
        ('share: object = Field(default=1, description="x")', "", "option 'share' of Mine accepts anything", 7),
        ('share: float = Field(ge=0, description="x")', "", "option 'share' of Mine has no default", 7),
        (
            'share: float = Field(default=-1, ge=0, description="x")',
            "",
            "option 'share' of Mine refuses its default -1: Input should be greater than or equal to 0",
            7,
        ),
        (GOOD_FIELD, 'model_config = {"extra": "ignore"}', "Mine accepts unknown options", 5),
        (GOOD_FIELD, 'model_config = {"frozen": False}', "Mine can be changed", 5),
        (
            'share: float = Field(default=float("inf"), ge=0, description="x")',
            "",
            "option 'share' of Mine refuses its default inf: Input should be a finite number",
            7,
        ),
        (
            'model_config = {"allow_inf_nan": True}\n'
            '    share: float = Field(default=float("inf"), ge=0, description="x")',
            "",
            "the defaults of Mine cannot be written as JSON and read",
            5,
        ),
        (
            'share: float = Field(default=0.5, ge=0, description="x", exclude=True)',
            "",
            "option 'share' of Mine is left out of what is written",
            7,
        ),
    ],
)
def test_invalid_options_are_reported(install: Install, field: str, config: str, cause: str, line: int) -> None:
    fault = install(bad=OPTIONS.format(field=field, config=config))["bad"]
    assert fault.cause.startswith(cause)
    assert fault.where == f"xlp_bad.py:{line}"


@pytest.mark.parametrize(
    ("source", "cause", "where"),
    [
        ("raise OSError('no such library')", "OSError: no such library", "xlp_bad.py:4 in <module>"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'", "xlp_bad.py:4 in"),
        ("def", "SyntaxError: invalid syntax", "xlp_bad.py:4"),
        ("raise SystemExit(3)", "SystemExit: 3", "xlp_bad.py:4"),
        (
            "@hookimpl\ndef xlbench_method():\n    return []\n",
            "xlbench_method() implements the unknown hook 'xlbench_method'. Did you mean xlbench_methods",
            "xlp_bad.py:4",
        ),
        (
            "@hookimpl\ndef xlbench_methods(registry):\n    return []\n",
            "xlbench_methods() takes the argument 'registry', which the hook xlbench_methods() does not have",
            "xlp_bad.py:4",
        ),
        (
            "@hookimpl(wrapper=True)\ndef xlbench_methods():\n    return (yield)\n",
            "xlbench_methods() is a hook wrapper",
            "xlp_bad.py:4",
        ),
        ("x = 1", "it implements no xlbench hook", "xlp_bad.py"),
        (
            "@hookimpl\ndef xlbench_students():\n    return 1 / 0\n",
            "xlbench_students() raised ZeroDivisionError: division by zero",
            "xlp_bad.py:6 in xlbench_students",
        ),
        ("@hookimpl\ndef xlbench_students():\n    pass\n", "xlbench_students() raised TypeError", "xlp_bad.py:4"),
        (
            "@hookimpl\ndef xlbench_students():\n    return ['x']\n",
            "xlbench_students() returned 'x', which is not a StudentSpec",
            "xlp_bad.py:4",
        ),
        (
            GOOD.format(name="minilm-half"),
            "'minilm-half' is already the name of a StudentSpec from plugin 'builtin'",
            "xlp_bad.py:5",
        ),
        (GOOD.format(name="Minilm-Half"), "the student name 'Minilm-Half' differs from 'minilm-half' only in", ""),
        (GOOD.format(name="my student"), "the student name 'my student' is invalid: letters", "xlp_bad.py:5"),
        (
            "@hookimpl\ndef xlbench_methods():\n    return [Method(None, 'x', print, Options)]\n",
            "the method name None is invalid",
            "xlp_bad.py:4",
        ),
        (
            "def plan(experiment):\n    pass\n\n"
            "@hookimpl\ndef xlbench_methods():\n    return [Method('m', 's', plan, Options)]\n",
            "plan of method 'm' is plan(experiment), but is called with (experiment, options): too many positional",
            "xlp_bad.py:4",
        ),
        (
            "@hookimpl\ndef xlbench_methods():\n    return [Method('m', 's', 'plan', Options)]\n",
            "method 'm' has plan='plan', which is no function",
            "xlp_bad.py:4",
        ),
        (
            "@hookimpl\ndef xlbench_methods():\n    return [Method('m', 's', lambda a, b: None, options=dict)]\n",
            "method 'm' has options=<class 'dict'>, which is no subclass of xlbench.api.Options",
            "",
        ),
        (
            "@hookimpl\ndef xlbench_methods():\n    return [Method('m', '', lambda a, b: None, Options)]\n",
            "method 'm' has no summary for listings",
            "",
        ),
        (
            "@hookimpl\ndef xlbench_corpora():\n    return [CorpusReader('s', 'x', 'other:y', lambda a, b: None)]\n",
            "corpus 's' has the example 'other:y', which is not of its scheme",
            "",
        ),
        (
            "@hookimpl\ndef xlbench_encoders():\n"
            "    return [RegisteredEncoder('teacher', 'x', lambda s: '', lambda s: None)]\n",
            "'teacher' cannot be an encoder's name: it means the experiment's own teacher",
            "xlp_bad.py:4",
        ),
        (
            "def load():\n    pass\n\n@hookimpl\ndef xlbench_encoders():\n"
            "    return [RegisteredEncoder('mine', 'x', lambda s: '', load)]\n",
            "load of encoder 'mine' is load(), but is called with (settings)",
            "xlp_bad.py:4",
        ),
    ],
)
def test_every_fault_is_reported_with_its_place(install: Install, source: str, cause: str, where: str) -> None:
    found = install(bad=source, good=GOOD.format(name="mine"))
    assert set(found) == {"bad"}
    assert found["bad"].cause.startswith(cause)
    assert found["bad"].where.startswith(where)
    registry = load_registry()
    assert registry.students["mine"].layers == 2
    assert registry.students["minilm-half"].bottleneck == 128
    assert "multistage" in registry.methods


def test_an_entry_point_without_a_module_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = [EntryPoint("bad", "xlp_nowhere", "xlbench")]
    monkeypatch.setattr("xlbench.plugins.registry.entry_points", lambda group: extra)
    load_registry.cache_clear()
    (fault,) = load_registry().broken
    load_registry.cache_clear()
    assert fault.cause == "ModuleNotFoundError: No module named 'xlp_nowhere'"
    assert fault.where == "entry point 'bad = xlp_nowhere'"


def test_the_command_reports_all_faults_and_exits_with_2(install: Install) -> None:
    install(
        raising="raise OSError('no such library')",
        unknown="@hookimpl\ndef xlbench_method():\n    return []\n",
        clashing=GOOD.format(name="minilm-half"),
        careless=OPTIONS.format(field="share: float = Field(default=0.5, ge=0)", config=""),
        good=GOOD.format(name="other"),
    )
    result = CliRunner().invoke(app, ["plugins", "--check"])
    assert result.exit_code == 2
    lines = result.output.splitlines()
    for name, where in (("raising", 4), ("unknown", 4), ("clashing", 5), ("careless", 7)):
        (line,) = [number for number, text in enumerate(lines) if text.startswith(f"BROKEN {name}  (unknown): ")]
        assert lines[line + 1].startswith(f"    xlp_{name}.py:{where}")
    assert "good  (unknown): student other" in lines
    # Listing is not a check: a method whose option lacks a description can still be used.
    listed = CliRunner().invoke(app, ["list", "methods"])
    assert listed.exit_code == 0
    assert "multistage" in listed.output
    assert "mine" in listed.output
    shown = CliRunner().invoke(app, ["plugins"])
    assert shown.exit_code == 0
    assert "BROKEN raising" in shown.output


def test_the_command_reports_all_faults_in_strict_mode_too(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(bad="x = 1", worse="x = 1")
    monkeypatch.setenv("XLBENCH_STRICT", "1")
    result = CliRunner().invoke(app, ["plugins", "--check", "--json"])
    assert result.exit_code == 2
    assert [it["name"] for it in json.loads(result.output)["broken"]] == ["bad", "worse"]


def test_the_command_reports_single_files_too(tmp_path: Path) -> None:
    sources = {
        "raises": "import nowhere_to_be_found",
        "unknown_hook": "@hookimpl\ndef xlbench_methodz():\n    return []",
        "clash": "@hookimpl\ndef xlbench_students():\n    return [StudentSpec(name='minilm-half', layers=2)]",
        "well": GOOD.format(name="mine"),
    }
    files = []
    for name, source in sources.items():
        file = tmp_path / f"{name}.py"
        file.write_text((HEAD if name != "raises" else "") + source)
        files += ["--plugin", str(file)]
    result = CliRunner().invoke(app, [*files, "plugins", "--check", "--json"])
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    causes = {broken["name"]: broken["cause"] for broken in answer["broken"]}
    assert causes == {
        str(tmp_path / "raises.py"): "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        str(tmp_path / "unknown_hook.py"): (
            "xlbench_methodz() implements the unknown hook 'xlbench_methodz'. Did you mean xlbench_methods or "
            "xlbench_encoders or xlbench_budgets?"
        ),
        str(tmp_path / "clash.py"): "'minilm-half' is already the name of a StudentSpec from plugin 'builtin'",
    }
    brought = {plugin["name"]: plugin["brings"] for plugin in answer["loaded"]}
    assert brought[str(tmp_path / "well.py")] == [["student", "mine"]]
    assert len(brought["builtin"]) > 1


def test_the_built_in_plugins_have_no_faults() -> None:
    load_registry.cache_clear()
    result = CliRunner().invoke(app, ["plugins", "--check"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == f"all {len(load_registry().loaded)} plugins are well"
    assert "multistage  (xlbench 0.1.0): method multistage" in result.output
