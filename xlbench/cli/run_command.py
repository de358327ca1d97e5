"""``xlbench run``."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from xlbench.cli.app import say_of, where_of
from xlbench.cli.options import json_option, parse_assignments, parse_list, parse_seeds, precision_option, print_json
from xlbench.errors import XlbenchError


@click.command("run")
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file of settings; what is typed goes first.")
@click.option("--method", help="Which method trains the student [multistage].")
@click.option("--student", help="How the student is cut: a name, a TOML file, or B=128,K=6,R=2 [minilm-half].")
@click.option("--bits", type=click.Choice([8, 16, 32]), help="Of a saved weight [the student's: 32].")
@click.option("--teacher", multiple=True, help="Who teaches; 'assistant' is its own English side [assistant].")
@click.option("--assistant", help="The multilingual encoder that is cut [multilingual-e5-small].")
@click.option(
    "--corpus", multiple=True, help="Where pairs are read from: starter, tsv:PATH, hub:ORG/NAME ... [starter]."
)
@click.option("--languages", metavar="de,tr", help="Other sides to use [all of the corpora's].")
@click.option("--suite", help="What is scored [starter].")
@click.option("--keep-out", multiple=True, help="A suite more whose sentences no pair may contain [none].")
@click.option("--budget", help="How much data and training [example].")
@click.option("--pairs-per-language", type=click.IntRange(min=1), help="Replaces the budget's.")
@click.option("--assistant-pairs", type=click.IntRange(min=0), help="Replaces the budget's.")
@click.option("--student-pairs", type=click.IntRange(min=1), help="Replaces the budget's.")
@click.option("--seeds", metavar="0,1,2", help="Of everything random: the student is trained once with each [0].")
@precision_option
@click.option("--preset", help="A named set of the method's options; see `xlbench show method` [none].")
@click.option(
    "-o",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the method; see `xlbench show method`.",
)
@click.option("--save", type=click.Path(path_type=Path), help="Copy the student into this new directory.")
@click.option("--speed/--no-speed", default=True, help="Measure the speed of new records [--speed].")
@click.option("--print-config", is_flag=True, help="Print the settings as TOML and stop.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    config: Path | None,
    save: Path | None,
    print_config: bool,
    speed: bool,
    as_json: bool,
    **typed: object,
) -> None:
    """Distil a student, score it beside its teacher and assistant, and record it.

    A second run of the same settings takes everything from the store; a killed one resumes.
    """
    from xlbench.functions import request_of, run_request_in

    request = request_of(config, _given(context, typed))
    if print_config:
        import tomli_w

        click.echo(tomli_w.dumps(request.model_dump(mode="json", exclude_none=True)), nl=False)
        return
    say = say_of(context)
    results = run_request_in(request, where_of(context), save=save, speed=speed, say=say)
    for student in results.students:
        say(f"student: {student.path}")
    if as_json:
        print_json([row.model_dump(mode="json", by_alias=True) for row in results.records])
    else:
        click.echo(results.markdown())
    if results.failures:
        raise XlbenchError(
            f"{len(results.failures)} of {len(request.seeds)} seeds diverged or collapsed; the others are recorded.",
            "Lower the learning rate (-o learning_rate=...) or raise the batch size.",
        )


def _given(context: click.Context, typed: dict[str, object]) -> dict[str, object]:
    """Return what was typed: whether it was decides, not whether it is true."""
    read = {"options": parse_assignments, "seeds": parse_seeds, "languages": parse_list}
    given = {}
    for name, value in typed.items():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            given[name] = read[name](value) if name in read else value  # type: ignore[operator]
    return given
