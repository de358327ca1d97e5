"""The command group and what all commands share."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

from xlbench._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from xlbench.arguments import Where
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings

TOLD = "xlbench.broken"  # in click's memory of a call: broken plugins were reported
COMMANDS = {
    "bundle": "Everything that a board needs, in a directory for a machine without a network.",
    "compare": "What separates two runs, with intervals, and where they disagree.",
    "doctor": "What works on this machine, and what was chosen.",
    "encode": "Vectors of the sentences of a file, by any encoder.",
    "export": "A student as files that are used without xlbench.",
    "leaderboard": "Ranked tables: boards declared as files, or the records made so far.",
    "list": "Methods, students, encoders, corpora, suites, budgets and engines.",
    "mine": "Pairs of sentences of two files that are translations of each other.",
    "new-plugin": "A project with a method of your own, to start from.",
    "plugins": "Installed plugins, and the ones that are broken.",
    "push": "A saved or exported student to the Hugging Face hub.",
    "run": "Distil a student, score it beside its teacher and assistant, and record it.",
    "score": "Score any encoder on a suite.",
    "search": "Sentences of a file that mean what a query means, in any language.",
    "show": "Everything about one method, student, encoder, corpus, suite, budget or engine.",
    "status": "What runs just now: stage, loss, time left.",
    "store": "What the store holds and who needs it; making room, carrying it elsewhere.",
}


# Where a command is defined, for those that share a file.
MODULES = {
    "list": ("catalogue", "list_command"),
    "show": ("catalogue", "show_command"),
    "plugins": ("plugins_command", "plugins_command"),
    "new-plugin": ("plugins_command", "new_plugin_command"),
}
HIDDEN = frozenset({"task"})  # what engines start in workers


class GivenPath(click.types.StringParamType):
    """A path as it was typed: it is checked where Python's callers are, in the same words."""

    name = "path"


PATH = GivenPath()


class LazyGroup(click.Group):
    """A group that imports a command only when it is run, so that --help loads neither pydantic nor torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None for an unknown name."""
        if cmd_name not in COMMANDS and cmd_name not in HIDDEN:
            return None
        module, name = MODULES.get(cmd_name, (f"{cmd_name}_command", "command"))
        command = getattr(importlib.import_module(f"xlbench.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; for an unknown name, propose the nearest one."""
        if args and args[0] not in COMMANDS and args[0] not in HIDDEN and not args[0].startswith("-"):
            from xlbench.errors import look_up

            look_up("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="xlbench")
@click.option("--home", type=PATH, help="The store [XLBENCH_HOME, ~/.cache/xlbench].")
@click.option("--data-root", type=PATH, help="Local copies of hub data and models [XLBENCH_DATA].")
@click.option("--offline", is_flag=True, help="Never ask the hub [HF_HUB_OFFLINE].")
@click.option("--device", help="cpu, cuda or mps [the best that the machine has].")
@click.option(
    "--compile/--no-compile", "compiled", default=None, help="Compile the training step [where it is faster]."
)
@click.option("--threads", type=click.IntRange(min=1, max=4096), help="Threads for torch.")
@click.option(
    "--report-to", multiple=True, metavar="NAME", help="Tell tensorboard, wandb, mlflow or trackio how training goes."
)
@click.option("--plugin", "plugin_files", type=PATH, multiple=True, help="A plugin as one file.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bars and no notes.")
@click.pass_context
def app(
    context: click.Context,
    home: str | None,
    data_root: str | None,
    offline: bool,
    device: str | None,
    compiled: bool | None,
    threads: int | None,
    report_to: tuple[str, ...],
    plugin_files: tuple[str, ...],
    quiet: bool,
) -> None:
    """Make cross-lingual sentence encoders small without making them worse, and prove it."""
    from xlbench.launch import launched, leads

    if launched():
        _join(context)
    context.obj = {
        "home": home,
        "data_root": data_root,
        "offline": offline,
        "device": device,
        "compile": compiled,
        "threads": threads,
        "report_to": report_to,
        "plugin": plugin_files,
        "quiet": quiet or not leads(),
    }


def _join(context: click.Context) -> None:
    """Meet the other processes of a launch, and refuse a command that is the work of one.

    Raises:
        XlbenchError: It is, or they cannot be reached.
    """
    from xlbench.distill import ranks
    from xlbench.errors import XlbenchError

    ranks.meet()
    if context.invoked_subcommand != "run":
        raise XlbenchError(
            f"Several processes were started for `xlbench {context.invoked_subcommand}`, which is the work of one.",
            "Start it without torchrun and accelerate launch; they are for `xlbench run`.",
        )


def echo(text: str, *, err: bool = False, nl: bool = True, bold: bool | None = None, fg: str | None = None) -> None:
    """Print text: all that commands print passes here, and no name in it steers the terminal."""
    from xlbench.errors import printable
    from xlbench.launch import leads

    if not leads():
        return
    click.secho(printable(text, layout=True), err=err, nl=nl, bold=bold, fg=fg)


def where_of(context: click.Context) -> Where:
    """Return paths and switches as the functions of ``xlbench`` take them; reports broken plugins."""
    registry_of(context)
    where: Where = context.find_root().obj
    return where


def say_of(context: click.Context) -> Callable[[str], None]:
    """Return a function that prints notes on standard error, unless --quiet."""
    quiet = context.find_root().obj["quiet"]
    return lambda note: None if quiet else echo(note, err=True)


def settings_of(context: click.Context) -> Settings:
    """Return the settings of this invocation."""
    from xlbench.arguments import place_of

    return place_of(context.find_root().obj)


def registry_of(context: click.Context) -> Registry:
    """Return what plugins registered; broken ones are reported on standard error, once."""
    from xlbench.arguments import plugin_files
    from xlbench.plugins.registry import load_registry

    root = context.find_root()
    lists_broken = context.info_name == "plugins"  # that command lists every broken plugin itself
    files = plugin_files(root.obj)
    registry = load_registry(files, strict=False) if lists_broken else load_registry(files)
    if registry.broken and not lists_broken and not root.meta.get(TOLD):
        root.meta[TOLD] = True
        names = ", ".join(f"'{plugin.name}'" for plugin in registry.broken)
        echo(f"xlbench: broken plugin {names} left out; see `xlbench plugins`", err=True)
    return registry
