"""Which data a task scores: a local copy, or the hub revision that its class declares.

Declarations are read from the source code, since importing mteb takes seconds.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.encoders.directories import remembered_digest
from xlbench.errors import XlbenchError
from xlbench.scoring.dataset_cards import card_digest
from xlbench.scoring.quiet import hub_answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xlbench.experiment import Suite, TaskRef
    from xlbench.settings import Settings


@dataclass(frozen=True)
class DeclaredData:
    """The dataset that a task class declares.

    Attributes:
        path: Hub name of the dataset; None if the source code does not give it as a literal.
        revision: Hub commit of the dataset; None likewise.
        code_digest: SHA-256 of the syntax tree of the task's module; empty for mteb's own tasks, which the version of
            mteb identifies.
    """

    path: str | None
    revision: str | None
    code_digest: str = ""


UNKNOWN = DeclaredData(None, None)
NAMED = re.compile(r'name="([^"\n]+)"')  # how a task's metadata gives its name

OWN_TASKS = {
    "starter-sts/1": "xlbench.scoring.starter_tasks:StarterSTS",
    "starter-bitext/1": "xlbench.scoring.starter_tasks:StarterBitext",
}
"""Loaders of the tasks that ship with xlbench, by their tags. Suites, and so keys, hold the tag: the file may move."""


def task_loader(ref: TaskRef) -> str | None:
    """Return 'module:Class' of a task that MTEB does not have; None for MTEB's own."""
    return None if ref.loader is None else OWN_TASKS.get(ref.loader, ref.loader)


def data_identity(ref: TaskRef, settings: Settings) -> str:
    """Return what identifies the data of a task.

    It is ``sha256:...`` for the starter tasks and for a local copy, with ``+card:...`` where the card of the copy has
    its files read in another way than their names say (:func:`~xlbench.scoring.dataset_cards.card_digest`). Else it is
    ``<path>@<revision>`` as declared, with the digest of the code for a task that is not mteb's, else that digest or
    the version of mteb alone.

    Raises:
        XlbenchError: The task's module cannot be found.
    """
    declared = read_declaration(ref)
    if ref.loader in OWN_TASKS:
        shipped = files("xlbench.corpora").joinpath("data", f"{ref.measure}.jsonl")
        return f"sha256:{hashlib.sha256(shipped.read_bytes()).hexdigest()}"
    if declared.path is not None and (local := settings.local("datasets", declared.path)):
        return f"sha256:{copy_digest(local, settings.home)}"
    if declared.revision is not None:
        return f"{declared.path}@{declared.revision}{declared.code_digest and '+' + declared.code_digest}"
    return declared.code_digest or f"mteb {mteb_version()}"


def require_data(suites: Iterable[Suite], settings: Settings) -> None:
    """Refuse suites whose data is nowhere, before the work whose result it is to score; imports neither torch nor mteb.

    Raises:
        XlbenchError: The data of a task is neither under the data root nor in a cache, and the hub cannot be asked.
    """
    own = (ref for suite in suites for ref in suite.tasks if ref.loader is None)  # others may bring their data
    refuse_missing(missing_data((ref.task for ref in own), settings), settings)


def missing_data(tasks: Iterable[str], settings: Settings) -> dict[str, str]:
    """Return those of MTEB's tasks whose data is neither under the data root nor in a cache, with its hub name."""
    paths = {task: _read_from_mteb(task, mteb_version()).path for task in tasks}
    return {
        task: path
        for task, path in paths.items()
        if path and path.count("/") == 1 and not settings.local("datasets", path) and not _is_cached(path)
    }


def refuse_missing(missing: Mapping[str, str], settings: Settings) -> None:
    """Refuse tasks whose data is missing, unless the hub can be asked.

    Args:
        missing: The hub name of the data of each, as :func:`missing_data` returns it.
        settings: Whether the hub may be asked, and the data root, which errors name.

    Raises:
        XlbenchError: There is one, and the hub cannot be asked; it names the first.
    """
    if missing and (settings.offline or not hub_answers()):
        task, path = next(iter(missing.items()))
        why = "xlbench is offline" if settings.offline else "the hub does not answer"
        raise XlbenchError(
            f"The data of task {task} is not at '{expected_path(path, settings)}', and {why}.",
            download_remedy(path, settings),
        )


def _is_cached(path: str) -> bool:
    """Return whether a cache of the hub's libraries may hold a dataset."""
    from huggingface_hub import constants

    prepared = os.environ.get("HF_DATASETS_CACHE") or f"{constants.HF_HOME}/datasets"
    owner, _, name = path.partition("/")
    places = (Path(prepared, f"{owner}___{name}"), Path(constants.HF_HUB_CACHE, f"datasets--{owner}--{name}"))
    return any(place.is_dir() for place in places)


