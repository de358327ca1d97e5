"""The names in an ``mteb:`` suite: taken apart, and looked up in MTEB's code without importing it."""

from __future__ import annotations

import ast
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.corpora.languages import base, is_known, nearest_code
from xlbench.errors import XlbenchError, nearest
from xlbench.scoring.data import declared_type, missing_data, mteb_version, refuse_missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xlbench.experiment import Measure
    from xlbench.settings import Settings

PREFIX = "mteb:"
OPTION = "languages"
TYPES: dict[str, Measure] = {"STS": "sts", "BitextMining": "bitext"}  # MTEB's types that are scored
_COMMAS = re.compile(r",(?![^()]*\))")  # 'MTEB(Multilingual, v2)' is one name
_EXAMPLE = "Write e.g. mteb:STS17,BUCC.v2?languages=de,fr"


@dataclass(frozen=True)
class Asked:
    """What an ``mteb:`` name asks for.

    Attributes:
        names: Tasks and benchmarks of MTEB.
        languages: ISO 639-1 codes, where there are, of the languages to keep beside English; empty keeps all.
    """

    names: tuple[str, ...]
    languages: tuple[str, ...]

    def __str__(self) -> str:
        """Return the name with blanks and the order of languages evened out: it is what records call the suite."""
        query = f"?{OPTION}={','.join(self.languages)}" if self.languages else ""
        return f"{PREFIX}{','.join(self.names)}{query}"


def parse(name: str) -> Asked:
    """Split an ``mteb:`` name into its parts.

    Raises:
        XlbenchError: It names no task; an option is unknown; or a code is no language's.
    """
    listed, mark, query = name.removeprefix(PREFIX).partition("?")
    names = tuple(dict.fromkeys(part.strip() for part in _COMMAS.split(listed)))
    if not all(names) or query == f"{OPTION}=":
        raise XlbenchError(f"Suite '{name}' names no task or no language.", f"{_EXAMPLE}.")
    option, _, codes = query.partition("=")
    if mark and option != OPTION:
        raise XlbenchError(f"Unknown option '{option}' in suite '{name}'.", f"{_EXAMPLE}.")
    languages = [code.strip() for code in codes.split(",")] if mark else []
    for code in languages:
        if not is_known(code):
            raise XlbenchError(f"'{code}' in suite '{name}' is not the code of a language.", nearest_code(code))
    return Asked(names, tuple(sorted({base(code) for code in languages})))


def unknown_name(name: str, known: Mapping[str, object]) -> XlbenchError:
    """Return the error about a name that is none of MTEB's.

    Args:
        name: The name.
        known: The tasks that can be scored, and benchmarks.
    """
    return XlbenchError(f"MTEB {mteb_version()} has no task and no benchmark '{name}'.", nearest(name, known))


def wrong_type(task: str, found: str) -> XlbenchError:
    """Return the error about a task that is neither STS nor bitext mining."""
    return XlbenchError(
        f"Task {task} is of MTEB's type {found}; xlbench scores STS and BitextMining.", "Leave it out of the suite."
    )


def refuse_early(asked: Asked, settings: Settings) -> None:
    """Refuse in a moment what is refused without mteb, whose import takes seconds.

    Of a benchmark, and of some languages only, it cannot be told yet which tasks are left: those are refused here where
    no task has data.
    """
    types = {name: declared_type(name) for name in asked.names}
    for name, found in types.items():
        if found is not None and found not in TYPES:
            raise wrong_type(name, found)
    tasks = [name for name, found in types.items() if found is not None]
    of_benchmarks = [task for name in asked.names if name not in tasks for task in _benchmark_tasks(name)]
    all_of_them = dict.fromkeys([*tasks, *(task for task in of_benchmarks if declared_type(task) in TYPES)])
    missing = missing_data(all_of_them, settings)
    if len(missing) < len(all_of_them):
        missing = {} if asked.languages else {task: path for task, path in missing.items() if task in tasks}
    refuse_missing(missing, settings)


@cache
def _benchmark_tasks(name: str) -> tuple[str, ...]:
    """Return the names in the code of a benchmark that may be those of its tasks; none for what is no benchmark."""
    spec = importlib.util.find_spec("mteb")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder, "benchmarks", "benchmarks").glob("*.py")):
            text = file.read_text("utf-8")
            if f'"{name}"' in text and (found := tuple(_tasks_in(ast.parse(text), name))):
                return found
    return ()


def _tasks_in(tree: ast.Module, benchmark: str) -> Iterator[str]:
    assigned = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for made in assigned.values():
        if not isinstance(made, ast.Call):
            continue
        given = {keyword.arg: keyword.value for keyword in made.keywords}
        called = [given[key] for key in ("name", "aliases") if key in given]
        if "tasks" in given and any(benchmark in _texts(it, {}) for it in called):
            yield from _texts(given["tasks"], assigned)


def _texts(code: ast.expr, assigned: Mapping[str, ast.expr]) -> Iterator[str]:
    """Yield the texts in an expression, and in what it names of its module."""
    for node in ast.walk(code):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Name) and node.id in assigned:
            yield from _texts(assigned[node.id], {})
