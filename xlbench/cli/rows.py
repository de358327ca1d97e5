"""Printing rows: some of them to be read, or all as TSV or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from xlbench.cli.app import echo
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xlbench.retrieval.rows import Page

MOST = 20  # rows that are printed to be read
LONGEST = 160  # characters of a sentence


class Printable(Protocol):
    """A result of rows, with a sentence that sums it up."""

    def __len__(self) -> int: ...
    def __str__(self) -> str: ...
    def page(self, start: int, stop: int) -> Page:
        """Return some rows, by column."""
        ...


P = TypeVar("P", bound=Printable)


def print_rows(
    rows: P,
    lines: Callable[[P, int], Iterator[str]],
    output: str | None,
    say: Callable[[str], None],
    *,
    tsv: bool,
    as_json: bool,
) -> None:
    """Print rows.

    Args:
        rows: The result.
        lines: Yields the lines of its first rows.
        output: The file that all rows were written to; then only the sum is printed, unless a format is asked for.
        say: Prints the sum where standard output is for a program.
        tsv: Print all rows as TSV.
        as_json: Print all rows as JSON.
    """
    from xlbench.retrieval.rows import json_lines, tsv_lines

    if tsv or as_json:
        for line in (tsv_lines if tsv else json_lines)(rows):
            echo(line)
        say(str(rows))
        return
    if output is None:
        for line in lines(rows, MOST):
            echo(line)
        more = len(rows) - MOST
        echo(f"... and {more:,} more: --output FILE, --tsv or --json gives all" if more > 0 else "")
    echo(f"{output}: {rows}" if output else str(rows))


def refuse_both(tsv: bool, as_json: bool) -> None:
    """Refuse two formats at once.

    Raises:
        XlbenchError: Both are asked for.
    """
    if tsv and as_json:
        raise XlbenchError("--tsv and --json are two formats.", "Give one of them.")


def shorten(text: str) -> str:
    """Return a sentence in one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
