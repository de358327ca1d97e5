"""The files of a board, as pure functions of its records and statistics: the same bytes on any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.fingerprint import Frozen
from xlbench.leaderboard.board import FindingEntry
from xlbench.leaderboard.figures import figures
from xlbench.leaderboard.findings import findings
from xlbench.leaderboard.formats import escaped
from xlbench.leaderboard.page import LONGEST_TITLE, page
from xlbench.leaderboard.panels import COST_NAMES, panels_of
from xlbench.leaderboard.plots import drawing, picture_of
from xlbench.leaderboard.table import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.comparison.statistics import Statistics
    from xlbench.leaderboard.board import Failure, PublishedRow
    from xlbench.leaderboard.panels import Cost
    from xlbench.leaderboard.rows import Row


LONG_LINE = 1000


class BoardText(Frozen):
    """What a board says of itself.

    Attributes:
        name: How its files' names begin.
        title: The pages' heading.
        text: Markdown paragraphs on top.
        findings: Which rows are compared in words.
    """

    name: str
    title: str
    text: str = ""
    findings: tuple[FindingEntry, ...] = ()


def render(
    board: BoardText,
    rows: Sequence[Row],
    statistics: Statistics | None,
    published: Sequence[PublishedRow] = (),
    failures: Sequence[Failure] = (),
) -> dict[str, str]:
    """Return the files of a board: ``NAME.md``, ``NAME.html``, and a picture for each cost that was measured.

    Raises:
        XlbenchError: There are no rows, or they do not belong into one table.
    """
    table = markdown(rows, statistics, published=published, failures=failures)
    found = figures(rows, statistics, published, failures)
    said = findings(board.findings, found)
    drawings = {
        cost: drawing(cost, _heading(cost), panels) for cost in COST_NAMES if (panels := panels_of(found, cost))
    }
    pictures = [f"![{_heading(cost)}]({board.name}-{cost}.svg)" for cost in drawings]
    parts = [
        f"<!-- Made by `xlbench leaderboard render {board.name}`: changes are lost. -->",
        f"# {escaped(board.title, LONGEST_TITLE)}",
        board.text.strip(),
        f"The same with more detail, sortable: [{board.name}.html]({board.name}.html).",
        *pictures,
        *(["## Findings", "\n".join(f"- {escaped(line, LONG_LINE)}" for line in said)] if said else []),
        table,
    ]
    return {
        f"{board.name}.md": "\n\n".join(part for part in parts if part) + "\n",
        f"{board.name}.html": page(
            board.title, board.text, found, said, {_heading(cost): svg for cost, svg in drawings.items()}
        ),
        **{f"{board.name}-{cost}.svg": picture_of(svg) for cost, svg in drawings.items()},
    }


def _heading(cost: Cost) -> str:
    return f"Quality against {COST_NAMES[cost]}"
