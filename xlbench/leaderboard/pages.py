"""The files of a board, as pure functions of its records and statistics: the same bytes on any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.fingerprint import Frozen
from xlbench.leaderboard.board import FindingEntry
from xlbench.leaderboard.figures import figures
from xlbench.leaderboard.findings import findings
from xlbench.leaderboard.formats import escaped
from xlbench.leaderboard.page import LONGEST_TITLE, page
from xlbench.leaderboard.svg import COST_NAMES, plot
from xlbench.leaderboard.table import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.comparison.statistics import Statistics
    from xlbench.leaderboard.board import Failure, PublishedRow
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
    files = {f"{board.name}-{cost}.svg": picture for cost in COST_NAMES if (picture := plot(found, cost)) is not None}
    pictures = [
        f"![Quality against {name}]({board.name}-{cost}.svg)"
        for cost, (name, _) in COST_NAMES.items()
        if f"{board.name}-{cost}.svg" in files
    ]
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
        f"{board.name}.html": page(board.title, board.text, found, said),
        **files,
    }
