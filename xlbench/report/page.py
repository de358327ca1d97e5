"""The files of a board: its markdown, its plots, and one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from xlbench.fingerprint import Frozen
from xlbench.report.columns import table_of
from xlbench.report.curves import training_details
from xlbench.report.figures import figures
from xlbench.report.findings import FindingEntry, findings
from xlbench.report.formats import escaped, number, plain
from xlbench.report.heat import STEPS, language_map, subset_map
from xlbench.report.latex import latex
from xlbench.report.markdown import markdown
from xlbench.report.notes import EXAMPLE_NOTE, basis, reading, run_warnings
from xlbench.report.panels import COST_NAMES, panels_of
from xlbench.report.plot_style import DARK, MARKS
from xlbench.report.plot_svg import dark_style
from xlbench.report.plots import drawing, picture_of
from xlbench.report.points import ROLE_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment

    from xlbench.comparison.statistics import Statistics
    from xlbench.records.published import PublishedRow
    from xlbench.records.record import Failure
    from xlbench.records.rows import Row
    from xlbench.report.columns import Cell, Table
    from xlbench.report.figures import Figures
    from xlbench.report.frame import Value
    from xlbench.report.panels import Cost


LONGEST_TITLE = 200
BOARD_LINK = re.compile(r"(?:\./)?(?P<name>[\w-]+)\.md(?P<place>#.*|)")
"""A file in the folder of boards: each board writes its page beside its markdown."""


@dataclass(frozen=True)
class PageRow:
    """A row of the page.

    Attributes:
        key: Ties it to its points in the plots.
        name: What the table calls it.
        role: Its role, or 'failed'.
        role_name: The role in words.
        mark: A character like the mark of its points.
        about: What stands below the name.
        cells: Of the columns that the page shows.
        megabytes: What the filter by size compares, as the table shows it; empty where unknown.
        speed: The same for the filter by speed, a multiple of the assistant's.
    """

    key: str
    name: str
    role: str
    role_name: str
    mark: str
    about: str
    cells: tuple[Cell, ...]
    megabytes: str
    speed: str


def page(
    title: str,
    text: str,
    table: Figures,
    findings: Sequence[str] = (),
    drawings: Mapping[str, str] | None = None,
    name: str = "board",
) -> str:
    """Return the page of a board.

    Args:
        title: Its heading.
        text: Markdown paragraphs on top; HTML in it is shown, not obeyed, and pictures are not loaded.
        table: What it shows.
        findings: What was found, in plain sentences.
        drawings: Plots as SVG elements, by their headings.
        name: The board's name, which the label of its LaTeX table holds.
    """
    style = asset("board.css") + dark_style(DARK)
    script = asset("board.js")
    shown = table_of(table)
    places = [place for place, column in enumerate(shown.columns) if not column.beside]
    columns = [shown.columns[place] for place in places]
    rows = _rows(shown, places)
    heading = plain(title, LONGEST_TITLE)
    return (
        environment()
        .get_template("board.html.j2")
        .render(
            title=heading,
            text=_html(text),
            example=EXAMPLE_NOTE if table.scores.example else "",
            facts=_facts(table),
            style=style,
            script=script,
            style_digest=_digest(style),
            script_digest=_digest(script),
            columns=columns,
            groups=_grouped([column.group for column in columns]),
            rows=rows,
            row_of={row.key: row for row in rows},
            limits=_limits(rows),
            copies=_copies(table, heading, name),
            role_names={row.role: row.role_name for row in rows},
            plots=drawings or {},
            intervals=table.statistics is not None,
            languages=[language_map(table, family) for family in table.families],
            subsets=[subset_map(table, task) for task in table.scores.tasks],
            steps=STEPS,
            base=plain(table.base.name) if table.base else "",
            training_details=training_details(table),
            tasks=table.scores.tasks,
            corpora=_corpora(table),
            reading=reading(table, shown),
            basis=basis(table),
            run_warnings=run_warnings(table),
            findings=findings,
        )
    )


def _rows(table: Table, places: Sequence[int]) -> list[PageRow]:
    """Return the rows with the cells of some columns; what the others say stands below the name."""
    found = []
    for place, (line, cells) in enumerate(zip(table.lines, table.cells, strict=True)):
        role = str(line["role"])
        name = "all runs failed" if role == "failed" else ROLE_NAMES[role]
        beside = {column.heading: cell for column, cell in zip(table.columns, cells, strict=True) if column.beside}
        about = [name, *([plain(beside["Method"].figure)] if "Method" in beside else [])]
        if "Seeds" in beside and (seeds := beside["Seeds"].figure):
            about.append(f"{seeds} seed{'' if seeds == '1' else 's'}{beside['Seeds'].rest}")
        chosen = tuple(cells[place] for place in places)
        megabytes, speed = _shown(line["megabytes"], 0), _shown(line["throughput_ratio"], 2)
        mark = MARKS[role][1] if role in MARKS else ""
        found.append(
            PageRow(
                f"r{place}", plain(str(line["name"])), role, name, mark, " · ".join(filter(None, about)), chosen,
                megabytes, speed,
            )
        )  # fmt: skip
    return found


def _shown(value: Value, digits: int) -> str:
    """Return a figure as the table rounds it, so that a filter by what one reads keeps the row that one reads."""
    return "" if value is None else f"{float(value):.{digits}f}"


def _limits(rows: Sequence[PageRow]) -> dict[str, tuple[str, ...]]:
    """Return the least and the most of what rows are filtered by; empty for a figure that no row has."""
    known = {
        "megabytes": [row.megabytes for row in rows if row.megabytes],
        "speed": [row.speed for row in rows if row.speed],
    }
    return {name: (min(found, key=float), max(found, key=float)) if found else () for name, found in known.items()}


def _copies(table: Figures, title: str, name: str) -> dict[str, str]:
    """Return the table in the formats that a reader may copy, by their names."""
    return {
        "LaTeX": latex(table, title, name),
        "CSV": table.board.to_csv(index=False),
        "Markdown": markdown(table) + "\n",
    }


def _html(text: str) -> str:
    """Return markdown as HTML that is safe to show: tags in it are escaped, links other than to pages are text.

    A link to the markdown of a board beside this one leads to that board's page instead.
    """
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).disable("image")
    found = reader.parse(text)
    for token in (child for block in found for child in block.children or ()):
        if token.type == "link_open" and (board := BOARD_LINK.fullmatch(str(token.attrs["href"]))):
            token.attrs["href"] = f"{board['name']}.html{board['place']}"
    return str(reader.renderer.render(found, reader.options, {}))


def html_of(text: str) -> str:
    """Return markdown with tables as HTML that is safe to show, for a notebook."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text))


