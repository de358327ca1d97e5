"""``xlbench plugins``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from xlbench.cli.app import registry_of
from xlbench.cli.options import json_option, print_json

if TYPE_CHECKING:
    from xlbench.plugins import Broken, Registry


@click.command("plugins")
@click.option("--check", is_flag=True, help="Look closer: options, listings, names. Exit code 2 if anything is wrong.")
@json_option
@click.pass_context
def command(context: click.Context, check: bool, as_json: bool) -> None:
    """Installed plugins with what they bring, and the ones that are broken, with the cause."""
    from xlbench.plugins import check_plugins

    registry = registry_of(context)
    broken = check_plugins(registry) if check else registry.broken
    if as_json:
        print_json({"loaded": [asdict(it) for it in registry.loaded], "broken": [asdict(it) for it in broken]})
    else:
        _print(registry, broken, check=check)
    if check and broken:
        context.exit(2)


def _print(registry: Registry, broken: tuple[Broken, ...], *, check: bool) -> None:
    for plugin in registry.loaded:
        brings = ", ".join(f"{kind} {name}" for kind, name in plugin.brings) or "nothing"
        click.echo(f"{plugin.name}  ({plugin.distribution} {plugin.version}): {brings}".replace(" )", ")"))
    for fault in broken:
        click.secho(f"BROKEN {fault.name}  ({fault.distribution}): {fault.cause}", fg="red")
        if fault.where:
            click.echo(f"    {fault.where}")
    if check and not broken:
        click.echo(f"all {len(registry.loaded)} plugins are well")
