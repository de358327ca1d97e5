"""``xlbench export``."""

from __future__ import annotations

from pathlib import Path

import click

from xlbench.cli.app import say_of, where_of


@click.command("export")
@click.argument("run")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--to", required=True, metavar="FORMAT", help="stock, onnx, onnx-int8, openvino-int8 or mteb-results.")
@click.option("--force", is_flag=True, help="Keep an export that loses more than its format's bound.")
@click.pass_context
def command(context: click.Context, run: str, directory: Path, to: str, *, force: bool) -> None:
    """Export the student of RUN into the new DIRECTORY, for use without xlbench.

    RUN is the name of a run as boards show it, the first digits of its fingerprint, the path of a record, or the
    directory of an encoder. FORMAT is 'stock', a plain SentenceTransformer directory that any library loads; 'onnx',
    one file from token ids to the sentence vector, in float32; 'onnx-int8', the same computed in integers;
    'openvino-int8', that for OpenVINO, calibrated on sentences of its languages; or 'mteb-results', the scores of any
    run as files of MTEB's results repository.
    """
    from xlbench.exports.exported import Exported
    from xlbench.functions import export

    say = say_of(context)
    made = export(run, to, directory, force=force, say=say, **where_of(context))
    if not isinstance(made, Exported):
        click.echo(f"{made.directory}: results of {made.model} on {', '.join(made.tasks)}")
        return
    worst = made.worst
    before = "" if made.source_bytes is None else f" (stored: {made.source_bytes / 1e6:.1f} MB)"
    click.echo(
        f"{made.directory}: {made.format}, {made.weight_bytes / 1e6:.1f} MB{before}; "
        f"1 - cosine {made.losses[worst]:.1e} in '{worst}', the worst of {len(made.losses)} languages"
    )