def expected_path(path: str, settings: Settings) -> str:
    """Return where a local copy of a hub dataset would lie."""
    return f"{settings.data_root or 'DATA_ROOT'}/datasets/{path}"


def download_remedy(path: str, settings: Settings) -> str:
    """Return a sentence that says how to download a hub dataset to the data root."""
    command = f"hf download --repo-type dataset {path} --local-dir {expected_path(path, settings)}"
    then = "" if settings.data_root else ", then --data-root DATA_ROOT."
    return f"With a network: `{command}`{then}"


def read_declaration(ref: TaskRef) -> DeclaredData:
    """Read what the class of a task declares, as far as it does so in literals.

    Raises:
        XlbenchError: The module of the task's loader cannot be found.
    """
    loader = task_loader(ref)
    if loader is None:
        return _read_from_mteb(ref.task, mteb_version())
    name = loader.partition(":")[0]
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise XlbenchError(
            f"Task '{ref.task}' should be loaded from '{loader}', but there is no module '{name}'.",
            "Install the package that brings it, or correct the suite.",
        )
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    found = _find_declaration(tree, ref.task) or UNKNOWN
    return DeclaredData(found.path, found.revision, hashlib.sha256(ast.dump(tree).encode()).hexdigest())


@cache
def mteb_version() -> str:
    """Return the installed version of mteb.

    Raises:
        XlbenchError: mteb is not installed.
    """
    try:
        return version("mteb")
    except PackageNotFoundError:
        raise XlbenchError("mteb is not installed.", "pip install mteb") from None


@cache
def _read_from_mteb(task: str, installed: str) -> DeclaredData:
    found = (_find_declaration(ast.parse(file.read_bytes()), task) for file in _task_files(installed).get(task, ()))
    return next((it for it in found if it is not None), UNKNOWN)


def declared_type(task: str) -> str | None:
    """Return MTEB's type of one of its tasks, e.g. 'STS'; None where the source code does not say it as a literal."""
    for file in _task_files(mteb_version()).get(task, ()):
        if (arguments := _find_metadata(ast.parse(file.read_bytes()), task)) is not None:
            found = _literal(arguments.get("type"))
            return found if isinstance(found, str) else None
    return None


@cache
def _task_files(_version: str) -> dict[str, list[Path]]:
    """Return the files of mteb's tasks by each name that they give to something."""
    spec = importlib.util.find_spec("mteb")  # finds a top-level package without importing it
    named: dict[str, list[Path]] = {}
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder, "tasks").rglob("*.py")):
            for name in dict.fromkeys(NAMED.findall(file.read_text("utf-8"))):
                named.setdefault(name, []).append(file)
    return named


def _find_metadata(tree: ast.Module, task: str) -> dict[str | None, ast.expr] | None:
    """Find ``TaskMetadata(name=<task>, dataset=..., ...)`` in a module; return its arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            arguments = {keyword.arg: keyword.value for keyword in node.keywords}
            if "dataset" in arguments and _literal(arguments.get("name")) == task:
                return arguments
    return None


def _find_declaration(tree: ast.Module, task: str) -> DeclaredData | None:
    if (arguments := _find_metadata(tree, task)) is None:
        return None
    dataset = arguments["dataset"]
    if not isinstance(dataset, ast.Dict):
        return UNKNOWN
    given = {_literal(key): _literal(value) for key, value in zip(dataset.keys, dataset.values, strict=True)}
    path, revision = given.get("path"), given.get("revision")
    return DeclaredData(path if isinstance(path, str) else None, revision if isinstance(revision, str) else None)


def _literal(node: ast.expr | None) -> object:
    """Return the value of a literal; None for any other expression."""
    try:
        return ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None


def copy_digest(local: Path, home: Path) -> str:
    """Return what identifies a local copy of a dataset: the digest of its files, and of its card if that matters.

    Args:
        local: The directory of the copy.
        home: The store, which remembers the digests of large files.
    """
    card = card_digest(local)
    return _directory_digest(local, home) + (f"+card:{card}" if card else "")


def _directory_digest(path: Path, home: Path) -> str:
    """Return the SHA-256 over names and contents of a dataset's files, except Markdown and hidden files."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        # `hf download --local-dir` keeps files of its own under .cache.
        if file.is_file() and file.suffix != ".md" and not any(part.startswith(".") for part in name.parts):
            digest.update(f"{name.as_posix()}\0{remembered_digest(file, home)}\n".encode())
    return digest.hexdigest()
