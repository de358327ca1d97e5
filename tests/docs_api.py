"""The reference of Python names, as Markdown: from signatures, docstrings and pydantic's fields."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from functools import cached_property
from typing import TYPE_CHECKING, Any, is_typeddict

from griffe import Docstring, DocstringSectionKind, Parser
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

WIDTH = 100


def documented(thing: object, name: str, level: int = 3) -> str:
    """Return heading, signature, docstring, fields and methods of a public name."""
    return "\n\n".join([f"{'#' * level} `{name}`", *_body(thing, name.rpartition(".")[2], level)])


def _body(thing: object, name: str, level: int) -> Iterator[str]:
    if inspect.isclass(thing):
        yield _fenced(_class_line(thing, name))
        fields = thing.model_fields if issubclass(thing, BaseModel) else {}
        yield from described(thing.__doc__ or "", skip_attributes=bool(fields))
        if own := {key: field for key, field in fields.items() if key in thing.__annotations__}:
            yield _field_list(own, thing.__annotations__)
        for key, member in vars(thing).items():
            if (part := _member(key, member)) is not None:
                yield from part
    elif inspect.isfunction(thing):
        yield _fenced(signature(thing, name))
        yield from described(thing.__doc__ or "")
    else:  # pluggy's marker: what follows its first paragraph is about pluggy
        yield (inspect.getdoc(thing) or "").partition("\n\n")[0]


def _member(key: str, member: object) -> list[str] | None:
    """Return a public property's or method's description; what is inherited stands at the parent."""
    if key.startswith("_") or key == "model_config":
        return None
    if isinstance(member, property | cached_property):
        getter = member.func if isinstance(member, cached_property) else member.fget
        kind = (getter.__annotations__ if getter else {}).get("return", "")
        return [f"**`{key}`**: `{kind}`", *described(member.__doc__ or "")]
    if isinstance(member, types.FunctionType) and member.__doc__:
        return [_fenced(signature(member, key)), *described(member.__doc__)]
    return None


def _class_line(kind: type, name: str) -> str:
    if dataclasses.is_dataclass(kind):
        return signature(kind, name, "class ")
    bases = [base.__name__ for base in kind.__bases__ if base is not object]
    if issubclass(kind, tuple):
        bases = ["NamedTuple"]
    if is_typeddict(kind):
        bases = ["TypedDict"]
    if "Protocol" in bases or getattr(kind, "_is_protocol", False):
        bases = ["Protocol"]
    return f"class {name}({', '.join(bases)})" if bases else f"class {name}"


def signature(thing: Any, name: str, word: str = "def ") -> str:  # noqa: ANN401 - whatever has a signature
    """Return a signature as its author wrote it, on as many lines as it needs."""
    found = inspect.signature(thing)
    # Annotations are strings (`from __future__ import annotations`); shown without quotes, as they were written.
    plain = [_parameter(each) for each in found.parameters.values()]
    for place, each in enumerate(found.parameters.values()):
        if each.kind is each.KEYWORD_ONLY and not any(part.startswith("*") for part in plain[:place]):
            plain.insert(place, "*")
            break
    result = "" if word == "class " or found.return_annotation is found.empty else f" -> {found.return_annotation}"
    line = f"{word}{name}({', '.join(plain)}){result}"
    if len(line) > WIDTH:
        line = f"{word}{name}(\n" + "".join(f"    {part},\n" for part in plain) + f"){result}"
    return line


def _parameter(each: inspect.Parameter) -> str:
    stars = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
    text = f"{stars}{each.name}"
    if each.annotation is not each.empty:
        text += f": {each.annotation}"
    if each.default is not each.empty:
        text += f" = {_value(each.default)}"
    return text


def _value(value: object) -> str:
    # A class or function as a default would show where it lies in memory, and in which private module.
    named = isinstance(value, type | types.FunctionType) and value.__name__ != "<lambda>"
    return value.__name__ if named else _public(repr(value))


def _public(text: str) -> str:
    return re.sub(r"<(factory|class|function).*>", "...", text)


def _fenced(code: str) -> str:
    return f"```py\n{code}\n```"  # not "python": that is what tests compile


def described(docstring: str, *, skip_attributes: bool = False) -> Iterator[str]:
    """Yield the parts of a Google docstring as Markdown."""
    for section in Docstring(docstring).parse(Parser.google, warnings=False):
        if section.kind is DocstringSectionKind.text:
            yield _marked(section.value)
        elif section.kind is DocstringSectionKind.attributes and skip_attributes:
            continue
        elif section.kind in TITLES:
            yield f"{TITLES[section.kind]}:"
            yield "\n".join(_entry(section.kind, part) for part in section.value)


TITLES = {
    DocstringSectionKind.attributes: "Attributes",
    DocstringSectionKind.parameters: "Arguments",
    DocstringSectionKind.returns: "Returns",
    DocstringSectionKind.yields: "Yields",
    DocstringSectionKind.raises: "Raises",
}


def _entry(kind: DocstringSectionKind, part: Any) -> str:  # noqa: ANN401 - one of griffe's elements
    text = " ".join(_marked(part.description).split())
    if kind in {DocstringSectionKind.returns, DocstringSectionKind.yields}:
        return f"- {text}"
    name = part.annotation if kind is DocstringSectionKind.raises else part.name
    return f"- `{name}`: {text}"


def _marked(text: str) -> str:
    """Return a docstring's text with its roles as plain code."""
    return re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text).strip()


def _field_list(fields: dict[str, FieldInfo], annotations: dict[str, object]) -> str:
    return "\n".join(_field(name, field, str(annotations[name])) for name, field in fields.items())


def _field(name: str, field: FieldInfo, kind: str) -> str:
    default = "" if field.default is PydanticUndefined else f" = {_value(field.default)}"
    bounds = [_bound(rule) for rule in field.metadata]
    limits = f" ({', '.join(filter(None, bounds))})" if any(bounds) else ""
    text = f": {_marked(field.description)}" if field.description else ""
    return f"- `{name}: {kind}{default}`{limits}{text}"


def _bound(rule: object) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return next((f"{sign} {getattr(rule, key):.12g}" for key, sign in signs.items() if hasattr(rule, key)), "")
