"""Plugins: loaded one by one, so that a broken one is told of and never takes the command down."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import pluggy

from xlbench import hookspecs
from xlbench.errors import XlbenchError
from xlbench.experiment import Budget, StudentSpec, Suite
from xlbench.kinds import CorpusSource, EncoderSource, Method
from xlbench.settings import STRICT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from types import ModuleType

T = TypeVar("T")


class _Hook(Protocol):
    def get_hookimpls(self) -> list[pluggy.HookImpl]: ...


@dataclass(frozen=True)
class Loaded:
    """A plugin that loaded: its name, the distribution or file it came from, and the hooks it implements."""

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...]


@dataclass(frozen=True)
class Broken:
    """A plugin, or a part of one, that could not be used, and why."""

    name: str
    distribution: str
    cause: str


@dataclass(frozen=True)
class Registry:
    """Everything that plugins brought, by kind and name."""

    methods: Mapping[str, Method]
    students: Mapping[str, StudentSpec]
    encoders: Mapping[str, EncoderSource]
    corpora: Mapping[str, CorpusSource]
    suites: Mapping[str, Suite]
    budgets: Mapping[str, Budget]
    loaded: tuple[Loaded, ...]
    broken: tuple[Broken, ...]


@lru_cache(maxsize=8)
def load_registry(files: tuple[Path, ...] = ()) -> Registry:
    """Load every installed plugin and the given single files.

    Args:
        files: Python files given with ``--plugin``.

    Raises:
        XlbenchError: A plugin is broken and ``XLBENCH_STRICT=1``; or a given file cannot be loaded, since
            who names a file means it.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    sources: dict[str, tuple[str, str]] = {}
    broken: list[Broken] = []
    for entry in sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.name):
        name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "")
        if problem := _register(manager, entry.name, entry.load):
            broken.append(Broken(entry.name, name, problem))
        else:
            sources[entry.name] = (name, version)
    for file in files:
        if problem := _register(manager, str(file), partial(_import_file, file)):
            raise XlbenchError(f"Plugin file '{file}' cannot be used: {problem}", "Mend it, or leave out --plugin.")
        sources[str(file)] = ("file", "")
    registry = Registry(
        methods=_collect(manager.hook.xlbench_methods, Method, _name, sources, broken),
        students=_collect(manager.hook.xlbench_students, StudentSpec, _name, sources, broken),
        encoders=_collect(manager.hook.xlbench_encoders, EncoderSource, _name, sources, broken),
        corpora=_collect(manager.hook.xlbench_corpora, CorpusSource, lambda it: it.scheme, sources, broken),
        suites=_collect(manager.hook.xlbench_suites, Suite, _name, sources, broken),
        budgets=_collect(manager.hook.xlbench_budgets, Budget, _name, sources, broken),
        loaded=tuple(Loaded(name, *source, hooks=_hooks(manager, name)) for name, source in sources.items()),
        broken=tuple(broken),
    )
    if registry.broken and os.environ.get(STRICT_VARIABLE) == "1":
        first = registry.broken[0]
        raise XlbenchError(
            f"Plugin '{first.name}' of {first.distribution} is broken: {first.cause}",
            f"Mend or uninstall it, or unset {STRICT_VARIABLE}.",
        )
    return registry


def _name(thing: Method | StudentSpec | EncoderSource | Suite | Budget) -> str:
    return thing.name


def _register(manager: pluggy.PluginManager, name: str, load: Callable[[], object]) -> str:
    """Load and register a plugin; return what went wrong, or nothing."""
    try:
        manager.register(load(), name)
        # An implementation of a hook that does not exist must not pass in silence.
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        manager.unregister(name=name)
        return str(error).strip()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything at import
        return f"{type(error).__name__}: {error}"
    if not _hooks(manager, name):
        manager.unregister(name=name)
        return "it implements no xlbench hook (functions marked with xlbench.hookimpl)"
    return ""


def _hooks(manager: pluggy.PluginManager, name: str) -> tuple[str, ...]:
    callers = manager.get_hookcallers(manager.get_plugin(name)) or []
    return tuple(sorted(caller.name for caller in callers))


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file '{path}'")
    name = f"xlbench_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs, so that its classes can name their module's source (fingerprints).
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _collect(
    hook: _Hook,
    kind: type[T],
    key: Callable[[T], str],
    sources: Mapping[str, tuple[str, str]],
    broken: list[Broken],
) -> dict[str, T]:
    """Call one hook, implementation by implementation, so that each result and fault has an owner."""
    table: dict[str, T] = {}
    owners: dict[str, str] = {}
    # Built-ins first, then in order of name: who clashes is decided by the name, not by who was first.
    implementations = sorted(
        hook.get_hookimpls(), key=lambda it: (sources[it.plugin_name][0] != "xlbench", it.plugin_name)
    )
    for implementation in implementations:
        owner = implementation.plugin_name
        distribution = sources[owner][0]
        try:
            things = tuple(cast("Iterable[object]", implementation.function()))
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            cause = f"{implementation.function.__name__} raised {type(error).__name__}: {error}"
            broken.append(Broken(owner, distribution, cause))
            continue
        for thing in things:
            if not isinstance(thing, kind):
                cause = f"{implementation.function.__name__} returned {thing!r}, which is no {kind.__name__}"
                broken.append(Broken(owner, distribution, cause))
            elif (name := key(thing)) in table:
                cause = f"'{name}' is already the name of a {kind.__name__} from plugin '{owners[name]}'"
                broken.append(Broken(owner, distribution, cause))
            else:
                table[name] = thing
                owners[name] = owner
    return table