def _digest(text: str) -> str:
    """Return the hash by which a content security policy allows a script or style (CSP level 2, 'hash-source')."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _facts(table: Figures) -> list[tuple[str, str]]:
    """Return the size of the comparison, as figures with their words."""
    tasks = table.scores.tasks
    facts = [
        (str(len(table.rows)), "encoders measured"),
        (str(len(tasks)), "tasks" if len(tasks) > 1 else "task"),
        (str(sum(len(task.subsets) for task in tasks.values())), "subsets"),
    ]
    if table.statistics is not None:
        facts += [(f"{table.statistics.items:,}", "test items"), (f"{table.statistics.resamples:,}", "resamples")]
    seeds = {run.experiment.seed for row in table.rows for run in row.runs if run.experiment}
    if seeds:
        facts.append((str(len(seeds)), "seeds" if len(seeds) > 1 else "seed"))
    return facts


def _grouped(groups: list[str]) -> list[tuple[str, int]]:
    """Return neighbouring headings with how many columns each spans."""
    spans: list[tuple[str, int]] = []
    for group in groups:
        if spans and spans[-1][0] == group:
            spans[-1] = (group, spans[-1][1] + 1)
        else:
            spans.append((group, 1))
    return spans


def _corpora(table: Figures) -> list[tuple[str, ...]]:
    """Return what became of the training pairs, corpus by corpus, each once."""
    facts = [run.corpus for row in table.rows for run in row.runs if run.corpus]
    counts = dict.fromkeys(
        (corpus.reference, corpus.read, corpus.unusable, corpus.overlap, corpus.duplicates, corpus.surplus,
         corpus.withheld, corpus.dev, sum(corpus.kept.values()))
        for fact in facts for corpus in fact.corpora
    )  # fmt: skip
    return [(plain(name), *(f"{number:,}" for number in numbers)) for name, *numbers in counts]


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
    found = figures(rows, statistics, published, failures)
    sentences = findings(board.findings, found)
    drawings = {
        cost: drawing(cost, _heading(cost), panels) for cost in COST_NAMES if (panels := panels_of(found, cost))
    }
    pictures = [f"![{_heading(cost)}]({board.name}-{cost}.svg)" for cost in drawings]
    parts = [
        f"<!-- Written by `xlbench leaderboard render {board.name}`: changes are lost. -->",
        f"# {escaped(board.title, LONGEST_TITLE)}",
        board.text.strip(),
        f"The same with more detail, sortable: [{board.name}.html]({board.name}.html).",
        *pictures,
        *(["## Findings", "\n".join(f"- {escaped(line, LONG_LINE)}" for line in sentences)] if sentences else []),
        markdown(found),
    ]
    return {
        f"{board.name}.md": "\n\n".join(part for part in parts if part) + "\n",
        f"{board.name}.html": page(
            board.title,
            board.text,
            found,
            sentences,
            {_heading(cost): svg for cost, svg in drawings.items()},
            board.name,
        ),
        **{f"{board.name}-{cost}.svg": picture_of(svg) for cost, svg in drawings.items()},
    }


def _heading(cost: Cost) -> str:
    return f"Quality against {COST_NAMES[cost]}"


@cache
def environment() -> Environment:
    """Return the environment of the templates that ship with xlbench."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("xlbench.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["number"] = number
    return found


def asset(name: str) -> str:
    """Return the text of a template as it is: a style sheet or a script."""
    from importlib.resources import files

    return (files("xlbench.report") / "templates" / name).read_text("utf-8")
