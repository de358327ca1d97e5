"""Documents: what is generated in them is what the code gives today.

``XLBENCH_UPDATE_DOCS=1 pytest tests/test_docs.py`` writes it anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from xlbench.leaderboard.record import records_in
from xlbench.leaderboard.table import markdown

ROOT = Path(__file__).parents[1]


def test_the_table_of_the_readme_is_that_of_its_records() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text("utf-8")
    table = markdown(list(records_in(ROOT / "leaderboards" / "example")))
    block = f"<!-- example -->\n{table}\n<!-- /example -->"
    updated = re.sub(r"<!-- example -->.*<!-- /example -->", lambda _: block, text, flags=re.DOTALL)
    if os.environ.get("XLBENCH_UPDATE_DOCS") == "1":
        readme.write_text(updated, "utf-8")
    assert text == updated, "run XLBENCH_UPDATE_DOCS=1 pytest tests/test_docs.py"


def test_the_readme_speaks_of_commands_that_exist() -> None:
    from xlbench.cli.app import COMMANDS

    text = (ROOT / "README.md").read_text("utf-8")
    assert set(re.findall(r"`xlbench ([a-z]+)", text)) <= set(COMMANDS)


def test_example_scores_are_called_an_example() -> None:
    assert "not a benchmark" in markdown(list(records_in(ROOT / "leaderboards" / "example")))


@pytest.mark.parametrize("title", ["<script>alert(1)</script>", "a | b", "x" * 300, "two\nlines"])
def test_a_hostile_title_breaks_no_table(title: str) -> None:
    rows = list(records_in(ROOT / "leaderboards" / "example"))
    hostile = rows[-1].model_copy(update={"name": title})
    lines = markdown([*rows[:-1], hostile]).split("\n")
    assert "<script>" not in "".join(lines)
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines[: len(rows) + 2]]
    assert len(set(cells)) == 1
    assert max(map(len, lines[:2])) < 400
