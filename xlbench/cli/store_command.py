"""``xlbench store``."""

from __future__ import annotations

import shutil
import time

import click

from xlbench.cli.app import settings_of
from xlbench.cli.options import json_option, print_json


@click.group("store")
def command() -> None:
    """List what the store contains, and delete entries to free disk space."""


@command.command("list")
@json_option
@click.pass_context
def list_entries(context: click.Context, as_json: bool) -> None:
    """List every finished entry: kind, key, age, size and content."""
    from xlbench.store import entries, entry_path

    home = settings_of(context).home
    rows: list[dict[str, object]] = []
    for manifest in entries(home):
        path = entry_path(home, manifest.kind, manifest.key)
        rows.append(
            {
                "kind": manifest.kind,
                "key": manifest.key,
                "made": manifest.made,
                "bytes": sum((path / name).stat().st_size for name in manifest.files if (path / name).is_file()),
                "what": manifest.facts.get("stage") or manifest.facts.get("name") or manifest.facts.get("source"),
            }
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        assert isinstance(row["bytes"], int)
        assert isinstance(row["made"], float)
        hours = (time.time() - row["made"]) / 3600
        click.echo(f"{row['kind']:9} {row['key']}  {row['bytes'] / 1e6:8.1f} MB  {hours:6.1f} h  {row['what'] or ''}")
    click.echo(f"{len(rows)} entries in {home}")


@command.command("prune")
@click.option("--kind", help="Only entries of this kind.")
@click.option(
    "--older-than", type=float, default=0.0, show_default=True, help="Only entries that are older than this many hours."
)
@click.option("--yes", is_flag=True, help="Delete them; without it the command only lists them.")
@click.pass_context
def prune(context: click.Context, kind: str | None, older_than: float, yes: bool) -> None:
    """Delete entries; records and their scores are kept."""
    from xlbench.store import entries, entry_path

    home = settings_of(context).home
    chosen = [
        manifest
        for manifest in entries(home)
        if manifest.kind != "records"
        and kind in {None, manifest.kind}
        and time.time() - manifest.made >= older_than * 3600
    ]
    for manifest in chosen:
        click.echo(f"{'deleting' if yes else 'would delete'} {manifest.kind} {manifest.key}")
        if yes:
            shutil.rmtree(entry_path(home, manifest.kind, manifest.key))
    if yes:
        shutil.rmtree(home / "partial", ignore_errors=True)
    elif chosen:
        click.echo("Nothing was deleted; give --yes to delete.")
