"""``xlbench run``."""

from __future__ import annotations

import click
from click.core import ParameterSource

from xlbench.cli.app import PATH, echo, say_of, where_of
from xlbench.cli.options import engine_options as add_engine_options
from xlbench.cli.options import json_option, parse_assignments, precision_option, print_json
from xlbench.errors import XlbenchError
from xlbench.launch import leads


@click.command("run", context_settings={"allow_extra_args": True})  # refused below, with what was given
@click.option(
    "--config",
    type=PATH,
    help="A TOML file of settings; options on the command line override it.",
)
@click.option("--method", help="Which method trains the student [multistage].")
@click.option("--student", help="How the student is cut: a name, a TOML file, or B=128,K=6,R=2 [minilm-half].")
@click.option(
    "--bits", type=click.Choice([8, 16, 32]), help="Bits of a weight in the student's files [the student's: 32]."
)
@click.option(
    "--teacher",
    multiple=True,
    help="Encoder whose English embeddings are the target; 'assistant' is the assistant itself [assistant].",
)
@click.option("--assistant", help="The multilingual encoder that the student is cut from [multilingual-e5-small].")
@click.option(
    "--corpus", multiple=True, help="Where pairs are read from: starter, tsv:PATH, hub:ORG/NAME ... [starter]."
)
@click.option("--languages", metavar="de,tr", help="Languages to train on, beside English [all of the corpora's].")
@click.option("--suite", help="The suite of tasks to score on; mteb:TASK,... takes those of MTEB [starter].")
@click.option(
    "--keep-out", multiple=True, help="One more suite whose sentences are removed from the training data [none]."
)
@click.option("--budget", help="How much data and training: a named budget [example].")
@click.option("--pairs-per-language", type=click.IntRange(min=1), help="Overrides the budget's number.")
@click.option("--assistant-pairs", type=click.IntRange(min=0), help="Overrides the budget's number.")
@click.option("--student-pairs", type=click.IntRange(min=1), help="Overrides the budget's number.")
@click.option("--seeds", metavar="0,1,2", help="Random seeds; the student is trained once with each [0].")
@precision_option
@click.option("--preset", help="A named set of the method's options; see `xlbench show method` [none].")
@click.option(
    "-o",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the method; see `xlbench show method`.",
)
@click.option(
    "--vocabulary-text",
    metavar="FILE",
    help="A text whose tokens a trimmed vocabulary keeps; untranslated lines serve [none].",
)
@click.option(
    "--save", type=PATH, help="Copy the student into this directory: a new one, or one that holds it already."
)
@click.option("--speed/--no-speed", default=True, help="Measure the speed of records that have none [--speed].")
@add_engine_options
@click.option("--print-config", is_flag=True, help="Print the settings as TOML and stop.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    config: str | None,
    save: str | None,
    print_config: bool,
    speed: bool,
    engine: str | None,
    engine_config: str | None,
    engine_options: tuple[str, ...],
    as_json: bool,
    **typed: object,
) -> None:
    """Distil a student, score it beside its teacher and assistant, and record it.

    A second run of the same settings takes everything from the store; a killed one resumes.
    """
    _refuse_extra(context, typed)
    from xlbench.arguments import request_of
    from xlbench.functions import run_request_in
    from xlbench.plugins.guard import output_aside

    request = request_of(config, _given(context, typed))
    if print_config:
        import tomli_w

        echo(tomli_w.dumps(request.model_dump(mode="json", exclude_none=True)), nl=False)
        return
    say = say_of(context)
    with output_aside():
        results = run_request_in(
            request,
            where_of(context),
            save=save,
            speed=speed,
            engine=engine,
            engine_config=engine_config,
            engine_options=parse_assignments(engine_options, "-e", "cpus=4"),
            say=say,
        )
    if not leads():
        return
    for student in results.students:
        say(f"student: {student.path}")
    if as_json:
        print_json([row.model_dump(mode="json", by_alias=True) for row in results.records])
    else:
        echo(results.markdown())
    if results.failures:
        raise XlbenchError(
            f"{len(results.failures)} of {len(request.seeds)} seeds diverged or collapsed; the others are recorded.",
            "Lower the learning rate (-o learning_rate=...) or raise the batch size.",
        )


def _refuse_extra(context: click.Context, typed: dict[str, object]) -> None:
    """Refuse arguments that belong to no option; ``--seeds 0 1`` is the usual way to get them."""
    if not context.args:
        return
    extra = " ".join(context.args)
    seeds = typed.get("seeds")
    if seeds is not None and all(argument.strip(",").isdecimal() for argument in context.args):
        numbers = [part for part in f"{seeds},{','.join(context.args)}".split(",") if part]
        raise XlbenchError(
            f"'--seeds {seeds}' is followed by '{extra}', which belongs to no option.",
            f"Separate seeds by commas, without spaces: --seeds {','.join(numbers)}.",
        )
    raise XlbenchError(f"'{extra}' belongs to no option of `xlbench run`.", "See `xlbench run --help`.")


def _given(context: click.Context, typed: dict[str, object]) -> dict[str, object]:
    """Return the options on the command line, also those whose value is false or empty."""
    from xlbench.runs.request import parse_list, parse_seeds

    read = {"options": parse_assignments, "seeds": parse_seeds, "languages": parse_list}
    given = {}
    for name, value in typed.items():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            given[name] = read[name](value) if name in read else value  # type: ignore[operator]
    return given
