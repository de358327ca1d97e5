"""``import xlbench``: it waits for nothing, and does what the command line does, with the same names and errors."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import numpy as np
import pytest
from click.testing import CliRunner
from toy_runs import PLUGIN, STUDENT, make_place

import xlbench
from xlbench import api
from xlbench.arguments import Where
from xlbench.cli.app import app
from xlbench.plugins.template import rendered

if TYPE_CHECKING:
    from xlbench import Results

ROOT = Path(__file__).parents[1]
HEAVY = ["torch", "pandas", "pydantic", "transformers", "mteb", "matplotlib", "click", "numpy"]
SENTENCES = ["ein Haus", "a house", "bir ev"]


def test_importing_loads_nothing_heavy_and_names_are_imported_when_asked_for() -> None:
    code = (
        f"import sys, xlbench\nloaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "first = sorted(name for name in sys.modules if name.startswith('xlbench'))\n"
        "xlbench.run\nprint(loaded, first, 'xlbench.functions' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['xlbench'] True False"


def test_asking_for_a_name_imports_nothing_that_computes() -> None:
    heavy = ["torch", "transformers", "sentence_transformers", "mteb", "datasets", "pandas", "pyarrow", "matplotlib"]
    code = (
        "import sys, xlbench\n[getattr(xlbench, name) for name in xlbench.__all__]\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_names_resolve_and_are_listed_and_no_other_does() -> None:
    assert dir(xlbench) == sorted(xlbench.__all__)
    assert all(getattr(xlbench, name) is not None for name in xlbench.__all__)
    with pytest.raises(AttributeError, match="module 'xlbench' has no attribute 'rnu'"):
        _ = xlbench.rnu


def option_names(command: click.Command) -> set[str]:
    """The options of a command as keywords: '--data-root' is data_root; one without a long name has its variable's."""
    found = set()
    for option in command.params:
        if isinstance(option, click.Option):
            long = [name for name in option.opts if name.startswith("--")]
            found.add(long[0][2:].replace("-", "_") if long else str(option.name))
    return found - {"json", "tsv", "print_config", "help", "version"}


@pytest.mark.parametrize("name", ["run", "score", "compare", "bundle", "push", "encode", "search", "mine"])
def test_a_function_has_the_options_of_its_command(name: str) -> None:
    command = app.get_command(click.Context(app), name)
    assert command is not None
    keywords = set(inspect.signature(getattr(xlbench, name)).parameters)
    assert option_names(command) <= keywords
    # Nor does the function take more: `say` hears what the command writes to standard error.
    arguments = {str(it.name) for it in command.params if isinstance(it, click.Argument)}
    assert keywords == option_names(command) | arguments | {"where"} | (
        {"say"} if name in {"run", "bundle", "push"} else set()
    )


def test_the_options_of_all_commands_are_arguments_of_all_functions() -> None:
    assert option_names(app) == set(Where.__annotations__)


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["run", "--method", "multistag"], {"method": "multistag"}),
        (["run", "-o", "learning_rat=1"], {"options": {"learning_rat": "1"}}),
        (["run", "--languages", "de,xx"], {"languages": ["de", "xx"]}),
        (["run", "--student", "B=128,Q=1"], {"student": "B=128,Q=1"}),
        (["run", "--config", "nowhere.toml"], {"config": "nowhere.toml"}),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
