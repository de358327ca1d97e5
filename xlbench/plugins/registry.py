"""Loads plugins one by one, so that a broken plugin is reported and the others can be used."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from hashlib import sha256
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import pluggy
from pydantic import ValidationError

from xlbench.corpora.corpus import CorpusReader
from xlbench.distill.method import Method
from xlbench.encoders.find import RegisteredEncoder
from xlbench.engines.engine import Engine
from xlbench.errors import XlbenchError
from xlbench.experiment import Budget, StudentSpec, Suite
from xlbench.plugins import hooks as hookspecs
from xlbench.plugins.checks import Fault, case_faults, hook_faults, thing_faults, unusable
from xlbench.plugins.guard import HOOK_SECONDS, IMPORT_SECONDS, call_plugin, guarded, is_interrupt
from xlbench.plugins.source_location import raised_at, written_at
from xlbench.settings import STRICT_VARIABLE
from xlbench.validation import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.metadata import Distribution, EntryPoint
    from types import ModuleType

T = TypeVar("T")

BUILT_IN, FILE = "xlbench", "file"  # distributions: xlbench's own, and that of a plugin in a single file
MOST = 1000  # things of one hook


class _Hook(Protocol):
    def get_hookimpls(self) -> list[pluggy.HookImpl]: ...


@dataclass(frozen=True)
class Loaded:
    """A plugin that was loaded.

    Attributes:
        name: Of its entry point, or the path of a single file.
        distribution: Name of the distribution that it is part of; ``file`` for a single file.
        version: Version of that distribution.
        hooks: Names of the hooks that it implements.
        brings: What it provides and can be used, as (kind, name), e.g. ``("method", "multistage")``.
    """

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...]
    brings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Broken:
    """A plugin, or a part of one, that cannot be used, with the reason.

    Attributes:
        name: Of its entry point, or the path of a single file.
        distribution: Name of the distribution that it is part of; ``file`` for a single file.
        cause: What is wrong, naming the function, argument or option of the plugin.
        where: ``file:line`` in the plugin's source code; empty if unknown.
    """

    name: str
    distribution: str
    cause: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.cause} ({self.where})" if self.where else self.cause


@dataclass(frozen=True)
class Registry:
    """Everything that plugins provide, by kind and name."""

    methods: Mapping[str, Method]
    students: Mapping[str, StudentSpec]
    encoders: Mapping[str, RegisteredEncoder]
    corpora: Mapping[str, CorpusReader]
    suites: Mapping[str, Suite]
    budgets: Mapping[str, Budget]
    engines: Mapping[str, Engine]
    loaded: tuple[Loaded, ...]
    broken: tuple[Broken, ...]
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Files and directories of the plugins that are not xlbench's own, by the plugin's name."""


@lru_cache(maxsize=8)
def load_registry(files: tuple[Path, ...] = (), *, strict: bool | None = None) -> Registry:
    """Load all installed plugins, and plugins in single files.

    Args:
        files: Python files given with ``--plugin``.
        strict: Whether a broken plugin is an error. With None ``XLBENCH_STRICT`` decides, but a file that is broken is
            always an error, since the user named it.

    Raises:
        XlbenchError: A plugin is broken, and that is an error.
    """
    collector = _Collector()
    manager = collector.manager
    for entry in sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.name):
        distribution = _name_and_version(entry.dist) if entry.dist else ("unknown", "")
        faults = _load_plugin(manager, entry.name, entry.load, _files_of(entry))
        if faults:
            entry_point = f"entry point '{entry.name} = {entry.value}'"
            collector.broken += [
                Broken(entry.name, distribution[0], cause, where or entry_point) for cause, where in faults
            ]
        else:
            collector.distributions[entry.name] = distribution
            if distribution[0] != BUILT_IN:
                collector.files[entry.name] = _files_of(entry)
    for file in files:
        if sum(_same(file, other) for other in files) > 1:
            raise XlbenchError(f"Plugin file '{file}' is given twice.", "Give each --plugin once.")
        if faults := _load_plugin(manager, str(file), partial(_import_file, file), (str(file), str(file.resolve()))):
            collector.broken += [Broken(str(file), FILE, *fault) for fault in faults]
        else:
            collector.distributions[str(file)] = (FILE, "")
            collector.files[str(file)] = (str(file),)
    registry = collector.build_registry()
    named = [broken for broken in registry.broken if broken.distribution == FILE]
    if named and strict is not False:
        problem = f"Plugin file '{named[0].name}' cannot be used: {named[0]}"
        raise XlbenchError(problem, "Fix it, or leave out --plugin.")
    if strict is None:
        strict = os.environ.get(STRICT_VARIABLE) == "1"
    if registry.broken and strict:
        first = registry.broken[0]
        raise XlbenchError(
            f"Plugin '{first.name}' of {first.distribution} is broken: {first}",
            f"Fix or uninstall it, or unset {STRICT_VARIABLE}.",
        )
    return registry


