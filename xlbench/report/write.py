"""A board in any format: for the terminal, a page, a paper, a spreadsheet, another program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from xlbench.errors import XlbenchError
from xlbench.report.findings import findings
from xlbench.report.frame import records_of
from xlbench.report.latex import latex
from xlbench.report.markdown import markdown
from xlbench.report.page import page
from xlbench.store import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.report.figures import Figures
    from xlbench.report.page import BoardText

Format = Literal["markdown", "csv", "latex", "json", "parquet", "html"]
ENDINGS: dict[Format, str] = {
    "markdown": ".md", "csv": ".csv", "latex": ".tex", "json": ".json", "parquet": ".parquet", "html": ".html",
}  # fmt: skip
PAGES: tuple[Format, ...] = ("markdown", "html")
FRAMES: tuple[Format, ...] = ("csv", "json", "parquet")
"""Those that hold a data frame: a line per row, or per row, seed, task and subset."""


def text_of(figures: Figures, wanted: Format, board: BoardText, *, tidy: bool = False) -> str:
    """Return a board as text.

    Args:
        figures: What it shows.
        wanted: Any format but 'parquet'.
        board: Its name, its title and its texts.
        tidy: A line per row, seed, task and subset, instead of one per row.

    Raises:
        XlbenchError: The format is no text, or has no tidy form.
    """
    if tidy and wanted not in FRAMES:
        raise XlbenchError(f"There is no tidy {wanted}.", f"Give --format {', '.join(FRAMES)}, or leave --tidy out.")
    frame = figures.tidy if tidy else figures.board
    match wanted:
        case "markdown":
            return markdown(figures) + "\n"
        case "latex":
            return latex(figures, board.title, board.name)
        case "html":
            return page(board.title, board.text, figures, findings(board.findings, figures), name=board.name)
        case "csv":
            return frame.to_csv(index=False)
        case "json":
            # By the standard library: pandas writes 75.2048 as 75.204800000000006.
            return json.dumps(records_of(frame), indent=1, ensure_ascii=False) + "\n"
        case "parquet":
            raise XlbenchError("Parquet is no text.", "Give --output FILE.")


def write_as(path: Path, figures: Figures, wanted: Format, board: BoardText, *, tidy: bool = False) -> None:
    """Write a board to a file.

    Args:
        path: The file.
        figures: What it shows.
        wanted: Any format.
        board: Its name, its title and its texts.
        tidy: A line per row, seed, task and subset, instead of one per row.

    Raises:
        XlbenchError: The format has no tidy form, or the disk is full or read-only.
    """
    if wanted != "parquet":
        write_atomically(path, text_of(figures, wanted, board, tidy=tidy))
        return
    import pyarrow as pa

    from xlbench.scoring.item_files import write_table

    frame = figures.tidy if tidy else figures.board
    write_table(path, pa.Table.from_pandas(frame, preserve_index=False))
