"""``xlbench show``."""

from __future__ import annotations

import click

from xlbench.cli.app import registry_of
from xlbench.cli.options import json_option, print_json

KINDS = ("method", "student", "encoder", "corpus", "suite", "budget")


@click.command("show")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@json_option
@click.pass_context
def command(context: click.Context, kind: str, name: str, as_json: bool) -> None:
    """Everything about one thing: a method's options, a student's size, a suite's tasks."""
    from xlbench.cli.describe import details

    facts = details(registry_of(context), kind, name)
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        if key == "options" and isinstance(value, list):
            click.echo("options (set with -o key=value):")
            for row in value:
                click.echo(f"  {row['name']} = {row['default']}  ({row['type']})")
                click.echo(f"      {row['help']}")
        elif isinstance(value, dict | list):
            click.echo(f"{key}:")
            for line in value.items() if isinstance(value, dict) else value:
                click.echo(f"  {_line(line)}")
        elif value not in (None, ""):
            click.echo(f"{key}: {value}")


def _line(item: object) -> str:
    if isinstance(item, tuple):
        return f"{item[0]}: {item[1]:,}" if isinstance(item[1], int) else f"{item[0]}: {item[1]}"
    if isinstance(item, dict):
        return ", ".join(f"{key} {_plain(value)}" for key, value in item.items() if value is not None)
    return str(item)


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
