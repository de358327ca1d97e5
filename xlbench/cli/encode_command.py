"""``xlbench encode``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from xlbench.cli.app import PATH, echo, where_of
from xlbench.cli.options import model_option, precision_option

if TYPE_CHECKING:
    from xlbench.experiment import Precision


@click.command("encode")
@click.argument("texts", metavar="FILE")
@click.argument("output", type=PATH)
@model_option
@click.option("--column", help="Of a TSV or Parquet file, by name or by number, from 1.")
@precision_option
@click.pass_context
def command(
    context: click.Context,
    texts: str,
    output: str,
    model: str,
    column: str | None,
    precision: Precision | Literal["auto"],
) -> None:
    """Write the vectors of the sentences of FILE to the new file OUTPUT: .npy, or .parquet with the sentences.

    FILE is a text with a sentence on each line, TSV or Parquet; texts also as .gz, .bz2 or .xz. 'starter' and
    'starter:de' are the sentences of the starter kit, in all languages or in one. A column that is named by its name
    stands in the first line of a TSV file. MODEL is a registered encoder, the directory of an encoder or of an export,
    the name of a run as boards show it, the first digits of its fingerprint, the path of a record, or a model of the
    hub.
    """
    from xlbench.functions.using import encode
    from xlbench.plugins.guard import output_aside

    with output_aside():
        vectors = encode(texts, output, model=model, column=column, precision=precision, **where_of(context))
    echo(f"{output}: {len(vectors):,} vectors of {vectors.shape[1]} numbers, {vectors.nbytes / 1e6:,.1f} MB in float32")
