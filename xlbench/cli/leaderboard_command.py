"""``xlbench leaderboard``."""

from __future__ import annotations

from pathlib import Path

import click

from xlbench.cli.app import registry_of, settings_of
from xlbench.cli.options import json_option, print_json


@click.command("leaderboard")
@click.option("--suite", default="starter", show_default=True, help="Of which suite.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the table to this markdown file.")
@click.option("--records", "directory", type=click.Path(path_type=Path), help="JSON records here, not the store's.")
@json_option
@click.pass_context
def command(context: click.Context, suite: str, out: Path | None, directory: Path | None, as_json: bool) -> None:
    """A table of all records of a suite, in the store or in a directory."""
    from xlbench.leaderboard.record import records, records_in
    from xlbench.leaderboard.table import markdown
    from xlbench.names import look_up
    from xlbench.store import write_atomically

    look_up("suite", suite, registry_of(context).suites)
    rows = list(records_in(directory, suite) if directory else records(settings_of(context).home, suite))
    if as_json:
        print_json([row.model_dump(mode="json", by_alias=True) for row in rows])
        return
    table = markdown(rows)
    if out is not None:
        write_atomically(out, f"# {suite}\n\n{table}\n")
    click.echo(table)
