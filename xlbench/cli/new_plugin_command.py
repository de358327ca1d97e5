"""``xlbench new-plugin``."""

from __future__ import annotations

from pathlib import Path

import click

from xlbench.cli.app import registry_of


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--into", type=click.Path(path_type=Path), default=Path(), help="Where its directory is made [the current one]."
)
@click.pass_context
def command(context: click.Context, name: str, into: Path) -> None:
    """Write a project with a method of your own: options, student spec, tests and CI file, ready to install.

    NAME is the method's name and the directory's; nothing that is there is overwritten.
    """
    from xlbench.plugin_template.render import new_plugin

    project = new_plugin(name, into, registry_of(context).methods)
    click.echo(f"{project}: the method is in {next(project.glob('src/*/__init__.py'))}")
    click.echo(f"next: pip install {_argument(project)} && xlbench run --method {name} --student minilm-half")


def _argument(path: Path) -> str:
    """Return a path as pip takes it for one: not for the name of a package."""
    return str(path) if path.is_absolute() else f"./{path}"
