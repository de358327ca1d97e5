"""``xlbench plugins`` and ``xlbench new-plugin``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from xlbench.cli.app import PATH, echo, registry_of
from xlbench.cli.options import json_option, print_json

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.plugins.registry import Broken, Registry


@click.command("plugins")
@click.option("--check", is_flag=True, help="Also check options, listings and names. Exit code 2 if anything is wrong.")
@json_option
@click.pass_context
def plugins_command(context: click.Context, check: bool, as_json: bool) -> None:
    """List installed plugins with what they register, and broken ones with the cause."""
    from xlbench.plugins.registry import check_plugins

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
        echo(f"{plugin.name}  ({plugin.distribution} {plugin.version}): {brings}".replace(" )", ")"))
    for fault in broken:
        echo(f"BROKEN {fault.name}  ({fault.distribution}): {fault.cause}", fg="red")
        if fault.where:
            echo(f"    {fault.where}")
    if check and not broken:
        echo(f"all {len(registry.loaded)} plugins are well")


@click.command("new-plugin")
@click.argument("name")
@click.option("--into", type=PATH, default=".", help="Where to create its directory [the current one].")
@click.pass_context
def new_plugin_command(context: click.Context, name: str, into: str) -> None:
    """Write a project with a method of your own: options, student spec, tests and CI file, ready to install.

    NAME is the method's name and the directory's; nothing that is there is overwritten.
    """
    from xlbench.plugins.template import new_plugin
    from xlbench.settings import path_of

    project = new_plugin(name, path_of(into, "into"), registry_of(context).methods)
    echo(f"{project}: the method is in {next(project.glob('src/*/__init__.py'))}")
    echo(f"next: pip install {_argument(project)} && xlbench run --method {name} --student minilm-half")


def _argument(path: Path) -> str:
    """Return a path in a form that pip does not mistake for the name of a package."""
    return str(path) if path.is_absolute() else f"./{path}"
