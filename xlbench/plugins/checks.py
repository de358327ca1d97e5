"""Checks of what a plugin provides; each fault names the author's function, argument or option, with file and line."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from pydantic import ValidationError

from xlbench.corpora.corpus import CorpusReader
from xlbench.distill.method import Method, Options
from xlbench.encoders.find import RegisteredEncoder
from xlbench.engines.engine import Engine, EngineOptions
from xlbench.errors import nearest
from xlbench.fingerprint import fingerprint
from xlbench.plugins import hooks as hookspecs
from xlbench.plugins.source_location import field_at, shorten, written_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pluggy
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

VALID_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# What `--teacher` and plans call the experiment's own encoders.
RESERVED = frozenset({"assistant", "teacher"})
BOUNDS = ("ge", "gt", "le", "lt")


class Fault(NamedTuple):
    """What is wrong, and ``file:line`` where that is known."""

    cause: str
    where: str = ""


def hook_faults(manager: pluggy.PluginManager, plugin: object) -> Iterator[Fault]:
    """Yield what is wrong with a plugin's hook implementations: unknown hooks, arguments, wrappers."""
    known = {name for name in vars(hookspecs) if manager.parse_hookspec_opts(hookspecs, name) is not None}
    found = False
    for name in dir(plugin):
        settings = manager.parse_hookimpl_opts(plugin, name)
        if settings is None:
            continue
        found = True
        function = getattr(plugin, name)
        where = written_at(function)
        hook = settings.get("specname") or name
        if hook not in known:
            yield Fault(f"{name}() implements the unknown hook '{hook}'. {nearest(hook, known)}", where)
            continue
        passed = inspect.signature(getattr(hookspecs, hook)).parameters
        taken = [argument for argument in inspect.signature(function).parameters if argument not in passed]
        if taken:
            yield Fault(f"{name}() takes the argument '{taken[0]}', which the hook {hook}() does not have", where)
        if settings.get("wrapper") or settings.get("hookwrapper"):
            yield Fault(f"{name}() is a hook wrapper; xlbench calls each plugin's hook by itself", where)
    if not found:
        file = getattr(plugin, "__file__", None)
        yield Fault(
            "it implements no xlbench hook (functions marked with xlbench.api.hookimpl)", shorten(file) if file else ""
        )


def unusable(thing: object, kind: str, name: object, given_by: str) -> Fault | None:
    """Return why a thing that a hook returned cannot be used at all; nothing when it can.

    Args:
        thing: What was returned.
        kind: The word for its kind.
        name: Its name; of any type, since dataclasses check none.
        given_by: Where the hook that returned it was written.
    """
    return next(_unusable(thing, kind, name, given_by), None)


def _unusable(thing: object, kind: str, name: object, given_by: str) -> Iterator[Fault]:
    if not isinstance(name, str) or not VALID_NAME.fullmatch(name):
        rule = "letters, digits, '.', '_' and '-', a letter or digit first, 100 at most"
        yield Fault(f"the {kind} name {name!r} is invalid: {rule}", given_by)
    if isinstance(thing, RegisteredEncoder) and name in RESERVED:
        yield Fault(f"'{name}' cannot be an encoder's name: it means the experiment's own {name}", given_by)
    for argument, function, passed in _calls(thing):
        if not callable(function):
            yield Fault(f"{kind} '{name}' has {argument}={function!r}, which is no function", given_by)
        else:
            yield from _call_faults(f"{argument} of {kind} '{name}'", function, passed)
    if isinstance(thing, Method):
        options: object = thing.options
        if isinstance(options, type) and issubclass(options, Options):
            yield from _default_faults(options)
        else:
            cause = f"{kind} '{name}' has options={options!r}, which is no subclass of xlbench.api.Options"
            yield Fault(cause, written_at(options) if isinstance(options, type) else given_by)
    if isinstance(thing, Engine):
        options = thing.options
        if isinstance(options, type) and issubclass(options, EngineOptions):
            yield from _default_faults(options)
        else:
            cause = f"{kind} '{name}' has options={options!r}, which is no subclass of xlbench.api.EngineOptions"
            yield Fault(cause, written_at(options) if isinstance(options, type) else given_by)


def _calls(thing: object) -> list[tuple[str, object, tuple[str, ...]]]:
    """Return the functions that xlbench calls of a thing, with what it passes, in order."""
    if isinstance(thing, Method):
        return [("plan", thing.plan, ("experiment", "options"))]
    if isinstance(thing, CorpusReader):
        return [("open", thing.open, ("argument", "settings"))]
    if isinstance(thing, RegisteredEncoder):
        return [("fingerprint", thing.fingerprint, ("settings",)), ("load", thing.load, ("settings",))]
    if isinstance(thing, Engine) and thing.run is not None:
        return [("run", thing.run, ("tasks", "options", "tell"))]
    return []


