"""``xlbench search``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from xlbench.cli.app import PATH, say_of, where_of
from xlbench.cli.options import exact_option, model_option, precision_option, rows_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xlbench.experiment import Precision
    from xlbench.retrieval.results import Found


@click.command("search")
@click.argument("corpus")
@click.argument("queries", nargs=-1, metavar="[QUERY]...")
@click.option("--queries-from", type=PATH, metavar="FILE", help="A file of queries instead.")
@click.option(
    "--top", type=click.IntRange(min=1, max=1000), default=5, show_default=True, help="Sentences for each query."
)
@model_option
@click.option("--column", help="Of the corpus, by name or by number, from 1.")
@click.option("--column-queries", help="Of the file of queries, likewise.")
@click.option(
    "--vectors", type=PATH, metavar="FILE", help="What `xlbench encode CORPUS FILE.npy` wrote: not encoded again."
)
@precision_option
@exact_option
@rows_options
@click.pass_context
def command(
    context: click.Context,
    corpus: str,
    queries: tuple[str, ...],
    queries_from: str | None,
    top: int,
    model: str,
    column: str | None,
    column_queries: str | None,
    vectors: str | None,
    precision: Precision | Literal["auto"],
    exact: bool | None,
    output: str | None,
    tsv: bool,
    as_json: bool,
) -> None:
    """Print the sentences of CORPUS whose vectors are nearest to that of QUERY, in whatever languages.

    CORPUS and MODEL are as `xlbench encode` takes them; `xlbench search starter "where is the station?"` needs no file.
    """
    from xlbench.cli.rows import print_rows, refuse_both
    from xlbench.functions.using import search
    from xlbench.plugins.guard import output_aside

    refuse_both(tsv, as_json)
    with output_aside():
        found = search(
            corpus,
            list(queries),
            queries_from=queries_from,
            top=top,
            model=model,
            column=column,
            column_queries=column_queries,
            vectors=vectors,
            precision=precision,
            exact=exact,
            output=output,
            **where_of(context),
        )
    print_rows(found, _lines, output, say_of(context), tsv=tsv, as_json=as_json)


def _lines(found: Found, most: int) -> Iterator[str]:
    from xlbench.cli.rows import shorten

    page = found.page(0, most)
    for query, rank, cosine, line, sentence in zip(*page.values(), strict=True):
        if rank == 1 and len(found.texts[0]) > 1:
            yield shorten(str(query))
        yield f"{cosine:6.3f}  line {line}  {shorten(str(sentence))}"
