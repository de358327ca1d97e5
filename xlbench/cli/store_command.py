"""``xlbench store``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xlbench.cli.app import PATH, echo, say_of
from xlbench.cli.options import json_option, print_json
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from xlbench.inventory import Holding, Store

ENTRY = "A key, or its first four digits or more; also KIND/KEY."


@click.group("store")
def command() -> None:
    """What the store holds and who needs it; verify it, make room, carry entries to another machine."""


@command.command("ls")
@click.option("--kind", help="Only entries of this kind.")
@json_option
@click.pass_context
def list_entries(context: click.Context, kind: str | None, as_json: bool) -> None:
    """List every entry: kind, key, size, last use, what it is and who needs it."""
    rows = _store(context).entries(kind)
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
        return
    for row in rows:
        echo(_line(row))
    echo(f"{len(rows)} entries, {_size(sum(row.bytes for row in rows))}, in {_store(context).home}")


@command.command("show")
@click.argument("entry")
@json_option
@click.pass_context
def show(context: click.Context, entry: str, as_json: bool) -> None:
    """Show one ENTRY, verified: its files, what its build left of facts, and who needs it.

    ENTRY is a key, or its first four digits or more; also KIND/KEY.
    """
    import json

    store = _store(context)
    found = store.entry(entry)
    facts = {} if found.damage else store.facts(found.name)
    if as_json:
        print_json({**found.model_dump(mode="json"), **facts})
        return
    echo(_line(found))
    for who in found.needed_by:
        echo(f"needed by {who}")
    if found.damage:
        echo(f"damaged: {found.damage}; the next run that needs it makes it again")
        return
    echo(json.dumps(facts, indent=1, ensure_ascii=False))


@command.command("verify")
@click.argument("entries", nargs=-1)
@json_option
@click.pass_context
def verify(context: click.Context, entries: tuple[str, ...], as_json: bool) -> None:
    """Compare every file of ENTRIES, all if none is named, with its checksum; exit code 2 if one is damaged."""
    seen: list[Holding] = []
    damaged = _store(context).verify(entries, seen.append)
    if as_json:
        print_json([row.model_dump(mode="json") for row in damaged])
    else:
        for row in damaged:
            echo(f"{row.name} is damaged: {row.damage}")
        echo(f"{len(seen)} entries verified, {_size(sum(row.bytes for row in seen))}, {len(damaged)} damaged")
    if damaged:
        raise XlbenchError(
            f"{len(damaged)} of {len(seen)} entries are damaged.",
            "The next run that needs one makes it again; `xlbench store prune --damaged --yes` deletes them.",
        )


@command.command("prune")
@click.argument("entries", nargs=-1)
@click.option("--kind", help="Only entries of this kind.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Only entries that are older than this many hours.",
)
@click.option(
    "--unused-for",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Only entries that no run took for this many hours.",
)
@click.option("--damaged", is_flag=True, help="Only entries that are damaged, needed or not.")
@click.option("--interrupted", is_flag=True, help="Also what interrupted runs left, which they would resume from.")
@click.option("--force", is_flag=True, help="Also what records and boards need; records where they are named.")
@click.option("--yes", is_flag=True, help="Delete them; without it the command only lists them.")
@click.pass_context
def prune(
    context: click.Context,
    entries: tuple[str, ...],
    kind: str | None,
    older_than: float,
    unused_for: float,
    damaged: bool,
    interrupted: bool,
    force: bool,
    yes: bool,
) -> None:
    """Delete ENTRIES, all if none is named, that no record and no board needs.

    Records are kept, and so is what a run needs just now.
    """
    done = _store(context).prune(
        entries,
        kind=kind,
        older_than=older_than,
        unused_for=unused_for,
        damaged=damaged,
        interrupted=interrupted,
        force=force,
        delete=yes,
    )
    for name in [*(it.name for it in done.taken), *(f"partial/{name}" for name in done.unfinished)]:
        echo(f"{'deleted' if yes else 'would delete'} {name}")
    reasons = done.kept if entries else {it: why for it, why in done.kept.items() if why != "it is a record"}
    for name, reason in reasons.items():
        echo(f"kept {name}: {reason}")
    echo(f"{_size(done.bytes)} {'freed' if yes else 'would be freed'}")
    if not yes:
        echo("Nothing was deleted; give --yes to delete.")


@command.command("export")
@click.argument("file", type=PATH)
@click.argument("entries", nargs=-1)
@click.pass_context
def export(context: click.Context, file: str, entries: tuple[str, ...]) -> None:
    """Write ENTRIES, all if none is named, into one new archive FILE, verified.

    With a record go the stages, encoders and training data that it needs.
    """
    names = _store(context).export(file, entries)
    echo(f"{len(names)} entries in {file}, {_size(Path(file).stat().st_size)}")


@command.command("import")
@click.argument("file", type=PATH)
@click.pass_context
def import_(context: click.Context, file: str) -> None:
    """Take the entries of the archive FILE over into the store, all of them verified before the first one is."""
    done = _store(context).add(file)
    say = say_of(context)
    for name in done.added:
        say(f"added {name}")
    echo(f"{len(done.added)} entries added, {len(done.present)} were there already")


@command.command("sync")
@click.argument("url")
@click.argument("entries", nargs=-1)
@click.option("--push", is_flag=True, help="Only push.")
@click.option("--pull", is_flag=True, help="Only pull.")
@click.option("--kind", help="Only entries of this kind.")
@click.option("--dry-run", is_flag=True, help="Only say what would be pushed and pulled.")
@json_option
@click.pass_context
def sync(
    context: click.Context,
    url: str,
    entries: tuple[str, ...],
    push: bool,
    pull: bool,
    kind: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Push ENTRIES that URL does not have, and pull those that the store does not have; all if none is named.

    URL is a directory or what fsspec takes: s3://, gs://, sftp://. Entries are verified before they are pushed, and
    again when they are pulled. With a record go the stages, encoders and training data that it needs.
    """
    from xlbench.functions.stores import sync_store

    both = push == pull
    done = sync_store(
        url, entries, kind=kind, push=push or both, pull=pull or both, dry_run=dry_run, **context.find_root().obj
    )
    if as_json:
        print_json(done.model_dump(mode="json"))
    else:
        say, would = say_of(context), "would be " if dry_run else ""
        for asked, verb, names, count in (
            (push or both, "pushed", done.pushed, done.bytes_pushed),
            (pull or both, "pulled", done.pulled, done.bytes_pulled),
        ):
            if not asked:
                continue
            for name in names:
                say(f"{would}{verb} {name}")
            echo(f"{len(names)} entries {would}{verb}, {_size(count)}")
    if done.refused:
        named = "; ".join(f"{name}: {reason}" for name, reason in done.refused.items())
        raise XlbenchError(
            f"{len(done.refused)} entries were left out: {named}.",
            "Damaged here: `xlbench store prune` deletes it. There: delete it, and push it from a whole store.",
        )


def _store(context: click.Context) -> Store:
    from xlbench.functions.stores import open_store

    return open_store(**context.find_root().obj)  # plugins are not needed


def _line(row: Holding) -> str:
    hours = max(0.0, time.time() - row.used) / 3600  # the clock may have been set
    needed = f"  needed by {row.needed_by[0]}" if row.needed_by else ""
    more = f" and {len(row.needed_by) - 1} more" if len(row.needed_by) > 1 else ""
    damage = f"  damaged: {row.damage}" if row.damage else ""
    size = f"{row.kind:15} {row.key:20} {_size(row.bytes):>10}  used {hours:6.1f} h ago"
    return f"{size}  {row.what}{needed}{more}{damage}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
