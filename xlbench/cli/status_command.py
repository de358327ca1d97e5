"""``xlbench status``."""

from __future__ import annotations

import click

from xlbench.cli.app import echo, settings_of
from xlbench.cli.options import json_option, print_json


@click.command("status")
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """What runs with this store just now, on this machine or another: stage, loss, steps, time left."""
    from xlbench.runs.status import read_status

    home = settings_of(context).home
    found = read_status(home)
    if as_json:
        print_json([status.model_dump(mode="json") for status in found])
        return
    for status in found:
        echo(str(status))
    if not found:
        echo(f"nothing runs with the store in {home}")
