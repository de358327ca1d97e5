"""A board as a Python object: its rows as frames, its table, its page, and running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import Field

from xlbench.boards.board import own_board
from xlbench.boards.folder import page_texts, published_rows, read_folder, was_run, write_pages
from xlbench.disk import answered
from xlbench.fingerprint import Frozen, Json
from xlbench.validation import validated

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from xlbench.boards.board import BoardFile
    from xlbench.boards.folder import Folder
    from xlbench.boards.planned import BoardPlan
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Record
    from xlbench.settings import Settings


class _Running(Frozen):
    """Arguments of methods, checked."""

    reproduce: bool = False
    engine: str | None = None
    engine_options: dict[str, Json] = Field(default_factory=dict)
    say: Callable[[str], None]


@dataclass(frozen=True)
class Leaderboard:
    """A board that is declared as a TOML file, and what its folder holds.

    Attributes:
        file: The TOML file and what it declares.
    """

    file: BoardFile
    registry: Registry = field(repr=False)
    settings: Settings = field(repr=False)

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return self.file.name

    @property
    def was_run(self) -> bool:
        """Whether it has been run, whatever has changed since."""
        return was_run(self.file)

    @cached_property
    def folder(self) -> Folder:
        """Records, rows, statistics and failures.

        Raises:
            XlbenchError: The board has not been run, or a file of it cannot be read.
        """
        return read_folder(self.file)

    @property
    def records(self) -> tuple[Record, ...]:
        """The records, in the order of their files' names."""
        return self.folder.records

    def run(
        self,
        *,
        reproduce: bool = False,
        engine: str | None = None,
        engine_config: str | Path | None = None,
        engine_options: Mapping[str, Json] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> Leaderboard:
        """Train and score the rows that are missing in the board's folder and in the store, then write its pages.

        A board that ships with xlbench is copied into ./leaderboards first.

        Args:
            reproduce: Make here what came with the board, too.
            engine: Where stages, scorings and exports run: 'local', 'ray', 'slurm', or one of a plugin.
            engine_config: A TOML file of the engine's options.
            engine_options: The engine's options, over the file's.
            say: Called with what is trained, what comes from the store or with the board, and what sharing saved.

        Returns:
            The board as it is then.

        Raises:
            XlbenchError: Anything that the user can fix.
        """
        from xlbench.boards.run import run_board
        from xlbench.runs.prefill import choose_engine

        given = {"reproduce": reproduce, "engine": engine, "engine_options": engine_options or {}, "say": say}
        asked = validated(_Running, given, "argument")
        with answered():
            chosen = choose_engine(asked.engine, engine_config, asked.engine_options, self.registry)
            board = own_board(self.file, say)
            run_board(board, self.registry, self.settings, say, reproduce=asked.reproduce, engine=chosen)
        return Leaderboard(board, self.registry, self.settings)

    def plan(
        self,
        *,
        workers: Sequence[int] = (1, 2, 4, 8),
        reproduce: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> BoardPlan:
        """Return what running the board takes: its tasks, hours on this machine, disk, the schedule on several workers.

        Nothing is trained or scored, but this machine is measured for some seconds with the board's assistant.

        Args:
            workers: Numbers of workers to schedule for.
            reproduce: Plan for a run that also makes what came with the board.
            say: Told what became of the pairs of the corpora.

        Raises:
            XlbenchError: Anything that would keep the board from running, as far as it can be told.
        """
        from xlbench.boards.plan import plan_board, read_workers

        asked = validated(_Running, {"reproduce": reproduce, "say": say}, "argument")
        counts = read_workers(workers)
        with answered():
            return plan_board(self.file, self.registry, self.settings, say, workers=counts, reproduce=asked.reproduce)

    def render(self, *, say: Callable[[str], None] = lambda _: None) -> list[Path]:
        """Write the board's pages again, from its records and statistics alone, and return their paths.

        A board that ships with xlbench is copied into ./leaderboards first.

        Args:
            say: Called with a line that names the copy.

        Raises:
            XlbenchError: The board has not been run as it is, or a page cannot be written.
        """
        validated(_Running, {"say": say}, "argument")
        with answered():
            return write_pages(own_board(self.file, say))

    def to_dataframe(self) -> pd.DataFrame:
        """Return the scores, tidy: one row per encoder, seed, task and subset; scores × 100."""
        from xlbench.report.frame import tidy_frame

        return tidy_frame(self.folder.rows, self.folder.statistics)

    def table(self) -> pd.DataFrame:
        """Return one row per encoder: ranks, families, drop, parameters, bytes, speed and cost."""
        from xlbench.report.frame import board_frame

        folder = self.folder
        return board_frame(folder.rows, folder.statistics, published_rows(self.file, folder), folder.failures)

    def markdown(self) -> str:
        """Return the board's markdown page."""
        return page_texts(self.file, self.folder)[f"{self.name}.md"]

    def html(self) -> str:
        """Return the board's HTML page, which needs no other file."""
        return page_texts(self.file, self.folder)[f"{self.name}.html"]

    def __repr__(self) -> str:
        """Return the board's name and title."""
        return f"<xlbench.Leaderboard {self.name}: {self.file.board.title}>"

    def _repr_html_(self) -> str:
        """Return the table with its legend, for a notebook."""
        from xlbench.report.figures import figures
        from xlbench.report.markdown import markdown
        from xlbench.report.page import html_of

        folder = self.folder
        published = published_rows(self.file, folder)
        return html_of(markdown(figures(folder.rows, folder.statistics, published, folder.failures)))
