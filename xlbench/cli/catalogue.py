"""``xlbench list`` and ``xlbench show``: everything that is registered, and the details of one entry."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

from xlbench.cli.app import echo, registry_of
from xlbench.cli.options import json_option, print_json
from xlbench.errors import XlbenchError, look_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from xlbench.distill.method import Method
    from xlbench.engines.engine import Engine
    from xlbench.experiment import Budget, StudentSpec, Suite
    from xlbench.plugins.registry import Registry


def summaries(registry: Registry, kind: str) -> dict[str, str]:
    """Return a one-line summary of each entry of a kind, by name."""
    if kind == "corpora":
        return {name: f"{it.summary} (e.g. {it.example})" for name, it in sorted(registry.corpora.items())}
    if kind == "budgets":
        return {name: budget_line(it) for name, it in registry.budgets.items()}
    table: Mapping[str, Method | StudentSpec | Engine] = getattr(registry, kind)
    return {name: it.summary for name, it in sorted(table.items())}


def budget_line(budget: Budget) -> str:
    """Return a budget as one line of text."""
    kept = f"{budget.pairs_per_language:,}" if budget.pairs_per_language else "all"
    return (
        f"{kept} pairs a language, {budget.dev_pairs:,} dev;"
        f" pairs seen: assistant {budget.assistant_pairs:,}, student {budget.student_pairs:,}"
    )


def option_groups(options: type[BaseModel]) -> dict[type[BaseModel], list[str]]:
    """Return the names of all options by the class that defines them; those of the method itself come last."""
    groups: dict[type[BaseModel], list[str]] = {}
    for name in options.model_fields:
        owner = next(base for base in options.__mro__ if name in vars(base).get("__annotations__", {}))
        groups.setdefault(owner, []).append(name)
    return dict(sorted(groups.items(), key=lambda item: (item[0] is options, group_title(item[0]))))


def group_title(group: type[BaseModel]) -> str:
    """Return the title of a group of options: the first line of its docstring."""
    return inspect.cleandoc(group.__doc__ or "").partition("\n")[0].rstrip(".")  # not its parent's


def option_rows(options: type[BaseModel]) -> list[dict[str, str]]:
    """Return group, name, type, default, bounds and help of every option, group by group."""
    schema = options.model_json_schema()["properties"] if options.model_fields else {}
    rows = []
    groups = option_groups(options)
    for name, group in ((name, group) for group, names in groups.items() for name in names):
        field = options.model_fields[name]
        # 'anyOf' is what pydantic makes of 'int | None'.
        choices = [choice for choice in schema[name].get("anyOf", [schema[name]]) if choice.get("type") != "null"]
        facts = choices[0]
        none = " or None" if "anyOf" in schema[name] and len(choices) < len(schema[name]["anyOf"]) else ""
        bounds = [
            f"{sign} {facts[key]:.12g}"
            for key, sign in (
                ("minimum", ">="),
                ("exclusiveMinimum", ">"),
                ("maximum", "<="),
                ("exclusiveMaximum", "<"),
            )
            if key in facts
        ]
        kind = (
            " | ".join(map(str, facts["enum"]))
            if "enum" in facts
            else facts.get("type", "table" if "$ref" in facts else "text")
        )
        rows.append(
            {
                "group": group_title(group),
                "name": name,
                "type": ", ".join([kind + none, *bounds]),
                "default": str(field.default),
                "help": field.description or "",
            }
        )
    return rows


def details(registry: Registry, kind: str, name: str) -> dict[str, object]:
    """Return the details of one entry.

    Raises:
        XlbenchError: There is no such thing; the remedy proposes the nearest names.
    """
    if kind == "method":
        method = look_up(kind, name, registry.methods)
        facts: dict[str, object] = {"name": name, "summary": method.summary, "reference": method.reference}
        presets = {f"preset {preset}": dict(values) for preset, values in method.presets.items()}
        return {**facts, **presets, "options": option_rows(method.options)}
    if kind == "student":
        return _student(look_up(kind, name, registry.students))
    if kind == "encoder":
        encoder = look_up(kind, name, registry.encoders)
        return {"name": name, "summary": encoder.summary, "notes": encoder.notes}
    if kind == "corpus":
        corpus = look_up(kind, name, registry.corpora)
        return {"name": name, "summary": corpus.summary, "example": corpus.example}
    if kind == "engine":
        return _engine(look_up(kind, name, registry.engines))
    if kind == "suite":
        from xlbench.scoring.suites import find_suite

        found: Suite | Budget = find_suite(name, registry.suites)
    else:
        found = look_up(kind, name, registry.budgets)
    return found.model_dump(mode="json")


def _engine(engine: Engine) -> dict[str, object]:
    options = option_rows(engine.options) if engine.run is not None else []
    return {"name": engine.name, "summary": engine.summary, "options": options}


def _student(spec: StudentSpec) -> dict[str, object]:
    from xlbench.students.shape import MINILM, XLMR

    facts: dict[str, object] = spec.model_dump(mode="json")
    for title, base in (("MiniLM", MINILM), ("XLM-R", XLMR)):
        if spec.hidden in {None, base.hidden}:
            shape = base.cut(spec)
            facts[f"cut from {title}"] = {
                "parameters": shape.parameters,
                "embedding": shape.embedding_parameters,
                "encoder": shape.encoder_parameters,
                "executed layers": shape.executed_layers,
                "of the assistant": f"{100 * shape.parameters / base.parameters:.1f} %",
            }
    return facts


TABLES = ("methods", "students", "encoders", "corpora", "suites", "budgets", "engines")


@click.command("list")
@click.argument("kind", type=click.Choice(TABLES), required=False)
@json_option
@click.pass_context
def list_command(context: click.Context, kind: str | None, as_json: bool) -> None:
    """Methods, students, encoders, corpora, suites, budgets and engines, by name."""
    registry = registry_of(context)
    tables = {one: summaries(registry, one) for one in ([kind] if kind else TABLES)}
    if as_json:
        print_json(tables)
        return
    for title, table in tables.items():
        echo(title, bold=True)
        width = max(map(len, table), default=0)
        for name, summary in table.items():
            echo(f"  {name:{width}}  {summary}")


KINDS = ("method", "student", "encoder", "corpus", "suite", "budget", "engine")


@click.command("show")
@click.argument("kind", metavar="KIND")
@click.argument("name", required=False)
@json_option
@click.pass_context
def show_command(context: click.Context, kind: str, name: str | None, as_json: bool) -> None:
    """Details of one entry: a method's options, a student's size, a suite's tasks.

    KIND is method, student, encoder, corpus, suite, budget or engine.
    """
    registry = registry_of(context)
    if kind not in KINDS:
        named = [one for one, table in zip(KINDS, TABLES, strict=True) if kind in getattr(registry, table)]
        if named:
            raise XlbenchError(f"'{kind}' is a {named[0]}, and no kind of things.", f"xlbench show {named[0]} {kind}")
        look_up("kind", kind, dict.fromkeys(KINDS))
    if name is None:
        raise click.UsageError("Missing argument 'NAME'.", context)
    facts = details(registry, kind, name)
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        if key == "options" and isinstance(value, list):
            echo(f"options (set with {'-e' if kind == 'engine' else '-o'} key=value):")
            group = ""
            for row in value:
                if row["group"] != group:
                    group = row["group"]
                    echo(f"  {group or 'Its own'}:")
                echo(f"    {row['name']} = {row['default']}  ({row['type']})")
                echo(f"        {row['help']}")
        elif isinstance(value, dict | list):
            echo(f"{key}:")
            for line in value.items() if isinstance(value, dict) else value:
                echo(f"  {_line(line)}")
        elif value not in (None, ""):
            echo(f"{key}: {value}")


def _line(item: object) -> str:
    if isinstance(item, tuple):
        return f"{item[0]}: {item[1]:,}" if type(item[1]) is int else f"{item[0]}: {item[1]}"
    if isinstance(item, dict):
        return ", ".join(f"{key} {_plain(value)}" for key, value in item.items() if value is not None)
    return str(item)


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
