"""The examples of the pages: files are run on toys, commands parsed, TOML validated, Python compiled and imported."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import sys
import tomllib
from typing import TYPE_CHECKING

import click
import pytest
from docs_blocks import EXAMPLES, MARKED, PAGES, PLUGINS, ROOT, built_ins

import xlbench
from xlbench.boards.board import read_board
from xlbench.cli.app import COMMANDS, app
from xlbench.distill.engine import encoder_keys
from xlbench.experiment import StudentSpec
from xlbench.plugins.checks import option_faults
from xlbench.plugins.registry import Registry, check_plugins, load_registry
from xlbench.runs.request import make_request, read_toml
from xlbench.settings import Settings
from xlbench.testing.bench import Bench
from xlbench.testing.toys import save_toy_encoder, write_toy_corpus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOARDS = {"first.toml", "own-students.toml"}
FENCE = re.compile(r"^```(?P<language>[a-z]+)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
DEMO = {"demo", "mine"}  # methods that the pages tell the reader to make


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with built_ins():
        yield load_registry(tuple(PLUGINS), strict=True)


def blocks(*languages: str) -> list[tuple[str, str]]:
    """Page and code of every fenced block in these languages."""
    return [
        (path.relative_to(ROOT).as_posix(), match["code"])
        for path in PAGES
        for match in FENCE.finditer(path.read_text("utf-8"))
        if match["language"] in languages
    ]


def commands(code: str) -> list[list[str]]:
    """The commands of a shell block, as words; what is behind a pipe or '&&' is another one, behind '>' none."""
    found: list[list[str]] = []
    for line in code.replace("\\\n", " ").split("\n"):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;>")
        lexer.whitespace_split = True
        words: list[str] = []
        target = False
        for word in [*lexer, ";"]:
            if set(word) <= set("&|;"):
                found += [words] if words else []
                words = []
            elif word != ">" and not target:
                words.append(word)
            target = word == ">"
    return found


def parsed(words: list[str]) -> click.Context:
    """Parse a command as if it was to run; raises click.UsageError where it could not."""
    context = app.make_context("xlbench", list(words))
    group: click.Command = app
    while isinstance(group, click.Group):
        left = [*context._protected_args, *context.args]
        if not left:
            break
        name, found, rest = group.resolve_command(context, left)
        assert found is not None, words
        context = found.make_context(name, rest, parent=context)
        group = found
    return context


SHELL = [(page, words) for page, code in blocks("sh") for words in commands(code)]
OURS = [(page, words[1:]) for page, words in SHELL if words[0] == "xlbench"]


def test_there_are_commands_to_check() -> None:
    assert len(OURS) > 25
    assert ["xlbench", "leaderboard", "run", "first"] in [words for _, words in SHELL]


@pytest.mark.parametrize(("page", "words"), OURS, ids=[f"{page}: {shlex.join(words)}" for page, words in OURS])
def test_a_command_of_a_page_can_be_parsed_and_its_names_exist(page: str, words: list[str], registry: Registry) -> None:
    given = parsed(words).params
    for kind, table in (
        ("method", {*registry.methods, *DEMO}),
        ("student", registry.students),
        ("suite", registry.suites),
        ("budget", registry.budgets),
    ):
        value = given.get(kind)
        made_here = str(value).endswith(".toml") or "=" in str(value)  # a student in a file, or as B=128,K=6,R=2
        made_here |= kind == "suite" and str(value).startswith("mteb:")  # of MTEB's own names
        assert value is None or made_here or value in table, f"{page}: {kind} {value}"
    corpora = given.get("corpus")
    for corpus in corpora if isinstance(corpora, tuple) else ():  # what `search` takes is a file
        assert corpus.partition(":")[0] in registry.corpora, f"{page}: {corpus}"
    options = registry.methods[given.get("method") or "multistage"].options if given.get("options") else None
    for option in given.get("options") or ():
        assert options is not None
        assert option.partition("=")[0] in options.model_fields, f"{page}: {option}"


def test_a_command_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(click.UsageError):
        parsed(["run", "--methods", "x"])


def test_commands_in_running_text_exist() -> None:
    seen = 0
    for path in PAGES:
        text = MARKED.sub("", FENCE.sub("", path.read_text("utf-8")))
        for span in re.findall(r"`(xlbench [^`]+)`", text):
            one = re.sub(r"(?<=\w)(\|\w+)+", "", " ".join(span.split()))  # of "csv|json" the first
            words = commands(one)[0][1:]
            if len(words) > 1:
                parsed(words)
            else:  # a command as such, without what it takes
                assert words[0].startswith("-") or words[0] in COMMANDS, f"{path.name}: {span}"
            seen += 1
    assert seen > 20


def test_the_tox_environments_that_pages_name_exist() -> None:
    there = set(re.findall(r"^\[testenv:([a-z]+)\]", (ROOT / "tox.ini").read_text("utf-8"), re.MULTILINE))
    said = {
        word
        for _, words in SHELL
        if "tox" in words and "-e" in words
        for word in words[words.index("-e") + 1].split(",")
    }
    assert "demo" in said
    assert said <= there


def test_python_in_pages_compiles_and_its_imports_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    for page, code in blocks("python"):
        for node in ast.walk(compile(code, page, "exec", ast.PyCF_ONLY_AST)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
                module = importlib.import_module(node.module)
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                typing_only = node.module == "xlbench.settings"
                assert not missing or typing_only, f"{page}: {node.module} has no {missing}"


def test_the_notebook_has_ten_cells_of_public_names_and_no_stored_output() -> None:
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text("utf-8"))["cells"]
    code = [it for it in cells if it["cell_type"] == "code"]
    assert len(code) == 10
    assert not any(it["outputs"] or it["execution_count"] for it in code)  # the documentation build executes it
    tree = ast.parse("\n".join("".join(it["source"]) for it in code))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "xlbench"
    }
    assert used == {"run", "load", "score", "compare", "leaderboard"}
    assert used <= set(xlbench.__all__)


def test_toml_in_pages_is_valid() -> None:
    for _page, code in blocks("toml"):
        tomllib.loads(code)
    assert {path.name for path in EXAMPLES.glob("*.toml")} == {*BOARDS, "run.toml", "student.toml"}


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_a_board_of_the_pages_can_be_read_and_its_names_exist(name: str, registry: Registry) -> None:
    from xlbench.records.published import check_published

    board = read_board(EXAMPLES / name).board
    assert board.suite in registry.suites
    assert board.budget in registry.budgets
    for run in board.run:
        registry.methods[run.method].read_options(run.options, run.preset)
    for entry in board.encoder:
        assert entry.model in registry.encoders
    for published in board.published:
        check_published(published.model, [task.task for task in registry.suites[board.suite].tasks])


def test_the_run_file_of_the_pages_is_a_request(registry: Registry) -> None:
    request = make_request(read_toml(EXAMPLES / "run.toml"))
    registry.methods[request.method].read_options(request.options, request.preset)
    assert request.suite in registry.suites
    assert request.budget in registry.budgets


def test_the_student_file_of_the_pages_is_a_spec() -> None:
    StudentSpec.model_validate(tomllib.loads((EXAMPLES / "student.toml").read_text("utf-8")))


def test_the_plugins_of_the_pages_have_no_faults(registry: Registry) -> None:
    assert check_plugins(registry) == ()
    assert {"rounded", "cosine"} <= set(registry.methods)
    for name in ("rounded", "cosine"):
        assert list(option_faults(registry.methods[name].options)) == []


def test_the_example_of_a_size_states_its_size(registry: Registry) -> None:
    from xlbench.students.shape import XLMR

    said = re.search(r"a tenth of XLM-R base: ([\d.]+) M", (EXAMPLES / "own_sizes.py").read_text("utf-8"))
    assert said is not None
    assert f"{XLMR.cut(registry.students['xlmr-tenth']).parameters / 1e6:.1f}" == said[1]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    place = tmp_path_factory.mktemp("toys")
    save_toy_encoder(place / "assistant", scale=1.0)
    write_toy_corpus(place / "corpus")
    return Bench(place, tuple(PLUGINS))


def test_the_rounded_student_is_on_the_grid_that_the_page_states(bench: Bench, tmp_path: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    ran = bench.run("rounded", tmp_path, {"options": {"bits": 4}})
    paths = (ran.distilled.paths[name] for name in ("trained", "rounded"))
    trained, rounded = (SentenceTransformer(str(path)).state_dict() for path in paths)
    matrices = [name for name, tensor in trained.items() if tensor.ndim == 2]
    assert matrices
    for name in matrices:
        # Four bits: steps of a seventh of the row's largest value, and nothing moves by more than half a step.
        step = trained[name].abs().amax(dim=1, keepdim=True) / 7
        steps = rounded[name] / step.clamp(min=1e-30)
        torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
        assert ((rounded[name] - trained[name]).abs() <= 0.5001 * step).all()
    assert all(torch.equal(trained[name], rounded[name]) for name in trained if name not in matrices)


def test_other_bits_are_another_student_and_the_same_training(bench: Bench) -> None:
    def keys(bits: int) -> dict[str, str]:
        experiment = bench.experiment("rounded", {"options": {"bits": bits}})[0]
        return encoder_keys(bench.plan(experiment), experiment)

    first, second = keys(8), keys(4)
    assert [name for name in first if first[name] != second[name]] == ["rounded"]


def test_the_objective_of_the_page_is_two_minus_both_cosines(registry: Registry) -> None:
    import torch

    from xlbench.api import PairVectors, Target

    own = importlib.import_module("xlbench_file_own_objective")
    target = Target(encoder="teacher", side="english")
    student = PairVectors(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
    wanted = PairVectors(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    # The English side points where it should (cosine 1), the other one at a right angle (0).
    assert own.CosineToTarget(target=target).loss(student, {target: wanted}).item() == pytest.approx(1.0)


def test_the_method_with_that_objective_runs(bench: Bench, tmp_path: Path) -> None:
    assert bench.run("cosine", tmp_path).artifact.is_dir()


def test_the_corpus_of_the_page_reads_its_format(registry: Registry, tmp_path: Path) -> None:
    from xlbench import XlbenchError

    file = tmp_path / "phrases.jsonl"
    rows = [{"en": "a cat", "de": "eine Katze"}, {"en": "a dog", "fr": "un chien"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    settings = Settings(home=tmp_path)
    corpus = registry.corpora["jsonl"].open(str(file), settings)
    assert corpus.languages() == ("de", "fr")
    assert list(corpus.pairs("fr")) == [("a dog", "un chien")]
    file.write_text('{"de": "x"}\n', "utf-8")
    with pytest.raises(XlbenchError, match="line 1"):
        list(corpus.pairs("de"))


def test_the_encoder_of_the_page_puts_its_prefix_before_sentences(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np
    from sentence_transformers import SentenceTransformer

    from xlbench.api import encode
    from xlbench.encoders.find import find_encoder, load_encoder

    save_toy_encoder(tmp_path / "our-e5")
    monkeypatch.chdir(tmp_path)
    settings = Settings(home=tmp_path / "home", device="cpu")
    found = load_encoder(find_encoder("our-e5", registry.encoders, settings), registry.encoders, settings)
    plain = SentenceTransformer(str(tmp_path / "our-e5"), device="cpu")
    np.testing.assert_allclose(encode(found, ["a cat"]), plain.encode(["query: a cat"]), atol=1e-6)


def test_the_suite_of_the_page_names_tasks_and_subsets_that_mteb_has(registry: Registry, tmp_path: Path) -> None:
    from xlbench.scoring.tasks import load_task

    for task in registry.suites["german"].tasks:
        load_task(task, Settings(home=tmp_path, offline=False))


def test_the_task_of_the_page_is_scored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from xlbench.experiment import Suite, TaskRef
    from xlbench.scoring.harness import score

    monkeypatch.syspath_prepend(str(EXAMPLES))
    line = next(code for page, code in blocks("python") if page == "docs/howto/suite.md" and "loader=" in code)
    space: dict[str, object] = {"TaskRef": TaskRef}
    exec(f"ref = {line.strip().splitlines()[-1]}", space)
    ref = space["ref"]
    assert isinstance(ref, TaskRef)
    suite = Suite(name="phrases", summary="the page's", tasks=(ref,))
    model = SentenceTransformer(str(save_toy_encoder(tmp_path / "toy")), device="cpu")
    scored = score(model, suite, Settings(home=tmp_path, quiet=True), precision="float32", title="toy")
    assert set(scored.scores.tasks) == {"PhraseSTS"}
    sys.modules.pop("own_task", None)