def check_plugins(registry: Registry) -> tuple[Broken, ...]:
    """Return all faults of the plugins: those found when loading them, and those of a closer check."""
    found = list(registry.broken)
    owners = {thing: plugin for plugin in registry.loaded for thing in plugin.brings}
    for kind, table in tables(registry).items():
        faults = [(name, fault) for name, thing in table.items() for fault in thing_faults(thing, kind, name)]
        for name, fault in [*faults, *case_faults(kind, table)]:
            owner = owners[kind, name]
            found.append(Broken(owner.name, owner.distribution, *fault))
    return tuple(found)


def tables(registry: Registry) -> dict[str, Mapping[str, object]]:
    """Return the tables of a registry by kind, e.g. 'method'."""
    return {
        "method": registry.methods,
        "student": registry.students,
        "encoder": registry.encoders,
        "corpus": registry.corpora,
        "suite": registry.suites,
        "budget": registry.budgets,
        "engine": registry.engines,
    }


def _load_plugin(
    manager: pluggy.PluginManager, name: str, load: Callable[[], object], files: tuple[str, ...]
) -> list[Fault]:
    """Load and register a plugin; return what is wrong with it."""

    def register() -> list[Fault]:
        plugin = load()
        # pluggy would silently ignore an implementation of a hook that does not exist.
        faults = list(hook_faults(manager, plugin))
        if not faults:
            manager.register(plugin, name)
        return faults

    try:
        return call_plugin(register, IMPORT_SECONDS)
    except BaseException as error:  # a plugin may raise anything at import
        if is_interrupt(error):
            raise
        return [Fault(f"{type(error).__name__}: {error}", raised_at(error, *files))]


@lru_cache(maxsize=64)
def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    """Return name and version of a distribution; cached, since each access parses its metadata again."""
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]


def _files_of(entry: EntryPoint) -> tuple[str, ...]:
    """Return the directories of the package, or the file of the module, that an entry point names."""
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
    # Two files of one name are two modules: the code of a class, which identifies it, is looked up by its module.
    name = f"xlbench_file_{path.stem}"
    if (other := sys.modules.get(name)) is not None and not _same(Path(str(other.__file__)), path):
        # A module's name is where the source code of its classes is looked up.
        name = f"{name}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Added before the module runs: fingerprints of its classes look up the source code of their module.
    sys.modules[name] = module
    written = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # nothing is left beside somebody's file
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


