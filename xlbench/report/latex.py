r"""A board as a table of a paper: LaTeX with booktabs, the frontier in bold, intervals smaller behind the figures."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from xlbench.report.columns import table_of
from xlbench.report.formats import plain
from xlbench.report.notes import EXAMPLE_NOTE, reading, run_warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.report.columns import Cell, Column
    from xlbench.report.figures import Figures

LONG = 1000  # characters of a note
ESCAPES = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "`": r"\textasciigrave{}",
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "†": r"$\dagger$", "‡": r"$\ddagger$", "Δ": r"$\Delta$",
    "…": r"\dots{}", "→": r"$\rightarrow$",
})  # fmt: skip


def latex(figures: Figures, title: str, name: str) -> str:
    r"""Return a ``table*`` of all that the board's main table says, ready to be pasted into a paper.

    It needs the packages booktabs and graphicx, and fits itself to the width of the page.

    Args:
        figures: What it shows.
        title: Its caption.
        name: ``\ref{tab:NAME}`` refers to it.
    """
    table = table_of(figures)
    lines = [[_cell(*pair) for pair in zip(table.columns, cells, strict=True)] for cells in table.cells]
    measured = len(figures.rows)
    notes = [*reading(figures, table), *run_warnings(figures), *([EXAMPLE_NOTE] if figures.scores.example else [])]
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs} and \usepackage{graphicx}.",
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{escaped(title)}}}",
            rf"\label{{tab:{name}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{''.join('l' if column.words else 'r' for column in table.columns)}}}",
            r"\toprule",
            *_groups(table.columns),
            _line([escaped(column.heading) for column in table.columns]),
            r"\midrule",
            *map(_line, lines[:measured]),
            *([r"\midrule", *map(_line, lines[measured:])] if lines[measured:] else []),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\par\medskip",
            r"\begin{minipage}{\textwidth}\footnotesize",
            *(escaped(note, LONG) for note in notes),
            r"\end{minipage}",
            r"\end{table*}",
            "",
        ]
    )


def escaped(text: str, longest: int = 200) -> str:
    """Return plain text that LaTeX shows as it is."""
    return plain(text, longest).translate(ESCAPES)


def _cell(column: Column, cell: Cell) -> str:
    figure, rest = escaped(cell.figure), escaped(cell.rest.strip())
    if cell.bold:
        figure = rf"\textbf{{{figure}}}"
    if rest and not column.words:
        rest = rf"{{\scriptsize {rest}}}"
    return f"{figure} {rest}".strip()


def _line(cells: Sequence[str]) -> str:
    line = rf"{' & '.join(cells)} \\"
    # At the beginning of a line these would be arguments of the `\\` before it.
    return f"{{}}{line}" if line.startswith(("[", "*")) else line


def _groups(columns: Sequence[Column]) -> list[str]:
    """Return the headings that columns share, and the rules below them."""
    cells, rules, place = [], [], 1
    for group, members in groupby(columns, lambda column: column.group):
        width = len(list(members))
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}" if group else " & ".join([""] * width))
        if group:
            rules.append(rf"\cmidrule(lr){{{place}-{place + width - 1}}}")
        place += width
    return [_line(cells), " ".join(rules)]