def _call_faults(what: str, function: Callable[..., object], passed: tuple[str, ...]) -> Iterator[Fault]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin
        return
    try:
        signature.bind(*passed)
    except TypeError as error:
        title = f"{getattr(function, '__name__', repr(function))}{signature}"
        yield Fault(f"{what} is {title}, but is called with ({', '.join(passed)}): {error}", written_at(function))


def option_faults(options: type[BaseModel]) -> Iterator[Fault]:
    """Yield what is wrong with the options of a method or an engine.

    They must refuse unknown names, be frozen, have a default, a description and for numbers a bound each, accept
    their own defaults and come back whole from JSON.
    """
    title = options.__name__
    if options.model_config.get("extra") != "forbid":
        yield Fault(f"{title} accepts unknown options: leave extra='forbid' as it is in its base", written_at(options))
    if not options.model_config.get("frozen"):
        yield Fault(f"{title} can be changed: leave frozen=True as it is in its base", written_at(options))
    for name, field in options.model_fields.items():
        for cause in _field_faults(field):
            yield Fault(f"option '{name}' of {title} {cause}", field_at(options, name))
    faults = list(_default_faults(options))
    yield from faults
    if not faults:
        yield from _json_faults(options)


def _field_faults(field: FieldInfo) -> Iterator[str]:
    if not (field.description or "").strip():
        yield "has no description"
    if field.annotation in (Any, object):
        yield "accepts anything: give it a type"
    if field.exclude:
        yield "is left out of what is written (exclude), so of fingerprints"
    if _unbounded(field):
        yield "is a number without a bound (ge, gt, le or lt)"


def _unbounded(field: FieldInfo) -> bool:
    kinds = {field.annotation, *get_args(field.annotation)}
    bounded = any(getattr(rule, bound, None) is not None for rule in field.metadata for bound in BOUNDS)
    return bool({int, float} & kinds) and not bounded


def _default_faults(options: type[BaseModel]) -> Iterator[Fault]:
    try:
        options()
    except ValidationError as error:
        for detail in error.errors():
            name = ".".join(str(part) for part in detail["loc"]) or "all"
            text = f"option '{name}' of {options.__name__}"
            where = field_at(options, str(detail["loc"][0])) if detail["loc"] else written_at(options)
            if detail["type"] == "missing":
                yield Fault(f"{text} has no default", where)
            else:
                yield Fault(f"{text} refuses its default {detail['input']!r}: {detail['msg']}", where)
    except Exception as error:  # noqa: BLE001 - a default factory or validator may raise anything
        yield Fault(f"{options.__name__}() raised {type(error).__name__}: {error}", written_at(options))


def _json_faults(options: type[BaseModel]) -> Iterator[Fault]:
    title, where = options.__name__, written_at(options)
    defaults = options()
    try:
        dumped = defaults.model_dump(mode="json")
        fingerprint(dumped)
        again = options.model_validate(dumped)
    except Exception as error:  # noqa: BLE001 - serialisers and validators may raise anything
        yield Fault(f"the defaults of {title} cannot be written as JSON and read: {error}", where)
        return
    if again != defaults or again.model_dump(mode="json") != dumped:
        changed = [name for name in options.model_fields if getattr(again, name) != getattr(defaults, name)]
        yield Fault(f"{title} comes back from JSON with other values of {', '.join(changed) or 'its options'}", where)


def _preset_faults(method: Method) -> Iterator[Fault]:
    for name, values in method.presets.items():
        try:
            method.options.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            option = ".".join(str(part) for part in first["loc"])
            cause = f"preset '{name}' of method '{method.name}' sets the option '{option}' to {first['input']!r}"
            yield Fault(f"{cause}: {first['msg']}", written_at(method.plan))


def thing_faults(thing: object, kind: str, name: str) -> Iterator[Fault]:
    """Yield what is wrong with a usable thing: its options, missing parts of its listing."""
    if isinstance(thing, Method):
        yield from option_faults(thing.options)
        yield from _preset_faults(thing)
    if isinstance(thing, Engine):
        yield from option_faults(thing.options)
    if isinstance(thing, (Method, CorpusReader, RegisteredEncoder, Engine)) and not thing.summary.strip():
        yield Fault(f"{kind} '{name}' has no summary for listings")
    if isinstance(thing, CorpusReader) and thing.example.partition(":")[0].partition("?")[0] != thing.scheme:
        yield Fault(f"corpus '{name}' has the example '{thing.example}', which is not of its scheme")


def case_faults(kind: str, table: Mapping[str, object]) -> Iterator[tuple[str, Fault]]:
    """Yield (name, fault) for names that differ from another one only in capital letters."""
    seen: dict[str, str] = {}
    for name in table:
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            yield name, Fault(f"the {kind} name '{name}' differs from '{twin}' only in capital letters")
