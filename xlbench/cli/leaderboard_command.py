"""``xlbench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xlbench.cli.app import PATH, echo, registry_of, say_of, settings_of
from xlbench.cli.options import engine_options as add_engine_options
from xlbench.cli.options import json_option, parse_assignments, print_json
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xlbench.records.record import Record
    from xlbench.report.write import Format


@click.group("leaderboard")
def command() -> None:
    """Ranked tables: boards declared as leaderboards/NAME.toml, or all records in the store."""


@command.command("list")
@json_option
def list_boards(as_json: bool) -> None:
    """List the boards under leaderboards/ of this directory, and those that ship with xlbench."""
    from xlbench.boards.board import FOLDER, board_names, find_board
    from xlbench.boards.folder import was_run

    boards = [find_board(name) for name in board_names()]
    rows = [
        {
            "name": board.name,
            "title": board.board.title,
            "suite": board.board.suite,
            "budget": board.board.budget,
            "runs": sum(len(entry.seeds or board.board.seeds) for entry in board.board.run),
            "encoders": len(board.board.encoder),
            "published": len(board.board.published) + len(board.board.mteb),
            "run": was_run(board),
            "shipped": board.shipped,
        }
        for board in boards
    ]
    if as_json:
        print_json(rows)
        return
    headings = {
        False: f"In '{FOLDER}':",
        True: f"Shipped with xlbench, and copied into '{FOLDER}' when run or rendered:",
    }
    for shipped, heading in headings.items():
        echo(heading)
        of_these = [row for row in rows if row["shipped"] is shipped]
        for row in of_these:
            echo(f"  {row['name']:20} {row['title']}{'' if row['run'] else '  (not run yet)'}")
        if not of_these:
            echo("  none")


FORMATS = ("markdown", "csv", "latex", "json", "parquet", "html")


def format_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--format``, ``--output`` and ``--tidy``."""
    tidy = "Of csv, json and parquet: a line per encoder, seed, task and subset."
    function = click.option("--tidy", is_flag=True, help=tidy)(function)
    function = click.option("--output", type=PATH, help="Write to this file.")(function)
    return click.option("--format", "wanted", type=click.Choice(FORMATS), help="Format of the output.")(function)


@command.command("show")
@click.argument("place", metavar="[NAME|DIRECTORY]", required=False)
@click.option("--suite", help="Only records of this suite.")
@click.option("--budget", help="Only students that were trained with this budget.")
@format_options
@json_option
@click.pass_context
def show(
    context: click.Context,
    place: str | None,
    suite: str | None,
    budget: str | None,
    wanted: Format | None,
    output: str | None,
    tidy: bool,
    as_json: bool,
) -> None:
    """A table of the board NAME, of the records in DIRECTORY, or of the store's.

    A board has ranks and intervals, records alone have none. Of these, one that is damaged is named and left out; a
    board with one is refused, since its ranks rest on all of them. It is markdown unless --format says otherwise;
    --json prints the records themselves.
    """
    from xlbench.boards.board import find_board
    from xlbench.boards.folder import read_board_figures, read_folder
    from xlbench.records.rows import rows_of
    from xlbench.report.figures import figures
    from xlbench.report.page import BoardText
    from xlbench.report.write import text_of, write_as
    from xlbench.settings import new_path

    board = None if place is None or Path(place).is_dir() else find_board(place)
    file = new_path(output, "output", over=True) if output is not None else None
    if board is not None and (suite or budget):
        raise XlbenchError("--suite and --budget choose among records; a board has its own.", "Leave them out.")
    if as_json:
        found = read_folder(board).records if board else _records(context, place, suite, budget)
        print_json([record.model_dump(mode="json", by_alias=True) for record in found])
        return
    if board is not None:
        shown, said = read_board_figures(board)
    else:
        shown = figures(rows_of(_records(context, place, suite, budget)))
        said = BoardText(name="records", title=f"Records in {place or 'the store'}")
    if file is not None:
        write_as(file, shown, wanted or "markdown", said, tidy=tidy)
    else:
        echo(text_of(shown, wanted or "markdown", said, tidy=tidy), nl=False)


@command.command("run")
@click.argument("name")
@click.option("--no-speed", is_flag=True, help="Do not measure speed; a later run without this does.")
@click.option("--reproduce", is_flag=True, help="Train and score again what ships with the board.")
@add_engine_options
@click.pass_context
def run(
    context: click.Context,
    name: str,
    no_speed: bool,
    reproduce: bool,
    engine: str | None,
    engine_config: str | None,
    engine_options: tuple[str, ...],
) -> None:
    """Train and score the missing rows of the board NAME, then write its pages.

    A board that ships with xlbench is copied into leaderboards/ of this directory first.
    """
    from xlbench.boards.board import find_board, own_board
    from xlbench.boards.run import run_board
    from xlbench.plugins.guard import output_aside
    from xlbench.runs.prefill import choose_engine

    settings = settings_of(context)
    given = parse_assignments(engine_options, "-e", "cpus=4")
    chosen = choose_engine(engine, engine_config, given, registry_of(context))
    if no_speed:
        settings = settings.model_copy(update={"speed_rounds": 0})

    say = say_of(context)
    board = own_board(find_board(name), say)
    registry = registry_of(context)
    with output_aside():
        paths = run_board(board, registry, settings, say, reproduce=reproduce, engine=chosen)
    _list_paths(paths)


