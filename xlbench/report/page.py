"""A board's files: its markdown, its pictures, and one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlbench.fingerprint import Frozen
from xlbench.report.columns import table_of
from xlbench.report.curves import training_details
from xlbench.report.figures import figures
from xlbench.report.findings import FindingEntry, findings
from xlbench.report.formats import escaped, plain
from xlbench.report.heat import STEPS, language_map, subset_map
from xlbench.report.markdown import markdown
from xlbench.report.notes import EXAMPLE_NOTE, basis, reading, run_warnings
from xlbench.report.svg import COST_NAMES, ROLE_NAMES, SHAPES, panel, plot, roles_in
from xlbench.report.templating import asset, environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.comparison.statistics import Statistics
    from xlbench.records.published import PublishedRow
    from xlbench.records.record import Failure
    from xlbench.records.rows import Row
    from xlbench.report.columns import Cell, Table
    from xlbench.report.figures import Figures
    from xlbench.report.svg import Panel


LONGEST_TITLE = 200


@dataclass(frozen=True)
class PlotGroup:
    """The plots against one cost, a panel per family."""

    name: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class PageRow:
    """A row of the page; ``key`` ties it to its points in the plots, ``about`` stands below its name."""

    key: str
    name: str
    role: str
    role_name: str
    shape: str
    about: str
    cells: tuple[Cell, ...]


def page(title: str, text: str, table: Figures, findings: Sequence[str] = ()) -> str:
    """Return the page of a board.

    Args:
        title: Its heading.
        text: Markdown paragraphs on top; HTML in it is shown, not obeyed, and pictures are not loaded.
        table: What it shows.
        findings: What was found, in plain sentences.
    """
    style = asset("plot.css") + asset("board.css")
    script = asset("board.js")
    shown = table_of(table)
    places = [place for place, column in enumerate(shown.columns) if not column.beside]
    columns = [shown.columns[place] for place in places]
    rows = _rows(shown, places)
    groups = _plots(table)
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
            role_names={row.role: row.role_name for row in rows},
            plots=groups,
            roles=[
                (role, ROLE_NAMES[role], SHAPES[role])
                for role in roles_in([part for group in groups for part in group.panels])
            ],
            curved=any(part.curves for group in groups for part in group.panels),
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
    for number, (line, cells) in enumerate(zip(table.lines, table.cells, strict=True)):
        role = str(line["role"])
        name = "all runs failed" if role == "failed" else ROLE_NAMES[role]
        beside = {column.heading: cell for column, cell in zip(table.columns, cells, strict=True) if column.beside}
        about = [name, *([plain(beside["Method"].figure)] if "Method" in beside else [])]
        if "Seeds" in beside and (seeds := beside["Seeds"].figure):
            about.append(f"{seeds} seed{'' if seeds == '1' else 's'}{beside['Seeds'].rest}")
        chosen = tuple(cells[place] for place in places)
        shape = SHAPES.get(role, "")
        found.append(
            PageRow(f"r{number}", plain(str(line["name"])), role, name, shape, " · ".join(filter(None, about)), chosen)
        )
    return found


def _html(text: str) -> str:
    """Return markdown as HTML that is safe to show: tags in it are escaped, links other than to pages are text."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"html": False}).disable("image").render(text))


def html_of(text: str) -> str:
    """Return markdown with tables as HTML that is safe to show, for a notebook."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text))


def _digest(text: str) -> str:
    """Return what a content security policy knows a script or style by (CSP level 2, 'hash-source')."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _plots(table: Figures) -> list[PlotGroup]:
    groups = []
    for cost, (name, _) in COST_NAMES.items():
        panels = tuple(found for family in table.families if (found := panel(table, family, cost)) is not None)
        if panels:
            groups.append(PlotGroup(f"Quality against {name}", panels))
    return groups


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
    said = findings(board.findings, found)
    files = {f"{board.name}-{cost}.svg": picture for cost in COST_NAMES if (picture := plot(found, cost)) is not None}
    pictures = [
        f"![Quality against {name}]({board.name}-{cost}.svg)"
        for cost, (name, _) in COST_NAMES.items()
        if f"{board.name}-{cost}.svg" in files
    ]
    parts = [
        f"<!-- Written by `xlbench leaderboard render {board.name}`: changes are lost. -->",
        f"# {escaped(board.title, LONGEST_TITLE)}",
        board.text.strip(),
        f"The same with more detail, sortable: [{board.name}.html]({board.name}.html).",
        *pictures,
        *(["## Findings", "\n".join(f"- {escaped(line, LONG_LINE)}" for line in said)] if said else []),
        markdown(found),
    ]
    return {
        f"{board.name}.md": "\n\n".join(part for part in parts if part) + "\n",
        f"{board.name}.html": page(board.title, board.text, found, said),
        **files,
    }
