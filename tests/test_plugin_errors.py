"""What a plugin does wrong in the middle of a run names the plugin, its file and the line, and leaves no record."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from toy_runs import PLUGIN as TOY
from toy_runs import make_place, settings_at, toy_request, toy_run

from xlbench import XlbenchError
from xlbench.cli import main
from xlbench.cli.signals import Interrupted, ending_signals
from xlbench.corpora.choose import gather_pairs
from xlbench.corpora.corpus import open_corpus
from xlbench.plugins.guard import plugin_errors
from xlbench.plugins.registry import load_registry
from xlbench.runs.job import make_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLUGIN = """
import itertools, sys, torch; from sentence_transformers import SentenceTransformer
from xlbench.api import *

class Raises(Frozen):
    def inputs(self): return ()
    def reshape(self, shape): raise KeyError("width")  # line 7
    def apply(self, model, context): return model

class NoShape(Raises):
    def reshape(self, shape): return None  # line 11

class Leaves(Raises):
    def reshape(self, shape): return shape
    def apply(self, model, context): sys.exit(0)  # line 15

class NoLoss(Frozen):
    def targets(self): return ()
    def loss(self, student, targets): return None  # line 19

def method(name, **stage):
    def plan(experiment, options):
        return Plan((Stage("s", "assistant", **stage),), "s")
    return Method(name, "s", plan, Options)

@hookimpl
def xlbench_methods():
    yield method("raises", edits=(Raises(),))
    yield method("no-shape", edits=(NoShape(),))
    yield method("leaves", edits=(Leaves(),))
    yield method("no-loss", training=Training(objectives=(NoLoss(),), pairs=64, seed=0))

class Wrong:
    digest, note = "d", ""
    def __init__(self, codes, pairs): self.codes, self.given = codes, pairs
    def languages(self): return self.codes
    def pairs(self, language): return self.given  # line 37

class Ends(Wrong):
    def pairs(self, language):
        yield ("a b", "c d")
        raise self.given  # line 42

class Stops(Wrong):
    def pairs(self, language): raise self.given  # line 45

def opens(argument, settings):  # line 47
    given = {"codes": (None, []), "three": (("de",), [("a", "b", "c")]), "none": (("de",), None),
             "text": (("de",), ["ab"]), "numbers": (("de",), [(1, 2)]),
             "distinct": (("de",), ((f"a {n}", f"b {n}") for n in itertools.count())),
             "endless": (("de",), itertools.cycle([("a b", "c d"), ("e f", "g h"), ("i j", "k l")]))}
    if argument == "never":
        return Stops(("de",), StopIteration("x"))
    if argument in ("stops", "exits"):
        return Ends(("de",), StopIteration("x") if argument == "stops" else GeneratorExit("x"))
    return Wrong(*given[argument])

@hookimpl
def xlbench_corpora():
    yield CorpusReader("wrong", "s", "wrong:codes", opens)

@hookimpl
def xlbench_encoders():
    yield RegisteredEncoder("nothing", "s", lambda settings: "d", lambda settings: None)  # line 64
    yield RegisteredEncoder("lost", "s", lambda settings: "d", lambda settings: SentenceTransformer(modules=[Lost()]))