@command.command("plan")
@click.argument("name")
@click.option("--workers", default="1,2,4,8", show_default=True, help="Numbers of workers to schedule for.")
@click.option("--no-speed", is_flag=True, help="As of `leaderboard run`.")
@click.option("--reproduce", is_flag=True, help="Plan for all that ships with the board, too.")
@json_option
@click.pass_context
def plan(context: click.Context, name: str, workers: str, no_speed: bool, reproduce: bool, as_json: bool) -> None:
    """What running the board NAME takes: its tasks, hours on this machine, disk, and the schedule on several workers.

    Nothing is trained or scored, but this machine is measured for up to a minute with the board's assistant. Afterwards
    the same command compares its estimates with what the tasks took.
    """
    from xlbench.boards.board import find_board
    from xlbench.boards.plan import plan_board, read_workers
    from xlbench.plugins.guard import output_aside

    settings = settings_of(context)
    if no_speed:
        settings = settings.model_copy(update={"speed_rounds": 0})
    counts = read_workers(workers.split(","))
    board = find_board(name)
    with output_aside():
        planned = plan_board(
            board, registry_of(context), settings, say_of(context), workers=counts, reproduce=reproduce
        )
    if as_json:
        print_json(planned.model_dump(mode="json"))
    else:
        echo(str(planned))


@command.command("render")
@click.argument("name")
@format_options
def render(name: str, wanted: Format | None, output: str | None, tidy: bool) -> None:
    """Write the pages of the board NAME again, from its records and statistics alone.

    With --format it writes one file of that format: beside the pages, or where --output says. A board that ships with
    xlbench is copied into leaderboards/ of this directory first, unless --output says where.
    """
    from xlbench.boards.board import find_board, own_board
    from xlbench.boards.folder import read_board_figures, write_pages
    from xlbench.report.write import ENDINGS, PAGES, write_as
    from xlbench.settings import new_path

    board = find_board(name)
    if wanted is None and (output or tidy):
        raise XlbenchError("--output and --tidy are of one format.", "Name it with --format.")
    file = new_path(output, "output", over=True) if output is not None else None
    if file is None:
        board = own_board(board, lambda note: echo(note, err=True))
    if wanted is None or (wanted in PAGES and file is None and not tidy):
        _list_paths(write_pages(board, ENDINGS[wanted] if wanted else ""))
        return
    shown, said = read_board_figures(board)
    path = file or board.path.with_suffix(ENDINGS[wanted])
    write_as(path, shown, wanted, said, tidy=tidy)
    _list_paths([path])


@command.command("check")
@click.argument("names", nargs=-1)
def check(names: tuple[str, ...]) -> None:
    """Check that the pages of boards (all if none is named) match their records."""
    from xlbench.boards.board import board_paths, find_board
    from xlbench.boards.folder import differences

    differing = []
    for name in names or [str(path) for path in board_paths()]:
        board = find_board(name)
        if board.shipped:
            raise XlbenchError(
                f"Board '{board.name}' ships with xlbench without pages.",
                f"`xlbench leaderboard render {board.name}` writes them here.",
            )
        if lines := differences(board):
            differing.append(board.name)
            echo("\n".join(lines))
        else:
            echo(f"{board.name}: its pages are what its records give")
    if differing:
        raise XlbenchError(
            f"Not what the records give: {', '.join(differing)}.",
            f"Render again (`xlbench leaderboard render {differing[0]}`), or, if records changed, run it again.",
        )


def _list_paths(paths: list[Path]) -> None:
    for path in paths:
        echo(str(path))


def _records(context: click.Context, place: str | None, suite: str | None, budget: str | None) -> list[Record]:
    """Return the records of a directory or of the store, of one suite and budget if given."""
    from xlbench.boards.folder import RECORDS
    from xlbench.errors import look_up
    from xlbench.records.record import records_in
    from xlbench.records.stored import stored_records
    from xlbench.scoring.suites import suite_name

    registry = registry_of(context)
    if suite is not None:
        suite = suite_name(suite, registry.suites)
    if budget is not None:
        look_up("budget", budget.removesuffix("*"), registry.budgets)
    if place is None:
        found = [it.record for it in stored_records(settings_of(context))]
    else:  # of a board's directory, the records that it rests on
        below = Path(place, RECORDS)
        found = records_in(below if below.is_dir() else Path(place), quiet=settings_of(context).quiet)
    return [
        record
        for record in found
        if suite in {None, record.scores.suite}
        and (budget is None or record.experiment is None or record.experiment.budget.name == budget)
    ]
