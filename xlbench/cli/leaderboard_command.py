"""``xlbench leaderboard``."""

from __future__ import annotations

from pathlib import Path

import click

from xlbench.cli.app import registry_of, settings_of
from xlbench.cli.options import json_option, print_json
from xlbench.errors import XlbenchError


@click.group("leaderboard")
def command() -> None:
    """Ranked tables: boards declared as leaderboards/NAME.toml, or the records made so far."""


@command.command("list")
@json_option
def list_boards(as_json: bool) -> None:
    """The boards under leaderboards/ of this directory."""
    from xlbench.boards.board import FOLDER, board_paths, read_board
    from xlbench.boards.folder import was_run

    boards = [read_board(path) for path in board_paths()]
    rows = [
        {
            "name": board.name,
            "title": board.board.title,
            "suite": board.board.suite,
            "budget": board.board.budget,
            "runs": sum(len(entry.seeds or board.board.seeds) for entry in board.board.run),
            "encoders": len(board.board.encoder),
            "published": len(board.board.published),
            "run": was_run(board),
        }
        for board in boards
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['name']:20} {row['title']}{'' if row['run'] else '  (not run yet)'}")
    if not rows:
        click.echo(f"There is no board in '{FOLDER}'.")


@command.command("show")
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@click.option("--suite", help="Only records of this suite.")
@click.option("--budget", help="Of students, only those trained with this budget.")
@json_option
@click.pass_context
def show(context: click.Context, directory: Path | None, suite: str | None, budget: str | None, as_json: bool) -> None:
    """A table of the store's records, or of those that lie as JSON files in DIRECTORY."""
    from xlbench.errors import look_up
    from xlbench.records.record import records, records_in
    from xlbench.records.rows import rows_of
    from xlbench.report.figures import figures
    from xlbench.report.markdown import markdown

    registry = registry_of(context)
    if suite is not None:
        look_up("suite", suite, registry.suites)
    if budget is not None:
        look_up("budget", budget.removesuffix("*"), registry.budgets)
    found = [
        record
        for record in (records_in(directory, suite) if directory else records(settings_of(context).home, suite))
        if budget is None or record.experiment is None or record.experiment.budget.name == budget
    ]
    if as_json:
        print_json([record.model_dump(mode="json", by_alias=True) for record in found])
        return
    if not found:
        raise XlbenchError("There are no records yet.", "Run `xlbench run` first.")
    click.echo(markdown(figures(rows_of(found))))


@command.command("run")
@click.argument("name")
@click.option("--no-speed", is_flag=True, help="Do not measure the speed of new records.")
@click.option("--reproduce", is_flag=True, help="Make here what came with the board, too.")
@click.pass_context
def run(context: click.Context, name: str, no_speed: bool, reproduce: bool) -> None:
    """Train and score what the board NAME asks for and neither its folder nor the store has, then write its pages."""
    from xlbench.boards.board import find_board
    from xlbench.boards.run import run_board

    settings = settings_of(context)
    if no_speed:
        settings = settings.model_copy(update={"speed_rounds": 0})

    def say(note: str) -> None:
        if not settings.quiet:
            click.echo(note, err=True)

    _list_paths(run_board(find_board(name), registry_of(context), settings, say, reproduce=reproduce))


@command.command("render")
@click.argument("name")
def render(name: str) -> None:
    """Write the pages of the board NAME again, from its records and statistics alone."""
    from xlbench.boards.board import find_board
    from xlbench.boards.folder import write_pages

    _list_paths(write_pages(find_board(name)))


@command.command("check")
@click.argument("names", nargs=-1)
def check(names: tuple[str, ...]) -> None:
    """Compare the pages of boards, all if none is named, with what their records give."""
    from xlbench.boards.board import board_paths, find_board
    from xlbench.boards.folder import differences

    differing = []
    for name in names or [str(path) for path in board_paths()]:
        board = find_board(name)
        if lines := differences(board):
            differing.append(board.name)
            click.echo("\n".join(lines))
        else:
            click.echo(f"{board.name}: its pages are what its records give")
    if differing:
        raise XlbenchError(
            f"Not what the records give: {', '.join(differing)}.",
            f"Render again (`xlbench leaderboard render {differing[0]}`), or, if records changed, run it again.",
        )


def _list_paths(paths: list[Path]) -> None:
    for path in paths:
        click.echo(str(path))
