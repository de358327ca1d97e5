"""``xlbench list``."""

from __future__ import annotations

import click

from xlbench.cli.app import registry_of
from xlbench.cli.options import json_option, print_json

KINDS = ("methods", "students", "encoders", "corpora", "suites", "budgets")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@json_option
@click.pass_context
def command(context: click.Context, kind: str | None, as_json: bool) -> None:
    """Methods, students, encoders, corpora, suites and budgets, by name."""
    from xlbench.cli.describe import summaries

    registry = registry_of(context)
    tables = {one: summaries(registry, one) for one in ([kind] if kind else KINDS)}
    if as_json:
        print_json(tables)
        return
    for title, table in tables.items():
        click.secho(title, bold=True)
        width = max(map(len, table), default=0)
        for name, summary in table.items():
            click.echo(f"  {name:{width}}  {summary}")
