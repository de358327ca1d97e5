"""``xlbench mine``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from xlbench.cli.app import PATH, say_of, where_of
from xlbench.cli.options import exact_option, model_option, precision_option, rows_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xlbench.experiment import Precision
    from xlbench.retrieval.margins import Retrieval
    from xlbench.retrieval.results import Mined

RETRIEVALS = ("forward", "backward", "intersection", "max")  # repeated here so that --help does not import numpy


@click.command("mine")
@click.argument("a")
@click.argument("b")
@click.option(
    "--neighbours",
    type=click.IntRange(min=1, max=1000),
    default=4,
    show_default=True,
    help="How many neighbours make a neighbourhood.",
)
@click.option(
    "--retrieval",
    type=click.Choice(RETRIEVALS),
    default="max",
    show_default=True,
    help="Whose best partners are kept: of A, of B, those of both, or the largest margins, each sentence once.",
)
@click.option("--threshold", type=float, default=1.0, show_default=True, help="The least margin of a pair.")
@model_option
@click.option("--column-a", help="Of the first file, by name or by number, from 1.")
@click.option("--column-b", help="Of the second file, likewise.")
@click.option(
    "--vectors-a", type=PATH, metavar="FILE", help="What `xlbench encode A FILE.npy` wrote: not encoded again."
)
@click.option("--vectors-b", type=PATH, metavar="FILE", help="The same of B.")
@precision_option
@exact_option
@rows_options
@click.pass_context
def command(
    context: click.Context,
    a: str,
    b: str,
    neighbours: int,
    retrieval: Retrieval,
    threshold: float,
    model: str,
    column_a: str | None,
    column_b: str | None,
    vectors_a: str | None,
    vectors_b: str | None,
    precision: Precision | Literal["auto"],
    exact: bool | None,
    output: str | None,
    tsv: bool,
    as_json: bool,
) -> None:
    """Print the pairs of sentences of files A and B that are translations of each other, the largest margin first.

    The margin is the ratio of a pair's cosine to the mean cosine of the two sentences' neighbourhoods (Artetxe &
    Schwenk, 2019). A, B and MODEL are as `xlbench encode` takes them; `xlbench mine starter:en starter:de` needs no
    files.
    """
    from xlbench.cli.rows import print_rows, refuse_both
    from xlbench.functions.using import mine
    from xlbench.plugins.guard import output_aside

    refuse_both(tsv, as_json)
    with output_aside():
        found = mine(
            a,
            b,
            neighbours=neighbours,
            retrieval=retrieval,
            threshold=threshold,
            model=model,
            column_a=column_a,
            column_b=column_b,
            vectors_a=vectors_a,
            vectors_b=vectors_b,
            precision=precision,
            exact=exact,
            output=output,
            **where_of(context),
        )
    print_rows(found, _lines, output, say_of(context), tsv=tsv, as_json=as_json)


def _lines(found: Mined, most: int) -> Iterator[str]:
    from xlbench.cli.rows import shorten

    page = found.page(0, most)
    for margin, cosine, line_a, line_b, sentence_a, sentence_b in zip(*page.values(), strict=True):
        yield f"margin {margin:.3f}, cosine {cosine:.3f}"
        yield f"  line {line_a}  {shorten(str(sentence_a))}"
        yield f"  line {line_b}  {shorten(str(sentence_b))}"
