"""Sphinx's settings. What pages show of the code is generated (tests/test_docs.py); the notebook is executed here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "xlbench"
copyright = "the xlbench authors"  # noqa: A001 - Sphinx's name for it
release = re.findall(r'__version__ = "(.+)"', (ROOT / "xlbench" / "_version.py").read_text("utf-8"))[0]
version = release

extensions = ["myst_nb"]  # Markdown as myst-parser reads it, and notebooks
exclude_patterns = ["examples"]
myst_heading_anchors = 3

nb_execution_mode = "force"  # what a page shows is what today's code gives
nb_execution_timeout = 600  # seconds a cell; a run of the budget smoke takes one or two minutes
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

html_theme = "pydata_sphinx_theme"
html_title = f"xlbench {release}"
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "article_header_start": ["breadcrumbs"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def setup(app: Sphinx) -> None:
    """Show pictures that GitHub draws as their text: no script is loaded from a network."""
    app.add_lexer("mermaid", TextLexer)
