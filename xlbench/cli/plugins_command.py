"""``xlbench plugins``."""

from __future__ import annotations

from dataclasses import asdict

import click

from xlbench.cli.app import registry_of
from xlbench.cli.options import json_option, print_json


@click.command("plugins")
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Installed plugins with what they bring, and the ones that are broken, with the cause."""
    registry = registry_of(context)
    if as_json:
        print_json(
            {
                "loaded": [asdict(it) for it in registry.loaded],
                "broken": [asdict(it) for it in registry.broken],
            }
        )
        return
    for plugin in registry.loaded:
        brings = ", ".join(hook.removeprefix("xlbench_") for hook in plugin.hooks)
        click.echo(f"{plugin.name}  ({plugin.distribution} {plugin.version}): {brings}".replace(" )", ")"))
    for broken in registry.broken:
        click.secho(f"BROKEN {broken.name}  ({broken.distribution}): {broken.cause}", fg="red")
