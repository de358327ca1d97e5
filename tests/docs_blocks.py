"""What stands between marks in pages: ``<!-- generated: KIND ARGUMENTS -->`` ... ``<!-- /generated -->``."""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections import Counter
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import click
from click.testing import CliRunner
from docs_api import documented, signature
from tabulate import tabulate

import xlbench
from xlbench import api
from xlbench.arguments import Where
from xlbench.boards.board import Board, EncoderEntry, ExportEntry, MtebEntry, PublishedEntry, RunEntry, read_board
from xlbench.boards.folder import read_folder
from xlbench.cli.app import COMMANDS, app
from xlbench.cli.catalogue import budget_line, group_title, option_groups, option_rows
from xlbench.plugins import hooks as hookspecs
from xlbench.plugins.registry import Registry, load_registry
from xlbench.plugins.template import rendered
from xlbench.report.fields import ENCODER, FAMILY, FOOTPRINT, TASKS, TIDY
from xlbench.report.figures import figures
from xlbench.report.findings import FindingEntry
from xlbench.report.formats import signed
from xlbench.report.frame import board_frame, records_of
from xlbench.report.markdown import markdown
from xlbench.report.panels import claim_panels
from xlbench.report.plots import claim_picture
from xlbench.runs.request import Request
from xlbench.scoring.data import read_declaration
from xlbench.students.shape import MINILM, XLMR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import BaseModel

    from xlbench.boards.folder import Folder
    from xlbench.experiment import Suite
    from xlbench.fingerprint import Frozen
    from xlbench.report.frame import Value

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PLUGINS = sorted(path for path in EXAMPLES.glob("*.py") if "@hookimpl" in path.read_text("utf-8"))
MARKED = re.compile(r"<!-- generated: (?P<what>.+?) -->\n.*?<!-- /generated -->", re.DOTALL)
LANGUAGES = {".py": "python", ".toml": "toml", ".tsv": "text", ".yml": "yaml", ".md": "markdown"}
ENTRIES: tuple[type[Frozen], ...] = (RunEntry, EncoderEntry, ExportEntry, PublishedEntry, MtebEntry, FindingEntry)
MODELS: dict[str, type[Frozen]] = {it.__name__: it for it in (Request, Board, *ENTRIES, api.StudentSpec)}
SHARED = {"Where": Where}


def renewed(text: str) -> str:
    """Return a page's text with everything between its marks as the code gives it today."""

    def block(match: re.Match[str]) -> str:
        kind, *arguments = match["what"].split()
        return f"<!-- generated: {match['what']} -->\n{KINDS[kind](*arguments)}\n<!-- /generated -->"

    return MARKED.sub(block, text)


@contextmanager
def built_ins() -> Iterator[Registry]:
    """Leave out plugins that happen to be installed here."""
    ours = [entry for entry in entry_points(group="xlbench") if entry.dist and entry.dist.name == "xlbench"]
    load_registry.cache_clear()
    with patch("xlbench.plugins.registry.entry_points", lambda group: ours):
        yield load_registry(strict=True)
    load_registry.cache_clear()


def fenced(language: str, text: str) -> str:
    """Return a code block."""
    return f"```{language}\n{text.rstrip()}\n```"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table; bars in cells are letters."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return tabulate(cells, header, tablefmt="github", disable_numparse=True)


def run(*words: str) -> str:
    """Return what a command prints; on a terminal of 100 columns, in the project's directory, with no store."""
    variables = {"XLBENCH_HOME": "no-store", "XLBENCH_DATA": None, "XLBENCH_STRICT": None}
    there = Path.cwd()
    os.chdir(ROOT)
    try:
        done = CliRunner(env=variables).invoke(
            app, [*words], prog_name="xlbench", terminal_width=100, max_content_width=100
        )
    finally:
        os.chdir(there)
    if done.exit_code:
        raise RuntimeError(f"xlbench {' '.join(words)}: {done.output}") from done.exception
    return done.output


def output(*words: str) -> str:
    """Return a command and what it prints."""
    with built_ins():
        shown = run(*words)
    return fenced("console", f"$ xlbench {' '.join(words)}\n{shown}")


def helps() -> str:
    """Return the help of every command and of those below it."""
    parts = [fenced("text", run("--help"))]
    for name in sorted(COMMANDS):
        command = app.get_command(click.Context(app), name)
        parts += [f"## `xlbench {name}`", fenced("text", run(name, "--help"))]
        if isinstance(command, click.Group):
            for below in command.list_commands(click.Context(command)):
                parts += [f"### `xlbench {name} {below}`", fenced("text", run(name, below, "--help"))]
    return "\n\n".join(parts)


