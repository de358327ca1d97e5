"""Plugins: loaded one by one; broken ones are reported and stop no others."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

import pytest

from xlbench import XlbenchError
from xlbench.distill.method import Options
from xlbench.errors import look_up
from xlbench.fingerprint import meaning
from xlbench.plugins import registry as registry_module
from xlbench.plugins.registry import Registry, load_registry
from xlbench.testing.toys import toy_experiment

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


HEAD = "import sys\nfrom xlbench.api import *\n"
METHOD = "@hookimpl\ndef xlbench_methods():\n    return [Method('mine', 's', plan, Options)]\n"


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("return None", "returned None, which is no Plan ({file}:3)"),
        ("return Plan((3,), 'x')", "has 'int' among its stages, which is no Stage ({file}:3)"),
        ("raise ValueError('no')", "raised ValueError: no ({file}:4 in plan)"),
        ("sys.exit(7)", "raised SystemExit: 7 ({file}:4 in plan)"),
        ("raise BaseException", "raised BaseException ({file}:4 in plan)"),
        ("return Plan((Stage('s', 'assistant', (3,)),), 's')", "raised AttributeError: "),
    ],
)
def test_a_plan_that_fails_names_its_plugin(tmp_path: Path, plan: str, said: str) -> None:
    file = write(tmp_path / "mine.py", f"{HEAD}def plan(experiment, options):\n    {plan}\n{METHOD}")
    method = load_registry((file,)).methods["mine"]
    with pytest.raises(XlbenchError) as caught:
        method.plan_for(toy_experiment("mine", Options()))
    wanted = f"Plugin '{file}': plan of method 'mine' {said.format(file=file)}"
    assert str(caught.value).startswith(wanted)
    assert str(caught.value).endswith("\nFix the plugin, or leave it out.")


def test_what_a_hook_raises_never_ends_the_process(with_entry_points: Install) -> None:
    source = "from xlbench.api import hookimpl\n@hookimpl\ndef xlbench_students():\n    raise {}\n"
    registry = with_entry_points(base=source.format("BaseException('b')"), leaves=source.format("SystemExit(0)"))
    assert [(it.name, it.cause) for it in registry.broken] == [
        ("base", "xlbench_students() raised BaseException: b"),
        ("leaves", "xlbench_students() raised SystemExit: 0"),
    ]
    assert all(it.where.endswith(f"xlp_{it.name}.py:4 in xlbench_students") for it in registry.broken)


ENDLESS = {
    "many": "n = 0\n    while True:\n        n += 1\n        yield StudentSpec(name=f's{n}', layers=2)",
    "slow": "while True:\n        try:\n            pass\n        except Exception:\n            pass\n    yield",
}


HURRIED = """
import sys
from pathlib import Path
from xlbench import XlbenchError
from xlbench.plugins import registry
registry.load_registry(())
registry.HOOK_SECONDS = 0.05
try:
    registry.load_registry((Path(sys.argv[1]),))
except XlbenchError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("many", "gives over 1,000 things, perhaps without end"),
        ("slow", "raised OutOfTimeError: it had not ended"),
    ],
)
def test_a_hook_without_end_is_ended(tmp_path: Path, name: str, cause: str) -> None:
    assert registry_module.HOOK_SECONDS == 10
    file = write(tmp_path / f"{name}.py", f"{HEAD}@hookimpl\ndef xlbench_students():\n    {ENDLESS[name]}\n")
    # In a process of its own: with so short a time the hooks that come with xlbench may be interrupted as well, inside
    # of whatever library they import for the first time, and not every library lives through that.
    made = subprocess.run([sys.executable, "-c", HURRIED, str(file)], capture_output=True, text=True, check=True)
    assert made.stdout.startswith(f"Plugin file '{file}' cannot be used: xlbench_students() {cause}")
    assert f"({file}:" in made.stdout


TIMED = """
import signal, time
from xlbench.plugins.guard import OutOfTimeError, call_within

def last(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass

outer = signal.getsignal(signal.SIGALRM)
kept = []  # who keeps an error keeps its frames too, so that nothing is tidied up by the way
for step in range(5_000):  # the timer goes off before, during and after the call
    try:
        call_within(1e-6 * (1 + step % 100), lambda: last(5e-5))
    except OutOfTimeError as error:
        kept.append(error)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is outer
print(len(kept))
"""


def test_a_time_limit_that_is_over_at_any_moment_leaves_no_timer_behind() -> None:
    made = subprocess.run([sys.executable, "-c", TIMED], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert int(made.stdout) > 0


def test_a_file_given_twice_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", GOOD)
    (tmp_path / "link.py").symlink_to(file)
    for again in (file, tmp_path / "link.py", tmp_path / "." / "x" / ".." / "mine.py"):
        with pytest.raises(XlbenchError, match=r"Plugin file '.*mine\.py' is given twice"):
            load_registry((file, again))


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    files = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        body = textwrap.dedent(GOOD).replace("mine", place) + f"\nclass Part:\n    place = '{place}'\n"
        files.append(write(tmp_path / place / "same.py", body))
    students = load_registry(tuple(files)).students
    assert {"a", "b"} <= set(students)
    # What identifies a class is the source of its module, which is looked up by the module's name.
    parts = [vars(module)["Part"] for name, module in sys.modules.items() if name.startswith("xlbench_file_same")]
    assert len({meaning(part) for part in parts}) == 2


def test_what_a_plugin_prints_is_no_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    body = "print('imported')\n@hookimpl\ndef xlbench_students():\n    print('hook')\n    return []\n"
    plan = "def plan(experiment, options):\n    print('plan')\n    return Plan((), 'assistant')\n"
    file = write(tmp_path / "mine.py", HEAD + body + plan + METHOD)
    load_registry((file,)).methods["mine"].plan_for(toy_experiment("mine", Options()))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.split() == ["imported", "hook", "plan"]


def test_an_unknown_name_proposes_the_nearest_names() -> None:
    with pytest.raises(XlbenchError, match=r"Unknown method 'multistge'\.\nDid you mean multistage\?"):
        look_up("method", "multistge", load_registry().methods)
    with pytest.raises(XlbenchError, match=r"Valid names: a, b\."):
        look_up("method", "zzz", {"a": 1, "b": 2})
