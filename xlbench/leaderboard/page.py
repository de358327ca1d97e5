"""A board as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from xlbench.leaderboard.cells import main_table
from xlbench.leaderboard.curves import makings
from xlbench.leaderboard.formats import plain
from xlbench.leaderboard.heat import STEPS, language_map, subset_map
from xlbench.leaderboard.looks import DARK
from xlbench.leaderboard.notes import EXAMPLE_NOTE, basis, mishaps, reading
from xlbench.leaderboard.plot_svg import dark_style
from xlbench.leaderboard.points import ROLE_NAMES
from xlbench.leaderboard.templating import environment, source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xlbench.leaderboard.figures import Figures

LONGEST_TITLE = 200


def page(
    title: str, text: str, table: Figures, findings: Sequence[str] = (), drawings: Mapping[str, str] | None = None
) -> str:
    """Return the page of a board.

    Args:
        title: Its heading.
        text: Markdown paragraphs on top; HTML in it is shown, not obeyed, and pictures are not loaded.
        table: What it shows.
        findings: What was found, in plain sentences.
        drawings: Plots as SVG elements, by their headings.
    """
    style = source("board.css") + dark_style(DARK)
    script = source("board.js")
    columns, rows = main_table(table)
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
            role_names={row.role: ROLE_NAMES.get(row.role, "no run ended well") for row in rows},
            plots=drawings or {},
            intervals=table.statistics is not None,
            languages=[language_map(table, family) for family in table.families],
            subsets=[subset_map(table, task) for task in table.scores.tasks],
            steps=STEPS,
            base=plain(table.base.name) if table.base else "",
            makings=makings(table),
            tasks=table.scores.tasks,
            corpora=_corpora(table),
            reading=reading(table),
            basis=basis(table),
            mishaps=mishaps(table),
            findings=findings,
        )
    )


def _html(text: str) -> str:
    """Return markdown as HTML that is safe to show: tags in it are escaped, links other than to pages are text."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"html": False}).disable("image").render(text))


def _digest(text: str) -> str:
    """Return what a content security policy knows a script or style by (CSP level 2, 'hash-source')."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _facts(table: Figures) -> list[tuple[str, str]]:
    """Return the size of the comparison, as figures with their words."""
    tasks = table.scores.tasks
    facts = [
        (str(len(table.lines)), "encoders measured"),
        (str(len(tasks)), "tasks" if len(tasks) > 1 else "task"),
        (str(sum(len(task.subsets) for task in tasks.values())), "subsets"),
    ]
    if table.statistics is not None:
        facts += [(f"{table.statistics.items:,}", "test items"), (f"{table.statistics.resamples:,}", "resamples")]
    seeds = {run.experiment.seed for line in table.lines for run in line.row.runs if run.experiment}
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
    facts = [run.corpus for line in table.lines for run in line.row.runs if run.corpus]
    counts = dict.fromkeys(
        (corpus.reference, corpus.read, corpus.unusable, corpus.overlap, corpus.duplicates, corpus.surplus,
         corpus.withheld, corpus.dev, sum(corpus.kept.values()))
        for fact in facts for corpus in fact.corpora
    )  # fmt: skip
    return [(plain(name), *(f"{number:,}" for number in numbers)) for name, *numbers in counts]