def file(name: str) -> str:
    """Return one of the examples, whole."""
    path = EXAMPLES / name
    return fenced(LANGUAGES[path.suffix], path.read_text("utf-8"))


def template(name: str, path: str) -> str:
    """Return a file of what ``xlbench new-plugin NAME`` writes."""
    return fenced(LANGUAGES[Path(path).suffix], rendered(name)[Path(path)])


def templated(name: str) -> str:
    """Return the paths of what ``xlbench new-plugin NAME`` writes."""
    return fenced("text", "\n".join(sorted(f"{name}/{path.as_posix()}" for path in rendered(name))))


def names(*chosen: str) -> str:
    """Return the reference of public names."""
    return "\n\n".join(documented(getattr(api, name), name) for name in chosen)


def top_names(*chosen: str) -> str:
    """Return the reference of names of the package itself, and of the keyword arguments that its functions share."""
    return "\n\n".join(documented(getattr(xlbench, name, None) or SHARED[name], name) for name in chosen)


def hooks() -> str:
    """Return signature and docstring of every hook."""
    parts = []
    for name in hook_names():
        function = getattr(hookspecs, name)
        parts += [f"## `{name}`", fenced("py", signature(function, name)), inspect.getdoc(function) or ""]
    return "\n\n".join(parts)


def hook_names() -> list[str]:
    """Return the names of all hooks, in the order in which they are written."""
    return [name for name in vars(hookspecs) if name.startswith("xlbench_")]


def methods() -> str:
    """Return every built-in method: the groups of options that it shares with others, and its own options."""
    with built_ins() as registry:
        shared = _shared_groups(registry)
        return "\n\n".join(_method(name, method, shared) for name, method in sorted(registry.methods.items()))


def _method(name: str, method: api.Method, shared: dict[type[BaseModel], list[str]]) -> str:
    groups = option_groups(method.options)
    own = [option for group, options in groups.items() if group not in shared for option in options]
    links = [f"[{group_title(group)}](#{_anchor(group_title(group))})" for group in groups if group in shared]
    parts = [f"## `{name}`", f"{method.summary[0].upper()}{method.summary[1:]}."]
    if method.reference:
        parts.append(f"Reference: {method.reference}.")
    if links:
        parts.append(f"Shared options: {', '.join(links)}.")
    parts.append(_options(method, own) if own else "No options of its own.")
    unpublished = {preset: values for preset, values in method.presets.items() if preset != "paper"}
    for preset, values in unpublished.items():
        parts.append(f"Preset `{preset}`: {', '.join(f'`{option}={value}`' for option, value in values.items())}.")
    return "\n\n".join(parts)


def option_tables() -> str:
    """Return every group of options that several built-in methods share, once."""
    with built_ins() as registry:
        parts = []
        for group, names_of in _shared_groups(registry).items():
            users = {name: it for name, it in sorted(registry.methods.items()) if group in option_groups(it.options)}
            of = f"Of {', '.join(f'[{name}](#{name})' for name in users)}."
            parts += [f"### {group_title(group)}", of, _options(next(iter(users.values())), names_of)]
        return "\n\n".join(parts)


def _shared_groups(registry: Registry) -> dict[type[BaseModel], list[str]]:
    """Return the classes of options that more than one method has, each with its options' names."""
    found: dict[type[BaseModel], list[str]] = {}
    users: Counter[type[BaseModel]] = Counter()
    for method in registry.methods.values():
        for group, options in option_groups(method.options).items():
            users[group] += 1
            found[group] = sorted({*found.get(group, ()), *options}, key=list(group.model_fields).index)
    shared = {group: options for group, options in found.items() if users[group] > 1}
    return dict(sorted(shared.items(), key=lambda item: group_title(item[0])))


def _options(method: api.Method, chosen: list[str]) -> str:
    """Return a table of some options of a method, with the published values where it has a preset of them."""
    published = method.presets.get("paper", {})
    header = ["Option", "Default", *(["Paper"] if any(name in published for name in chosen) else []), "Values", ""]
    rows = []
    for row in option_rows(method.options):
        if row["name"] in chosen:
            paper = f"`{published[row['name']]}`" if row["name"] in published else ""
            cells = [f"`{row['name']}`", f"`{row['default']}`", paper, row["type"], row["help"]]
            rows.append(cells if "Paper" in header else [*cells[:2], *cells[3:]])
    return table(header, rows)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def students() -> str:
    """Return every built-in student spec, with its size when cut from either base."""
    header = ["Name", "B", "K", "R", "H", "Stored, M", "Layers run", "Of the assistant"]
    rows = []
    with built_ins() as registry:
        for name, spec in registry.students.items():
            for base in (MINILM, XLMR):
                if spec.hidden in {None, base.hidden}:
                    shape = base.cut(spec)
                    share = f"{100 * shape.parameters / base.parameters:.1f} %"
                    sizes = [str(it or "all") for it in (spec.bottleneck, spec.layers, spec.repeats, spec.hidden)]
                    rows.append(
                        [f"`{name}`", *sizes, f"{shape.parameters / 1e6:.1f}", str(shape.executed_layers), share]
                    )
    return table(header, rows)