def test_an_error_has_the_text_of_the_command_line(
    words: list[str], arguments: dict[str, object], tmp_path: Path
) -> None:
    home = str(tmp_path / "home")
    done = subprocess.run(
        [sys.executable, "-m", "xlbench", "--offline", "--home", home, *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    with pytest.raises(xlbench.XlbenchError) as error:
        xlbench.run(offline=True, home=home, **arguments)  # type: ignore[arg-type]
    assert done.returncode == 2
    assert done.stderr == f"xlbench: {error.value}\n"


def test_an_unknown_argument_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(xlbench.XlbenchError, match=r"^Unknown argument 'metod'\.\nDid you mean method\?$"):
        xlbench.run(metod="multistage")  # type: ignore[call-arg]
    with pytest.raises(xlbench.XlbenchError, match=r"^Unknown argument 'ofline'\.\nDid you mean offline\?$"):
        xlbench.score("multilingual-e5-small", ofline=True)  # type: ignore[call-arg]


class CompletedRun(NamedTuple):
    """A toy run, where it is, and what it said."""

    results: Results
    place: Path
    notes: list[str]


def where(place: Path) -> Where:
    return {"home": place / "home", "plugin": PLUGIN, "device": "cpu", "quiet": True}


def run(place: Path, **changes: object) -> CompletedRun:
    notes: list[str] = []
    arguments: dict[str, object] = {
        "student": STUDENT, "assistant": str(place / "assistant"), "corpus": f"tsv:{place / 'corpus'}", "suite": "toy",
        "budget": "toy", "precision": "float32", "options": {"batch_size": 16}, "speed": False, "say": notes.append,
    }  # fmt: skip
    return CompletedRun(xlbench.run(**{**arguments, **changes}, **where(place)), place, notes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> CompletedRun:
    return run(make_place(tmp_path_factory.mktemp("public")))


def test_a_run_gives_records_and_the_second_takes_all_from_the_store(ran: CompletedRun) -> None:
    assert [record.role for record in ran.results.records] == ["teacher", "assistant", "aligned", "student"]
    again = run(ran.place)
    assert again.notes[0] == "all 4 records come from the store"
    assert again.notes[1].startswith("pairs: ")
    assert again.results.records == ran.results.records


def test_the_tidy_frame_holds_the_scores_of_the_records(ran: CompletedRun) -> None:
    frame = ran.results.to_dataframe()
    assert {"name", "seed", "task", "subset", "score", "low", "high", "metric", "split", "languages"} <= set(frame)
    scores = {
        (record.name, task, subset): (cell.main, cell.items)
        for record in ran.results.records
        for task, of_task in record.scores.tasks.items()
        for subset, cell in of_task.subsets.items()
    }
    lines = zip(frame.name, frame.task, frame.subset, frame.score, frame["items"], strict=True)
    assert {(name, task, subset): (score, items) for name, task, subset, score, items in lines} == scores
    assert len(frame) == len(scores) == 8  # four encoders; two tasks of one subset each
    assert (frame.low <= frame.score).all()
    assert (frame.score <= frame.high).all()


def test_the_table_has_a_row_for_each_encoder(ran: CompletedRun) -> None:
    table = ran.results.table()
    assert sorted(table.name) == sorted(record.name for record in ran.results.records)
    student = table[table.role == "student"].iloc[0]
    record = ran.results.student.record
    assert student.parameters == record.footprint.parameters
    assert student.sts_score == record.scores.families["sts"]


def test_the_student_encodes_and_a_saved_one_gives_the_same_vectors(ran: CompletedRun, tmp_path: Path) -> None:
    student = ran.results.student
    vectors = student.model.encode(SENTENCES)
    assert vectors.shape[0] == 3
    assert student.save(tmp_path / "saved") == tmp_path / "saved"
    np.testing.assert_array_equal(xlbench.load(tmp_path / "saved").encode(SENTENCES), vectors)
    with pytest.raises(xlbench.XlbenchError, match="nothing"):
        xlbench.load(tmp_path / "nothing")


def test_a_notebook_shows_a_table_and_escapes_markup_in_names(ran: CompletedRun) -> None:
    *others, last = ran.results.stored
    named = last._replace(record=last.record.model_copy(update={"name": "<script>alert(1)</script>"}))
    shown = replace(ran.results, stored=(*others, named))._repr_html_()
    assert "<table>" in shown
    assert "alert(1)" in shown
    assert "<script" not in shown


def test_a_run_without_a_student_says_so(ran: CompletedRun) -> None:
    options = {"encoder": "assistant"}
    results = run(ran.place, method="reference", options=options).results
    assert results.students == []
    with pytest.raises(xlbench.XlbenchError, match=r"^These results hold no student\."):
        _ = results.student


def test_a_directory_is_scored_once_and_kept(
    ran: CompletedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = ran.results.student.save(tmp_path / "saved")
    first = xlbench.score(saved, suite="toy", precision="float32", **where(ran.place))
    (record,) = first.records
    assert record.scores.families == ran.results.student.record.scores.families  # the same weights, the same scores

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr("xlbench.scoring.harness.score", refuse)
    items = tmp_path / "items.parquet"
    again = xlbench.score(saved, suite="toy", precision="float32", items=items, **where(ran.place))
    assert again.records == [record]
    assert items.is_file()


def test_a_run_is_used_by_any_of_its_names(ran: CompletedRun, tmp_path: Path) -> None:
    student = ran.results.student
    expected = student.model.encode(SENTENCES)
    names = [ran.results, student, student.key[:8], f"multistage/{student.name}", student.path]
    if find_spec("onnxruntime"):
        student.export("onnx", tmp_path / "exported")
        names.append(tmp_path / "exported")
    for name in names:
        precision = "auto" if name == tmp_path / "exported" else "float32"
        found = xlbench.encode(SENTENCES, model=name, precision=precision, **where(ran.place))
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=str(name))
    assistant = xlbench.search(SENTENCES, "ein Haus", model=ran.place / "assistant", **where(ran.place))
    assert assistant.to_dataframe().sentence[0] == "ein Haus"
    for name, said in {
        "multistage/toy-hlf": "Encoder 'multistage/toy-hlf' is not on this machine",
        "toy-hal": "No run in the store .* is called 'toy-hal'.\nDid you mean toy-half",
        "no such": "^Unknown encoder 'no such'.",
        ran.results.stored[0].key[:8]: "was only scored, it is no student",
    }.items():
        with pytest.raises(xlbench.XlbenchError, match=said):
            xlbench.encode(SENTENCES, model=name, **where(ran.place))


def test_a_comparison_has_the_numbers_of_the_command(ran: CompletedRun) -> None:
    student, aligned = ran.results.student, ran.results.stored[2]
    found = xlbench.compare(student, aligned, examples=1, **where(ran.place))
    assert isinstance(found, xlbench.Comparison)
    words = ["-q", "--home", str(ran.place / "home"), "--plugin", str(PLUGIN), "--device", "cpu", "compare"]
    done = CliRunner().invoke(app, [*words, student.key, aligned.key, "--examples", "1", "--json"])
    assert json.loads(done.stdout) == found.model_dump(mode="json")

    frame = found.to_dataframe()
    # A line per subset, one per task, one per family: one subset a task, one task a family.
    assert frame.family.tolist() == ["sts", "sts", "bitext", "bitext", "sts", "bitext"]
    assert frame.task.notna().tolist() == [True, True, True, True, False, False]
    assert frame.subset.notna().tolist() == [True, False, True, False, False, False]
    gap = found.gaps.families["sts"]
    (line,) = frame[frame.task.isna() & (frame.family == "sts")].itertuples()
    assert (line.first, line.second, line.difference) == (gap.first, gap.second, gap.difference.value)
    assert line.difference == pytest.approx(line.first - line.second)
    assert (frame.significant == ((frame.low > 0) | (frame.high < 0))).all()
    assert "<table" in found._repr_html_()


def test_a_comparison_escapes_names(ran: CompletedRun) -> None:
    found = xlbench.compare(ran.results.student, ran.results.stored[1], **where(ran.place))
    hostile = found.model_copy(update={"first": found.first.model_copy(update={"name": "<b>x"})})
    assert "&lt;b&gt;x" in hostile._repr_html_()


def test_results_of_several_encoders_cannot_be_compared(ran: CompletedRun) -> None:
    scored = replace(ran.results, stored=ran.results.stored[:2])
    with pytest.raises(xlbench.XlbenchError, match=r"^These results hold 2 runs, and compare takes one on each side"):
        xlbench.compare(scored, ran.results, **where(ran.place))


def shown_code() -> dict[str, list[str]]:
    """All Python that users are shown or start from, by where it stands."""
    found: dict[str, list[str]] = {}
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        blocks = re.findall(r"^( *)```python\n(.*?)^\1```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
        found[page.relative_to(ROOT).as_posix()] = [textwrap.dedent(block) for _, block in blocks]
    for notebook in sorted((ROOT / "docs").rglob("*.ipynb")):
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        lines = [re.sub(r"^[%!].*$", "", cell, flags=re.MULTILINE) for cell in code]
        found[notebook.relative_to(ROOT).as_posix()] = lines
    for folder in ("docs/examples", "plugins/xlbench_plugins"):
        found |= {f"{folder}/{path.name}": [path.read_text("utf-8")] for path in sorted((ROOT / folder).glob("*.py"))}
    made = {path.as_posix(): text for path, text in rendered("demo").items() if path.suffix == ".py"}
    return found | {f"new-plugin: {path}": [text] for path, text in made.items()}


def private_imports(code: str) -> list[str]:
    """What of xlbench a piece of code imports that neither door exports."""
    doors = {"xlbench": xlbench.__all__, "xlbench.api": api.__all__, "xlbench.testing.toys": None}
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [it.name for it in node.names if it.name.split(".")[0] == "xlbench" and it.name not in doors]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "xlbench":
            module = str(node.module)
            exported = doors.get(module, [])
            names = [it.name for it in node.names if f"{module}.{it.name}" not in doors]
            found += [f"{module}.{name}" for name in names if exported is not None and name not in exported]
    return found


@pytest.mark.parametrize("place", shown_code())
def test_code_in_docs_imports_public_names_only(place: str) -> None:
    assert [name for code in shown_code()[place] for name in private_imports(code)] == []


@pytest.mark.parametrize(
    ("code", "private"),
    [
        ("import xlbench\nfrom xlbench import api, run\nfrom xlbench.api import hookimpl", []),
        ("from xlbench.runs.run import run", ["xlbench.runs.run.run"]),
        ("import xlbench.store", ["xlbench.store"]),
        ("from xlbench import store", ["xlbench.store"]),
        ("def f():\n    from xlbench.api import read_settings", ["xlbench.api.read_settings"]),
    ],
)
def test_the_scan_finds_private_imports(code: str, private: list[str]) -> None:
    assert private_imports(code) == private