class Lost(torch.nn.Module):
    def preprocess(self, texts, **options): raise LookupError("no words")  # line 68
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Toys, and the plugin."""
    place = make_place(tmp_path_factory.mktemp("toy"))
    (place / "bad.py").write_text(PLUGIN)
    yield place
    load_registry.cache_clear()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "raises"}, " raised KeyError: 'width' ({file}:7 in reshape).\n"),
        ({"method": "no-shape"}, ": Stage 's': NoShape.reshape returned NoneType ({file}:11).\n"),
        ({"method": "leaves"}, " raised SystemExit: 0 ({file}:15 in apply).\n"),
        ({"method": "no-loss"}, ": NoLoss.loss returned NoneType ({file}:19).\n"),
        (
            {"corpus": ("wrong:codes",)},
            ": open of corpus 'wrong' opened a corpus whose languages are None, and no tuple of codes ({file}:47).\n",
        ),
        (
            {"corpus": ("wrong:three",)},
            ": Corpus 'wrong:three' gives ('a', 'b', 'c'), which is no pair ({file}:37).\n",
        ),
        ({"corpus": ("wrong:text",)}, ": Corpus 'wrong:text' gives 'ab', which is no pair ({file}:37).\n"),
        ({"corpus": ("wrong:numbers",)}, ": Corpus 'wrong:numbers' gives (1, 2), which is no pair ({file}:37).\n"),
        ({"corpus": ("wrong:stops",)}, " raised StopIteration: x ({file}:42 in pairs).\n"),
        ({"corpus": ("wrong:never",)}, " raised StopIteration: x ({file}:45 in pairs).\n"),
        ({"corpus": ("wrong:exits",)}, " raised GeneratorExit: x ({file}:42 in pairs).\n"),
        ({"corpus": ("wrong:none",)}, ": Corpus 'wrong:none' has pairs in 'de' that are NoneType ({file}:37).\n"),
        (  # Each of the three was given 1,000 times after 3,000 pairs, and that is looked at every 2,000.
            {"corpus": ("wrong:endless",)},
            ": Corpus 'wrong:endless' has given each of its first pairs in 'de' 1,000 times (4,000 pairs so far)"
            " ({file}:37).\n",
        ),
        (
            {"assistant": "nothing"},
            ": load of encoder 'nothing' returned None, which is no SentenceTransformer ({file}:64).\n",
        ),
        (
            {"assistant": "lost"},
            ": Encoder 'lost' cannot encode: LookupError: no words ({file}:68 in preprocess).\n",
        ),
    ],
)
def test_a_plugin_that_fails_in_a_run_is_named(
    place: Path, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    file = place / "bad.py"
    with pytest.raises(XlbenchError) as caught:
        toy_run(toy_request(place, **changes), settings_at(tmp_path), file)
    assert str(caught.value).startswith(f"Plugin '{file}'{said.format(file=file)}")
    assert str(caught.value).count("\n") == 1
    assert not list(tmp_path.glob("records/*"))
    assert not list(tmp_path.glob("stages/*"))


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        # What is given is counted every 2,000 pairs. The toy budget uses 160 pairs, 1,000 times as many are fewer.
        ({"MOST": 170_000}, "has given 172,000 pairs in 'de' so far, of which the budget can use one in 1,000"),
        ({"FILLED": 1e-9}, "fills the disk: 0.0 GB with 2,000 pairs in 'de' so far"),
    ],
)
def test_a_corpus_of_ever_new_pairs_ends_before_the_disk_does(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, float], told: str
) -> None:
    for name, value in limit.items():
        monkeypatch.setattr(f"xlbench.corpora.choose.{name}", value)
    load_registry.cache_clear()  # its generator goes on where it was left
    with pytest.raises(XlbenchError) as caught:
        toy_run(toy_request(place, corpus=("wrong:distinct",)), settings_at(tmp_path), place / "bad.py")
    assert f": Corpus 'wrong:distinct' {told} (" in caught.value.problem
    assert caught.value.remedy.startswith("A corpus must end: give a part of it, or ")
    assert not list(tmp_path.glob("partial/*/scratch/*"))


def test_plain_tuples_are_pairs_and_an_interrupt_is_one(place: Path, tmp_path: Path) -> None:
    settings, registry = settings_at(tmp_path), load_registry((place / "bad.py",))
    (tmp_path / "scratch").mkdir()
    corpus = open_corpus("wrong:endless", registry.corpora, settings)
    corpus.corpus.given = [("a b", "c d"), ("e f", "g h")]  # type: ignore[attr-defined]
    gathered = gather_pairs([corpus], ["de"], tmp_path / "scratch", quiet=True)
    assert gathered.read == (2,)
    ends = open_corpus("wrong:stops", registry.corpora, settings)
    ends.corpus.given = KeyboardInterrupt()  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt), plugin_errors(registry.files):
        gather_pairs([ends], ["de"], tmp_path / "scratch", quiet=True)


PLANS = """
import os, signal
from xlbench.api import *

S = Stage("s", "assistant")
PLANS = {
    "sound": Plan((S,), "s"),
    "no-result": Plan((S,), "zz"),
    "no-teacher": Plan((S,), "s", teacher="zz"),
    "no-assistant": Plan((S,), "s", assistant="zz"),
    "twice": Plan((S, S), "s"),
    "unread": Plan((S, Stage("t", "zz")), "s"),
    "own-blend": Plan((S,), "s", blends=(Blend(name="b", teachers=(("s", 1.0),)),)),
    "number": Plan((Stage(5, "assistant"),), 5),
    "list": Plan((S,), ["s"]),
    "blends": Plan((S,), "s", blends=("b",)),
}

def stops(experiment, options):
    raise KeyboardInterrupt("mine")  # line 20

def signals(experiment, options):
    os.kill(os.getpid(), signal.SIGINT)