def suites() -> str:
    """Return every built-in suite with its tasks."""
    with built_ins() as registry:
        return "\n\n".join(_suite(suite) for suite in registry.suites.values())


def _suite(suite: Suite) -> str:
    rows = [[task.task, task.family, task.split, ", ".join(task.subsets)] for task in suite.tasks]
    return f"### `{suite.name}`\n\n{suite.summary}.\n\n{table(['Task', 'Family', 'Split', 'Subsets'], rows)}"


def budgets() -> str:
    """Return every built-in budget."""
    with built_ins() as registry:
        return table(["Budget", ""], [[f"`{name}`", budget_line(it)] for name, it in registry.budgets.items()])


def encoders() -> str:
    """Return every built-in encoder."""
    with built_ins() as registry:
        rows = [[f"`{name}`", it.summary, it.notes] for name, it in registry.encoders.items()]
    return table(["Encoder", "", "Notes"], rows)


def corpora() -> str:
    """Return every built-in corpus scheme."""
    with built_ins() as registry:
        rows = [[f"`{name}`", it.summary, f"`{it.example}`"] for name, it in registry.corpora.items()]
    return table(["Scheme", "", "Example"], rows)


def fields(model: str) -> str:
    """Return the keys of a TOML file or table, with defaults and help; those that must be there come first."""
    rows = [
        [f"`{name}`", "required" if it.is_required() else f"`{_plain(it.default)}`", it.description or ""]
        for name, it in sorted(MODELS[model].model_fields.items(), key=lambda item: not item[1].is_required())
    ]
    return table(["Key", "Default", ""], rows)


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value) if "Undefined" not in repr(value) else "{}"


def datasets(suite: str) -> str:
    """Return the hub datasets that a suite reads, and the commit that mteb pins."""
    with built_ins() as registry:
        tasks = {task.task: read_declaration(task) for task in registry.suites[suite].tasks}
    rows = [[task, f"`{said.path}`", f"`{said.revision}`"] for task, said in tasks.items()]
    return table(["Task", "Dataset", "Commit that mteb pins"], rows)


