"""``xlbench score``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from xlbench.cli.app import PATH, echo, where_of
from xlbench.cli.options import json_option, precision_option, print_json

if TYPE_CHECKING:
    from xlbench.experiment import Precision


@click.command("score")
@click.argument("model")
@click.option(
    "--suite",
    default="starter",
    show_default=True,
    help="The suite of tasks to score on; mteb:TASK,... takes those of MTEB.",
)
@precision_option
@click.option("--items", type=PATH, help="Also write item-level scores to this Parquet file.")
@click.option("--against", metavar="ENCODER", help="Also measure its speed, in turns with this encoder.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    model: str,
    suite: str,
    precision: Precision | Literal["auto"],
    items: str | None,
    against: str | None,
    as_json: bool,
) -> None:
    """Score any encoder on a suite: a registered name, a directory (an exported one too) or a hub id.

    The record is stored, so that `xlbench compare` finds it by the encoder's name.
    """
    from xlbench.functions import score
    from xlbench.plugins.guard import output_aside

    with output_aside():
        (record,) = score(
            model, suite=suite, precision=precision, items=items, against=against, **where_of(context)
        ).records
    if as_json:
        print_json(record.scores.model_dump(mode="json"))
        return
    from xlbench.report.markdown import subset_table

    echo(subset_table(record.scores))
    if record.speed is not None:
        speed = record.speed
        echo(
            f"\nspeed with {speed.runtime} on {speed.machine.cpu}, {speed.machine.threads} threads: "
            f"{speed.model.throughput.median:.0f} sentences/s, {speed.throughput_ratio.median:.2f} times '{against}' "
            f"({speed.precision}); {speed.model.latency.median:.1f} ms for one sentence, "
            f"{speed.latency_ratio.median:.2f} times as fast"
        )
