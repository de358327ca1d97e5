"""``xlbench bundle``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xlbench.cli.app import PATH, say_of, where_of
from xlbench.cli.options import json_option, print_json

if TYPE_CHECKING:
    from pathlib import Path


@click.command("bundle")
@click.argument("board", required=False)
@click.argument("directory", type=PATH, required=False)
@click.option(
    "--check",
    type=PATH,
    metavar="DIRECTORY",
    help="Compare every file of this bundle with its digest, and write nothing.",
)
@json_option
@click.pass_context
def command(
    context: click.Context, board: str | None, directory: Path | None, check: Path | None, as_json: bool
) -> None:
    """Put everything that BOARD needs into DIRECTORY: encoders, datasets, corpora and their digests.

    There, or where it is copied to, `xlbench --data-root DIRECTORY --offline leaderboard run BOARD` needs no network.
    BOARD is a name or the path of a TOML file. A call that was interrupted is completed by the same call.
    """
    from xlbench.functions.boards import bundle

    made = bundle(board, directory, check=check, say=say_of(context), **where_of(context))
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    whole = "as they were written" if check else "written"
    click.echo(
        f"{check or directory}: {len(made.files)} files of board {made.board}, {made.size / 1e6:,.1f} MB, {whole}"
    )
