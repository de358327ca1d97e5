"""``xlbench doctor``."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Literal

import click

from xlbench.cli.app import echo, registry_of, settings_of
from xlbench.cli.options import json_option, precision_option, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlbench.experiment import Precision
    from xlbench.runs.doctor import Finding

MARKS = {True: "ok", False: "NO", None: "--"}


@click.command("doctor")
@precision_option
@json_option
@click.pass_context
def command(context: click.Context, precision: Precision | Literal["auto"], as_json: bool) -> None:
    """Show what works on this machine, and what xlbench chose and why; 'NO' marks what to fix, with the remedy.

    \b
    To choose otherwise:
      xlbench --device cpu|cuda|mps --threads N --compile|--no-compile COMMAND
      xlbench run|score --precision float32|bfloat16|float16
    """  # noqa: D301 - click does not wrap the lines after \b
    from xlbench.runs.doctor import examine

    findings = examine(registry_of(context), settings_of(context), precision)
    if as_json:
        print_json([finding._asdict() for finding in findings])
        return
    echo("\n".join(report(findings, shutil.get_terminal_size((100, 24)).columns)))


def report(findings: Sequence[Finding], width: int) -> list[str]:
    """Return the lines of a report: marks, topics and texts in columns, each remedy under its problem."""
    column = max(len(finding.topic) for finding in findings)
    lines = []
    for finding in findings:
        first = f"{MARKS[finding.good]}  {finding.topic:{column}}  "
        below = " " * len(first)
        for text, start in ((finding.text, first), (finding.remedy, below)):
            lines += textwrap.wrap(
                " ".join(text.split()),
                max(width, len(first) + 40),
                initial_indent=start,
                subsequent_indent=below,
                break_long_words=False,
                break_on_hyphens=False,
            )
    wrong = dict.fromkeys(finding.topic for finding in findings if finding.good is False)
    return [*lines, "", f"To fix: {', '.join(wrong)}." if wrong else "Ready: `xlbench run` works here."]
