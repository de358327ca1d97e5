"""``xlbench doctor``."""

from __future__ import annotations

import click

from xlbench.cli.app import registry_of, settings_of
from xlbench.cli.options import json_option, print_json


@click.command("doctor")
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """What works on this machine: versions, device, starter encoders, data root, hub, disk."""
    from xlbench.runs.doctor import examine

    findings = examine(registry_of(context), settings_of(context))
    if as_json:
        print_json([finding._asdict() for finding in findings])
        return
    for finding in findings:
        mark = {True: "ok ", False: "NO ", None: "-- "}[finding.good]
        click.echo(f"{mark} {finding.topic}: {finding.text}")