@cache
def variables() -> dict[str, str]:
    """Return the environment variables that the code reads, each with the module that says so."""
    found = {}
    for path in sorted((ROOT / "xlbench").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and re.fullmatch(r"XLBENCH_[A-Z_]+", str(node.value)):
                found[str(node.value)] = path.relative_to(ROOT).as_posix()
    return found


def board(name: str) -> str:
    """Return the table of a board."""
    folder = read_folder(read_board(ROOT / "leaderboards" / f"{name}.toml"))
    return markdown(figures(folder.rows, folder.statistics))


def boards() -> str:
    """Return every board of this repository: what it asks, on which suite, and after how many pairs."""
    lines = []
    for path in sorted((ROOT / "leaderboards").glob("*.toml")):
        declared_board = read_board(path)
        asked, found = declared_board.board, read_folder(declared_board).rows
        (budget,) = {row.record.experiment.budget for row in found if row.record.experiment}
        seen = f"{budget.assistant_pairs:,} / {budget.student_pairs:,}"
        lines.append([f"[{path.stem}](leaderboards/{path.stem}.md)", asked.title, asked.suite, str(len(found)), seen])
    return table(["Board", "", "Suite", "Rows", "Pairs: assistant / student"], lines)


def rows(name: str, *words: str) -> str:
    """Return rows of a board's table, without ranks and empty columns; their names stand between bars."""
    lines = [line for line in board(name).splitlines() if line.startswith("|")]
    header, _, *body = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    there: dict[str, list[str]] = {}
    for cells in body:
        there.setdefault(cells[0], cells)  # the first table is the main one
    shown = [there[wanted.strip()] for wanted in " ".join(words).split("|")]
    columns = zip(header, *shown, strict=True)
    kept = [(title, *cells) for title, *cells in columns if any(cells) and not title.endswith("rank")]
    titles, *chosen = (list(line) for line in zip(*kept, strict=True))
    return table(titles, chosen)


README_BOARD = "frontier"
GIVEN = "multilingual-e5-small, aligned (stage 1)"
README_ROWS = {  # and what they are for whoever does not know our names yet
    "multilingual-e5-small": "The assistant as it is published",
    GIVEN: "The same, aligned: what students are cut from",
    "12 layers, 8 bits": "All layers, tokens of eight languages, in 8 bits",
    "6 layers, 8 bits": "Half of the layers, trained",
    "4 layers, 8 bits": "A third of the layers, trained",
    "3 layers, 8 bits": "A quarter of the layers, trained",
    "static-trained, onnx-int8": "No layers: trained vectors of tokens",
}


def readme_folder() -> Folder:
    """Return what lies in the folder of the board that the README shows."""
    return read_folder(read_board(ROOT / "leaderboards" / f"{README_BOARD}.toml"))


def lines_of(folder: Folder) -> dict[str, dict[str, Value]]:
    """Return the figures of a board's rows by their names."""
    return {str(line["name"]): line for line in records_of(board_frame(folder.rows, folder.statistics))}


def headline() -> str:
    """Return the README's table: six rows of a board, and what the figures rest on."""
    folder = readme_folder()
    lines = lines_of(folder)
    shown = []
    for name, meaning in README_ROWS.items():
        line = lines[name]
        title = f"{meaning} (`{name}`)" if line["role"] == "student" else meaning
        scores = [f"{line[f'{family}_score']:.1f}" for family in ("sts", "bitext")]
        others = " / ".join(f"{line[f'{family}_score']:.0f}" for family in ("sts_other", "bitext_other"))
        size = f"{line['megabytes']:.0f} MB, {_number(line['parameters']) / 1e6:.1f} M"
        drops = [line[f"{family}_drop"] for family in ("sts", "bitext")]
        drop = " / ".join(signed(_number(it)) for it in drops if it is not None)
        shown.append([title, *scores, drop, size, f"{line['throughput_ratio']:.1f}×", others])
    (seed,) = {row.record.experiment.seed for row in folder.rows if row.record.experiment}
    (hardware,) = re.findall(r"Speed and ms were measured on (.+)\.\n", board(README_BOARD))
    under = (
        f"Scores × 100; drop in STS / bitext against the aligned assistant; seed {seed}; speed on {hardware}; STS17,"
        f" STSb, Tatoeba and NTREX, [whose domains the corpus shares](leaderboards/{README_BOARD}.md); other languages:"
        " STS / bitext in twelve that students were not made for."
    )
    header = ["Encoder", "STS", "Bitext", "Drop", "Weights, parameters", "Speed", "Other languages"]
    return f"{table(header, shown)}\n\n{under}"


def lead() -> str:
    """Return the README's first paragraph, with the figures of its smallest lossless and of its fastest student."""
    lines = lines_of(readme_folder())
    whole, fastest, given = (lines[name] for name in ("12 layers, 8 bits", "static-trained, onnx-int8", GIVEN))
    lost = [-_number(line[f"{family}_drop"]) for line in (whole, fastest) for family in ("sts", "bitext")]
    return (
        "**Make cross-lingual sentence encoders small without making them worse, and prove it.** An\n"
        "[aligned](docs/glossary.md#aligned-assistant) multilingual encoder of"
        f" {given['megabytes']:.0f} MB becomes one of {whole['megabytes']:.0f} MB, {lost[0]:.1f} points below it on\n"
        f"[STS](docs/glossary.md#sts) and {lost[1]:.1f} on [bitext](docs/glossary.md#bitext), by MTEB's own tasks;"
        f" or one of {fastest['megabytes']:.0f} MB, {fastest['throughput_ratio']:.0f} times\n"
        f"as fast, {lost[2]:.0f} and {lost[3]:.0f} points below."
    )


def claim() -> str:
    """Return the README's picture, as an SVG file: the board's rows against the paper's claim."""
    folder = readme_folder()
    panels = claim_panels(figures(folder.rows, folder.statistics))
    return claim_picture("Quality against size and speed", *panels, most=len(folder.rows))


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value


def frame(name: str) -> str:
    """Return the columns of a data frame; of a board's, those of each family once."""
    family = {f"FAMILY_{column}": field for column, field in FAMILY.items()}
    fields = {"board": ENCODER | family | FOOTPRINT, "tidy": TIDY, "tasks": TASKS}[name]
    return table(["Column", "Type", ""], [[f"`{it}`", field.kind, field.about] for it, field in fields.items()])


KINDS: dict[str, Callable[..., str]] = {
    it.__name__: it
    for it in (
        output, helps, file, template, templated, names, top_names, hooks, methods, option_tables, students, suites,
        budgets, encoders, corpora, datasets, fields, board, boards, rows, headline, lead, frame,
    )
}  # fmt: skip