@hookimpl
def xlbench_methods():
    yield Method("stops", "s", stops, Options)
    yield Method("signals", "s", signals, Options)
    for name, found in PLANS.items():
        yield Method(name, "s", lambda experiment, options, found=found: found, Options)
"""


@pytest.fixture(scope="module")
def plans(place: Path) -> Path:
    """A plugin of methods whose plans are wrong, but for 'sound'; that is seen without a look at any encoder."""
    file = place / "plans.py"
    file.write_text(PLANS)
    return file


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("no-result", "Method 'no-result': The plan shows 'zz', which none of its stages makes."),
        ("no-teacher", "Method 'no-teacher': The plan shows 'zz', which none of its stages makes."),
        ("no-assistant", "Method 'no-assistant': The plan shows 'zz', which none of its stages makes."),
        ("twice", "Method 'twice': Two encoders of the plan are called 's'."),
        ("unread", "Method 'unread': Stage 't' reads 'zz', which no earlier stage makes."),
        ("own-blend", "Method 'own-blend': 'b' blends 's', which is not there from the start."),
        ("number", "plan of method 'number' calls a stage 5, which is no text ("),
        ("list", "plan of method 'list' calls its result ['s'], which is no text ("),
        ("blends", "plan of method 'blends' has 'str' among its blends, which is no Blend ("),
    ],
)
def test_a_wrong_plan_is_refused_when_its_job_is_made(
    place: Path, plans: Path, tmp_path: Path, method: str, said: str
) -> None:
    # So it is refused whatever the store holds: no job is made that could find its result there.
    registry, settings = load_registry((TOY, plans)), settings_at(tmp_path)
    assert make_jobs(toy_request(place, method="sound"), registry, settings)
    with pytest.raises(XlbenchError) as caught:
        make_jobs(toy_request(place, method=method), registry, settings)
    assert said in str(caught.value)
    assert str(caught.value).count("\n") == 1


def command(place: Path, home: Path, plugin: Path, method: str) -> list[str]:
    given = ["--home", str(home), "--offline", "--plugin", str(TOY), "--plugin", str(plugin), "run", "--method", method]
    data = ["--assistant", str(place / "assistant"), "--corpus", f"tsv:{place / 'corpus'}", "--suite", "toy"]
    return [*given, *data, "--budget", "toy"]


@pytest.mark.parametrize(
    ("method", "code", "said"),
    [
        (
            "stops",
            2,
            "xlbench: Plugin '{file}': plan of method 'stops' raised KeyboardInterrupt: mine ({file}:20 in stops).\n"
            "Fix the plugin, or leave it out.\n",
        ),
        ("signals", 130, "xlbench: interrupted; the same command resumes\n"),
    ],
)
def test_a_plugins_own_interrupt_is_its_error_and_a_signal_is_none(
    place: Path, plans: Path, tmp_path: Path, method: str, code: int, said: str
) -> None:
    # In a process of its own, which does not ignore the signal as a shell's background jobs do.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from xlbench.cli import main; main(sys.argv[1:])"
    )
    words = [sys.executable, "-c", program, *command(place, tmp_path, plans, method)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.endswith(said.format(file=plans))


@pytest.mark.parametrize(
    "source",
    ["raise KeyboardInterrupt", "{HEAD}@hookimpl\ndef xlbench_students():\n    raise KeyboardInterrupt\n"],
)
def test_a_plugin_that_interrupts_when_it_is_loaded_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    file = tmp_path / "stops.py"
    file.write_text(source.format(HEAD="from xlbench.api import hookimpl\n"))
    with pytest.raises(SystemExit) as ended:
        main(["--home", str(tmp_path / "home"), "--plugin", str(file), "list"])
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "KeyboardInterrupt" in lines[0]
    assert str(file) in lines[0]


def test_an_interrupt_of_an_edit_is_an_error_where_ctrl_c_comes_as_another_one(
    plans: Path,
) -> None:
    registry = load_registry((TOY, plans))
    code = compile("raise KeyboardInterrupt", str(plans), "exec")
    with pytest.raises(KeyboardInterrupt), plugin_errors(registry.files):  # perhaps Ctrl-C in a notebook
        exec(code, {})
    with ending_signals():
        with pytest.raises(XlbenchError, match="raised KeyboardInterrupt") as caught, plugin_errors(registry.files):
            exec(code, {})
        assert str(caught.value).startswith(f"Plugin '{plans}' ")
        with pytest.raises(Interrupted), plugin_errors(registry.files):
            raise Interrupted
