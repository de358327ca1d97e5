"""What a task's source declares of its data, read without importing it: mteb takes seconds to import."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.encoders.directories import remembered_digest
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from xlbench.experiment import TaskRef
    from xlbench.settings import Settings


@dataclass(frozen=True)
class Declared:
    """The dataset that a task class declares.

    Attributes:
        path: Hub name of its dataset; None when the source does not say it in a literal.
        revision: Hub commit of its dataset; likewise.
        source: Digest of the syntax tree of a task that is not mteb's; empty for mteb's, whose version tells.
    """

    path: str | None
    revision: str | None
    source: str = ""


UNKNOWN = Declared(None, None)


def declared(ref: TaskRef) -> Declared:
    """Return what the class of a task declares, as far as its source says so in literals.

    Raises:
        XlbenchError: The module of its loader cannot be found.
    """
    loader = task_loader(ref)
    if loader is None:
        return _in_mteb(ref.task, mteb_version())
    name = loader.partition(":")[0]
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise XlbenchError(
            f"Task '{ref.task}' is to be loaded from '{loader}', and there is no module '{name}'.",
            "Install the package that brings it, or correct the suite.",
        )
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    found = _declaration(tree, ref.task) or UNKNOWN
    return Declared(found.path, found.revision, hashlib.sha256(ast.dump(tree).encode()).hexdigest())


@cache
def mteb_version() -> str:
    """Return the version of mteb that is installed.

    Raises:
        XlbenchError: There is none.
    """
    try:
        return version("mteb")
    except PackageNotFoundError:
        raise XlbenchError("mteb is not installed.", "pip install mteb") from None


@cache
def _in_mteb(task: str, _version: str) -> Declared:
    spec = importlib.util.find_spec("mteb")  # finds a top-level package without importing it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        needle = f'name="{task}"'.encode()
        for file in sorted(Path(folder, "tasks").rglob("*.py")):
            source = file.read_bytes()
            if needle in source and (found := _declaration(ast.parse(source), task)):
                return found
    return UNKNOWN


def _declaration(tree: ast.Module, task: str) -> Declared | None:
    """Find ``TaskMetadata(name=<task>, dataset={...})`` in a module."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if "dataset" not in given or _literal(given.get("name")) != task:
            continue
        dataset = _literal(given["dataset"])
        if isinstance(dataset, dict):
            path, revision = dataset.get("path"), dataset.get("revision")
            return Declared(path if isinstance(path, str) else None, revision if isinstance(revision, str) else None)
        return UNKNOWN
    return None


def _literal(node: ast.expr | None) -> object:
    try:
        return ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None


OWN_TASKS = {
    "starter-sts/1": "xlbench.scoring.starter_tasks:StarterSTS",
    "starter-bitext/1": "xlbench.scoring.starter_tasks:StarterBitext",
}
"""Loaders of the tasks that ship with xlbench, by their tags. Suites, and so keys, hold the tag: the file may move."""


def task_loader(ref: TaskRef) -> str | None:
    """Return 'module:Class' of a task that MTEB does not have; None for MTEB's own."""
    return None if ref.loader is None else OWN_TASKS.get(ref.loader, ref.loader)


def data_identity(ref: TaskRef, settings: Settings) -> str:
    """Return which data a task scores: ``sha256:...`` of a local copy, a hub revision, or mteb's version.

    Raises:
        XlbenchError: The task's module cannot be found.
    """
    said = declared(ref)
    if ref.loader in OWN_TASKS:
        shipped = files("xlbench.corpora").joinpath("data", f"{ref.family}.jsonl")
        return f"sha256:{hashlib.sha256(shipped.read_bytes()).hexdigest()}"
    if said.path is not None and (local := settings.local("datasets", said.path)):
        return f"sha256:{_directory_digest(local, settings.home)}"
    if said.revision is not None:
        return f"{said.path}@{said.revision}{said.source and '+' + said.source}"
    return said.source or f"mteb {mteb_version()}"


def _directory_digest(path: Path, home: Path) -> str:
    """Return the SHA-256 over names and bytes of a dataset's files, without its pages and hidden files."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        # `hf download --local-dir` keeps notes of its own under .cache.
        if file.is_file() and file.suffix != ".md" and not any(part.startswith(".") for part in name.parts):
            digest.update(f"{name.as_posix()}\0{remembered_digest(file, home)}\n".encode())
    return digest.hexdigest()
