"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xlbench.cli.app import PATH, echo
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Callable

PRECISIONS = ("auto", "float32", "bfloat16", "float16")  # repeated here so that --help does not import pydantic


def parse_assignments(
    values: tuple[str, ...], letter: str = "-o", example: str = "learning_rate=1e-4"
) -> dict[str, str]:
    """Parse ``key=value`` into a mapping; pydantic converts the strings to numbers and booleans later.

    Args:
        values: As they were typed.
        letter: Of the option that takes them.
        example: Of one of them.

    Raises:
        XlbenchError: One of them has no '='.
    """
    pairs = {}
    for value in values:
        key, equals, setting = value.partition("=")
        if not (equals and key.strip()):
            lacks = "name" if equals else "'='"
            raise XlbenchError(
                f"'{letter} {value}' has no {lacks}.", f"Write {letter} key=value, e.g. {letter} {example}."
            )
        pairs[key.strip().replace("-", "_")] = setting.strip()
    return pairs


def json_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")(function)


def precision_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--precision``, which torch calls dtype."""
    return click.option(
        "--precision",
        "--dtype",
        "precision",
        type=click.Choice(PRECISIONS),
        default="auto",
        show_default=True,
        help="Number format that encoders compute in; auto: the best that the device supports.",
    )(function)


def engine_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--engine``, ``--engine-config`` and ``-e``."""
    function = click.option(
        "-e",
        "engine_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the engine, over its file's; see `xlbench show engine`.",
    )(function)
    function = click.option("--engine-config", type=PATH, help="A TOML file of the engine's options [none].")(function)
    return click.option(
        "--engine", help="Where stages, scorings and exports run: local, ray, slurm, or a plugin's [local]."
    )(function)


def model_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--model``."""
    return click.option(
        "--model", default="multilingual-e5-small", show_default=True, help="The encoder, by any of its names."
    )(function)


def exact_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--exact`` and ``--no-exact``."""
    return click.option(
        "--exact/--no-exact",
        "exact",
        default=None,
        help="Compare all with all, or search an index of faiss [exact up to 10^10 cosines, on a GPU 10^13].",
    )(function)


def rows_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--output``, ``--tsv`` and ``--json``."""
    function = json_option(function)
    function = click.option("--tsv", is_flag=True, help="Print all rows, separated by tabs.")(function)
    return click.option("--output", type=PATH, help="Write all rows to this new file: .tsv, .parquet or .json.")(
        function
    )


def print_json(value: object) -> None:
    """Print a value as JSON."""
    import json

    echo(json.dumps(value, indent=1, ensure_ascii=False))
