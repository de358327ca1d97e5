"""``xlbench run``."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from xlbench.cli.app import registry_of, settings_of
from xlbench.cli.options import json_option, parse_assignments, parse_seeds, precision_option, print_json
from xlbench.errors import XlbenchError


@click.command("run")
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file of settings; what is typed goes first.")
@click.option("--method", help="Which method trains the student [multistage].")
@click.option("--student", help="How the student is cut: a name or a TOML file [minilm-half].")
@click.option("--student-spec", help="A spec, inline: B=128,K=6,R=2.")
@click.option("--bits", type=click.Choice([8, 16, 32]), help="Of a stored weight [the student's: 32].")
@click.option("--teacher", multiple=True, help="Who teaches; 'assistant' is its own English side [assistant].")
@click.option("--assistant", help="The multilingual encoder that is cut [multilingual-e5-small].")
@click.option("--corpus", multiple=True, help="A source of pairs: starter, tsv:PATH, hub:ORG/NAME ... [starter].")
@click.option("--language", "languages", multiple=True, help="Other sides to use [all of the corpora's].")
@click.option("--suite", help="What is scored [starter].")
@click.option("--keep-out", multiple=True, help="A suite more whose sentences no pair may contain [none].")
@click.option("--budget", help="How much data and training [example].")
@click.option("--pairs-per-language", type=click.IntRange(min=1), help="Overrides the budget's.")
@click.option("--assistant-pairs", type=click.IntRange(min=0), help="Overrides the budget's.")
@click.option("--student-pairs", type=click.IntRange(min=1), help="Overrides the budget's.")
@click.option("--seeds", metavar="0,1,2", help="Of everything random: the student is trained once with each [0].")
@precision_option
@click.option("--preset", help="A set of the method's options; see `xlbench show method`.")
@click.option(
    "-o",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the method; see `xlbench show method`.",
)
@click.option("--save", type=click.Path(path_type=Path), help="Copy the student into this new directory.")
@click.option("--no-speed", is_flag=True, help="Do not measure speed.")
@click.option("--print-config", is_flag=True, help="Print the settings as TOML and stop.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    config: Path | None,
    save: Path | None,
    print_config: bool,
    no_speed: bool,
    as_json: bool,
    **typed: object,
) -> None:
    """Distil a student, score it beside its teacher and assistant, and record it.

    A second run of the same settings takes everything from the store; a killed one resumes.
    """
    from xlbench.runs.request import make_request, read_toml

    settings = read_toml(config) if config else {}
    _take_typed(context, typed, settings)
    request = make_request(settings)
    if save is not None and len(request.seeds) > 1:
        raise XlbenchError(f"--save takes one student, and {len(request.seeds)} seeds make as many.", "Give one seed.")
    if print_config:
        import tomli_w

        click.echo(tomli_w.dumps(request.model_dump(mode="json", exclude_none=True)), nl=False)
        return
    from xlbench.export.directory import save_student_copy, student_directory
    from xlbench.records.rows import rows_of
    from xlbench.report.seeds import seed_table
    from xlbench.report.table import markdown
    from xlbench.runs.run import run

    shared = settings_of(context)
    if no_speed:
        shared = shared.model_copy(update={"speed_rounds": 0})

    def say(note: str) -> None:
        if not shared.quiet:
            click.echo(note, err=True)

    results = run(request, registry_of(context), shared, say)
    students = [row for row in results.records if row.role == "student"]
    for student in students:
        say(f"student: {student_directory(student, shared)}")
    if save is not None and students:
        save_student_copy(students[0], save, shared)
    if as_json:
        print_json([row.model_dump(mode="json", by_alias=True) for row in results.records])
    else:
        click.echo(markdown(rows_of(results.records)))
        if len(request.seeds) > 1:
            click.echo(f"\n{seed_table(students, results.failures)}")
    if results.failures:
        raise XlbenchError(
            f"{len(results.failures)} of {len(request.seeds)} seeds could not end well; the others are recorded.",
            "Lower the learning rate (-o learning_rate=...) or raise the batch size.",
        )


def _take_typed(context: click.Context, typed: dict[str, object], settings: dict[str, object]) -> None:
    """Let what was typed replace what a file said."""
    from xlbench.runs.request import inline_spec

    for name, value in typed.items():
        # Whether it was typed decides, not whether it is true.
        if context.get_parameter_source(name) is ParameterSource.DEFAULT:
            continue
        if name == "options":
            assert isinstance(value, tuple)
            given = settings.get("options", {})
            settings["options"] = {**(given if isinstance(given, dict) else {}), **parse_assignments(value)}
        elif name == "student_spec":
            settings["student"] = inline_spec(str(value))
        elif name == "seeds":
            settings["seeds"] = parse_seeds(str(value))
        else:
            settings[name] = value