@dataclass
class _Collector:
    """Calls the hooks of plugins and collects what they provide, and their faults.

    Attributes:
        manager: Manages all plugins that were loaded.
        distributions: Name and version of the distribution of each plugin.
        files: Of :class:`Registry`.
        broken: Faults so far.
        brings: Kind and name of what each plugin provides so far.
    """

    manager: pluggy.PluginManager = field(default_factory=_manager)
    distributions: dict[str, tuple[str, str]] = field(default_factory=dict)
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    brings: defaultdict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def build_registry(self) -> Registry:
        """Call every hook and return all results."""
        hook = self.manager.hook
        registry = Registry(
            methods=self.collect(hook.xlbench_methods, "method", Method, lambda it: it.name),
            students=self.collect(hook.xlbench_students, "student", StudentSpec, lambda it: it.name),
            encoders=self.collect(hook.xlbench_encoders, "encoder", RegisteredEncoder, lambda it: it.name),
            corpora=self.collect(hook.xlbench_corpora, "corpus", CorpusReader, lambda it: it.scheme),
            suites=self.collect(hook.xlbench_suites, "suite", Suite, lambda it: it.name),
            budgets=self.collect(hook.xlbench_budgets, "budget", Budget, lambda it: it.name),
            engines=self.collect(hook.xlbench_engines, "engine", Engine, lambda it: it.name),
            loaded=(),
            broken=(),
            files=self.files,
        )
        loaded = tuple(
            Loaded(name, *distribution, hooks=self.hook_names(name), brings=tuple(self.brings[name]))
            for name, distribution in self.distributions.items()
        )
        return replace(registry, loaded=loaded, broken=tuple(self.broken))

    def hook_names(self, name: str) -> tuple[str, ...]:
        """Return the names of the hooks that a plugin implements."""
        callers = self.manager.get_hookcallers(self.manager.get_plugin(name)) or []
        return tuple(sorted(caller.name for caller in callers))

    def collect(self, hook: _Hook, kind: str, expected: type[T], key: Callable[[T], str]) -> dict[str, T]:
        """Call the implementations of a hook one by one, so that each result and fault belongs to a plugin.

        Args:
            hook: The hook.
            kind: Kind of its results, e.g. 'method'.
            expected: Type of its results.
            key: Returns the name of a result.
        """
        table: dict[str, T] = {}
        owners: dict[str, str] = {}
        # Built-ins first, then by name, so that of two plugins with the same name always the same one is refused.
        implementations = sorted(
            hook.get_hookimpls(), key=lambda it: (self.distributions[it.plugin_name][0] != BUILT_IN, it.plugin_name)
        )
        for implementation in implementations:
            owner, function = implementation.plugin_name, implementation.function
            for thing in self.call(implementation):
                where = written_at(function)
                if not isinstance(thing, expected):
                    cause = f"{function.__name__}() returned {thing!r}, which is not a {expected.__name__}"
                    self.add_fault(owner, Fault(cause, where))
                elif fault := unusable(thing, kind, key(thing), where):
                    self.add_fault(owner, fault)
                elif (name := key(thing)) in table:
                    cause = f"'{name}' is already the name of a {expected.__name__} from plugin '{owners[name]}'"
                    self.add_fault(owner, Fault(cause, where))
                else:
                    table[name] = guarded(thing, owner) if owner in self.files else thing
                    owners[name] = owner
                    self.brings[owner].append((kind, name))
        return table

    def call(self, implementation: pluggy.HookImpl) -> list[object]:
        """Return the results of an implementation; an exception ends them and is added as a fault."""
        function = implementation.function
        things: list[object] = []
        try:
            call_plugin(lambda: things.extend(islice(cast("Iterable[object]", function()), MOST + 1)), HOOK_SECONDS)
            if len(things) > MOST:
                cause = f"{function.__name__}() gives over {MOST:,} things, perhaps without end"
                self.add_fault(implementation.plugin_name, Fault(cause, written_at(function)))
                return []
        except BaseException as error:  # a plugin may raise anything
            if is_interrupt(error):
                raise
            why = invalid(error) if isinstance(error, ValidationError) else error
            cause = f"{function.__name__}() raised {type(error).__name__}: {why}"
            code = getattr(function, "__code__", None)
            where = raised_at(error, *([code.co_filename] if code else [])) or written_at(function)
            self.add_fault(implementation.plugin_name, Fault(cause, where))
        return things

    def add_fault(self, owner: str, fault: Fault) -> None:
        """Add a fault of a plugin."""
        self.broken.append(Broken(owner, self.distributions[owner][0], *fault))
