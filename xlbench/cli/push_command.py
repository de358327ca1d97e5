"""``xlbench push``."""

from __future__ import annotations

import click

from xlbench.cli.app import PATH, echo, say_of, where_of
from xlbench.cli.options import json_option, print_json


@click.command("push")
@click.argument("directory", type=PATH)
@click.argument("repository")
@click.option("--private/--public", default=True, help="Who sees it: members only, or everybody [--private].")
@click.option("--force", is_flag=True, help="Replace other files that the repository has, in a new commit.")
@click.option("--dry-run", is_flag=True, help="Send nothing; list the files and their bytes.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    directory: str,
    repository: str,
    *,
    private: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Push DIRECTORY, a saved or exported student, to REPOSITORY on the Hugging Face hub, written ORG/NAME.

    The directory must have a model card (README.md), load, and hold no pickle. It is one commit: all of it or nothing.
    The token is the one of `hf auth login`, or HF_TOKEN.
    """
    from xlbench.functions.hub import push

    pushed = push(
        directory, repository, private=private, force=force, dry_run=dry_run, say=say_of(context), **where_of(context)
    )
    if as_json:
        told = {"repository": pushed.repository, "url": pushed.url, "private": pushed.private, "commit": pushed.commit}
        print_json({**told, "dry_run": dry_run, "files": dict(pushed.files)})
        return
    if dry_run:
        for name, size in pushed.files.items():
            echo(f"{size:>13,}  {name}")
    seen = "private" if pushed.private else "public"
    total = f"{len(pushed.files)} files, {pushed.size:,} bytes, {seen}"
    echo(f"{pushed.url}: {total}{'; nothing was sent' if dry_run else ''}")
