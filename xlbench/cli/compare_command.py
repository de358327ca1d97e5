"""``xlbench compare``."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import click

from xlbench.cli.app import echo, where_of
from xlbench.cli.options import json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xlbench.comparison.gaps import Gap
    from xlbench.runs.compare import Comparison, Example

LONGEST = 300  # characters of a sentence


@click.command("compare")
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option(
    "--examples",
    type=click.IntRange(min=0, max=10_000),
    default=5,
    show_default=True,
    help="How many sentence pairs to show for each task, those on which the two disagree most.",
)
@json_option
@click.pass_context
def command(context: click.Context, first: str, second: str, examples: int, as_json: bool) -> None:
    """Compare two runs: scores, paired differences with intervals, and sentences where they disagree with the gold.

    RUN is a name as boards show it, the first digits of a fingerprint, the path of a record, or a row of a board
    (headline:multilingual-e5-small). Item-level scores come from the store, or from predictions beside the record.
    """
    from xlbench.functions import compare
    from xlbench.plugins.guard import output_aside

    with output_aside():
        found = compare(first, second, examples=examples, **where_of(context))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    echo("\n".join(_lines(found)))


def _lines(found: Comparison) -> Iterator[str]:
    from xlbench.report.notes import EXAMPLE_NOTE

    for letter, side in (("A", found.first), ("B", found.second)):
        yield f"{letter}: {side.name} ({side.description}; {side.fingerprint[:8]})"
    yield f"\n{_table(found)}\n"
    yield f"A - B: paired difference in points with its 95 % interval, from {found.resamples:,} resamples of the items."
    yield "*: the interval excludes zero; all other differences are not significant on these items."
    for task, examples in groupby(found.examples, key=lambda example: example.task):
        yield f"\n{task}, where A and B disagree most:"
        for example in examples:
            yield from _shown(example)
    yield from (f"\n{note}" for note in found.notes)
    if found.example:
        yield f"\n{EXAMPLE_NOTE}"


def _table(found: Comparison) -> str:
    from tabulate import tabulate

    from xlbench.report.formats import FAMILY_NAMES

    body = []
    for task, subsets in found.gaps.subsets.items():
        body += [[task, subset, *_cells(gap)] for subset, gap in subsets.items()]
        body.append([task, _mean_of(found.gaps.tasks[task]), *_cells(found.gaps.tasks[task])])
    body += [[FAMILY_NAMES[family], _mean_of(gap), *_cells(gap)] for family, gap in found.gaps.families.items()]
    header = ["Task", "Subset", "A", "B", "A - B", "95 %", ""]
    sides = ["left", "left", "right", "right", "right", "right", "left"]
    return tabulate(body, header, tablefmt="github", colalign=sides, disable_numparse=True)


def _mean_of(gap: Gap) -> str:
    return "mean" if gap.subsets is None else f"mean of {gap.subsets} subsets"


def _cells(gap: Gap) -> list[str]:
    apart = gap.difference
    sides = ["undefined" if score is None else f"{score:.2f}" for score in (gap.first, gap.second)]
    if apart is None:
        return [*sides, "", "", ""]
    span = f"{apart.low:+.2f} to {apart.high:+.2f}"
    return [*sides, f"{apart.value:+.2f}", span, "" if apart.holds_zero() else "*"]


def _shown(example: Example) -> Iterator[str]:
    place = f"  {example.subset}, item {example.row}:"
    if example.measure == "sts":
        yield (
            f"{place} rank {example.gold:g} of {example.items} by people,"
            f" {example.first:g} by A, {example.second:g} by B"
        )
    else:
        right, wrong, found = ("A", "B", example.second) if example.first == example.gold else ("B", "A", example.first)
        yield f"{place} {right} finds the translation, {wrong} takes item {found:g}"
    for text in (*(example.texts or ()), *([f"taken: {example.taken}"] if example.taken else [])):
        yield f"    {_short(text)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
