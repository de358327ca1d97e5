"""Plugins: loaded one by one, so that a broken one is told of and never takes the command down."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import pluggy

from xlbench.corpora.corpus import CorpusReader
from xlbench.distill.method import Method
from xlbench.encoders.find import RegisteredEncoder
from xlbench.errors import XlbenchError
from xlbench.experiment import Budget, StudentSpec, Suite
from xlbench.plugins import hooks as hookspecs
from xlbench.plugins.checks import Fault, case_faults, hook_faults, thing_faults, unusable
from xlbench.plugins.source_location import raised_at, written_at
from xlbench.settings import STRICT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from importlib.metadata import Distribution, EntryPoint
    from pathlib import Path
    from types import ModuleType

T = TypeVar("T")


class _Hook(Protocol):
    def get_hookimpls(self) -> list[pluggy.HookImpl]: ...


@dataclass(frozen=True)
class Loaded:
    """A plugin that loaded.

    Attributes:
        name: Of its entry point, or the path of a single file.
        distribution: Where it came from; ``file`` for a single file.
        version: The distribution's.
        hooks: Those that it implements.
        brings: What of it is used, as (kind, name), e.g. ``("method", "multistage")``.
    """

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...]
    brings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Broken:
    """A plugin, or a part of one, that cannot be used as it is, and why.

    Attributes:
        name: Of its entry point, or the path of a single file.
        distribution: Where it came from.
        cause: What is wrong, in its author's words: function, argument, option.
        where: ``file:line`` in its author's source, where that is known.
    """

    name: str
    distribution: str
    cause: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.cause} ({self.where})" if self.where else self.cause


@dataclass(frozen=True)
class Registry:
    """Everything that plugins brought, by kind and name."""

    methods: Mapping[str, Method]
    students: Mapping[str, StudentSpec]
    encoders: Mapping[str, RegisteredEncoder]
    corpora: Mapping[str, CorpusReader]
    suites: Mapping[str, Suite]
    budgets: Mapping[str, Budget]
    loaded: tuple[Loaded, ...]
    broken: tuple[Broken, ...]


@lru_cache(maxsize=8)
def load_registry(files: tuple[Path, ...] = (), *, strict: bool | None = None) -> Registry:
    """Load every installed plugin and the given single files.

    Args:
        files: Python files given with ``--plugin``.
        strict: Whether a broken plugin is fatal; None asks ``XLBENCH_STRICT``, and then a file that cannot be
            loaded is fatal in any case, since who names a file means it.

    Raises:
        XlbenchError: A plugin is broken, and that is fatal.
    """
    gathered = _Gathered()
    manager = gathered.manager
    for entry in sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.name):
        source = _source_of(entry.dist) if entry.dist else ("unknown", "")
        faults = _register(manager, entry.name, entry.load, _files_of(entry))
        if faults:
            stated = f"entry point '{entry.name} = {entry.value}'"
            gathered.broken += [Broken(entry.name, source[0], cause, where or stated) for cause, where in faults]
        else:
            gathered.sources[entry.name] = source
    for file in files:
        if faults := _register(manager, str(file), partial(_import_file, file), (str(file),)):
            found = [Broken(str(file), "file", *fault) for fault in faults]
            if strict is not False:
                raise XlbenchError(
                    f"Plugin file '{file}' cannot be used: {found[0]}", "Mend it, or leave out --plugin."
                )
            gathered.broken += found
        else:
            gathered.sources[str(file)] = ("file", "")
    registry = gathered.registry()
    if strict is None:
        strict = os.environ.get(STRICT_VARIABLE) == "1"
    if registry.broken and strict:
        first = registry.broken[0]
        raise XlbenchError(
            f"Plugin '{first.name}' of {first.distribution} is broken: {first}",
            f"Mend or uninstall it, or unset {STRICT_VARIABLE}.",
        )
    return registry


def check_plugins(registry: Registry) -> tuple[Broken, ...]:
    """Return everything that is wrong with the plugins: what broke at loading, and what a closer look finds."""
    found = list(registry.broken)
    owners = {thing: plugin for plugin in registry.loaded for thing in plugin.brings}
    for kind, table in tables(registry).items():
        faults = [(name, fault) for name, thing in table.items() for fault in thing_faults(thing, kind, name)]
        for name, fault in [*faults, *case_faults(kind, table)]:
            owner = owners[kind, name]
            found.append(Broken(owner.name, owner.distribution, *fault))
    return tuple(found)


def tables(registry: Registry) -> dict[str, Mapping[str, object]]:
    """Return what plugins brought by kind, each under its word in the singular."""
    return {
        "method": registry.methods,
        "student": registry.students,
        "encoder": registry.encoders,
        "corpus": registry.corpora,
        "suite": registry.suites,
        "budget": registry.budgets,
    }


def _register(
    manager: pluggy.PluginManager, name: str, load: Callable[[], object], files: tuple[str, ...]
) -> list[Fault]:
    """Load and register a plugin; return what went wrong, or nothing."""
    try:
        plugin = load()
        # An implementation of a hook that does not exist must not pass in silence.
        if faults := list(hook_faults(manager, plugin)):
            return faults
        manager.register(plugin, name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything at import
        return [Fault(f"{type(error).__name__}: {error}", raised_at(error, *files))]
    return []


@lru_cache(maxsize=64)
def _source_of(distribution: Distribution) -> tuple[str, str]:
    """Return name and version; every look at them would parse the metadata again."""
    facts = distribution.metadata
    return facts["Name"], facts["Version"]


def _files_of(entry: EntryPoint) -> tuple[str, ...]:
    """Return the package's directories, or the module's file, that an entry point names."""
    try:
        spec = importlib.util.find_spec(entry.value.partition(":")[0].partition(".")[0].strip())
    except (ImportError, ValueError):
        return ()
    if spec is None:
        return ()
    return tuple(spec.submodule_search_locations or ()) or ((spec.origin,) if spec.origin else ())


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


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


@dataclass
class _Gathered:
    """What is known while plugins are asked, one after another."""

    manager: pluggy.PluginManager = field(default_factory=_manager)
    sources: dict[str, tuple[str, str]] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    brings: defaultdict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def registry(self) -> Registry:
        """Ask every hook and return all that came."""
        hook = self.manager.hook
        registry = Registry(
            methods=self.collect(hook.xlbench_methods, "method", Method, lambda it: it.name),
            students=self.collect(hook.xlbench_students, "student", StudentSpec, lambda it: it.name),
            encoders=self.collect(hook.xlbench_encoders, "encoder", RegisteredEncoder, lambda it: it.name),
            corpora=self.collect(hook.xlbench_corpora, "corpus", CorpusReader, lambda it: it.scheme),
            suites=self.collect(hook.xlbench_suites, "suite", Suite, lambda it: it.name),
            budgets=self.collect(hook.xlbench_budgets, "budget", Budget, lambda it: it.name),
            loaded=(),
            broken=(),
        )
        loaded = tuple(
            Loaded(name, *source, hooks=self.hooks(name), brings=tuple(self.brings[name]))
            for name, source in self.sources.items()
        )
        return replace(registry, loaded=loaded, broken=tuple(self.broken))

    def hooks(self, name: str) -> tuple[str, ...]:
        """Return the hooks that a plugin implements."""
        callers = self.manager.get_hookcallers(self.manager.get_plugin(name)) or []
        return tuple(sorted(caller.name for caller in callers))

    def collect(self, hook: _Hook, word: str, kind: type[T], key: Callable[[T], str]) -> dict[str, T]:
        """Call one hook, implementation by implementation, so that each result and fault has an owner."""
        table: dict[str, T] = {}
        owners: dict[str, str] = {}
        # Built-ins first, then in order of name: who clashes is decided by the name, not by who was first.
        implementations = sorted(
            hook.get_hookimpls(), key=lambda it: (self.sources[it.plugin_name][0] != "xlbench", it.plugin_name)
        )
        for implementation in implementations:
            owner = implementation.plugin_name
            for thing in self.ask(implementation):
                where = written_at(implementation.function)
                if not isinstance(thing, kind):
                    cause = f"{implementation.function.__name__}() returned {thing!r}, which is no {kind.__name__}"
                    self.fault(owner, Fault(cause, where))
                elif fault := unusable(thing, word, key(thing), where):
                    self.fault(owner, fault)
                elif (name := key(thing)) in table:
                    cause = f"'{name}' is already the name of a {kind.__name__} from plugin '{owners[name]}'"
                    self.fault(owner, Fault(cause, where))
                else:
                    table[name] = thing
                    owners[name] = owner
                    self.brings[owner].append((word, name))
        return table

    def ask(self, implementation: pluggy.HookImpl) -> Iterator[object]:
        """Yield what an implementation returns; an exception ends it and is told of."""
        function = implementation.function
        try:
            yield from cast("Iterable[object]", function())
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            cause = f"{function.__name__}() raised {type(error).__name__}: {error}"
            code = getattr(function, "__code__", None)
            where = raised_at(error, *([code.co_filename] if code else [])) or written_at(function)
            self.fault(implementation.plugin_name, Fault(cause, where))

    def fault(self, owner: str, fault: Fault) -> None:
        """Note what is wrong with a plugin."""
        self.broken.append(Broken(owner, self.sources[owner][0], *fault))
