"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xlbench.cli.app import PATH, echo
from xlbench.errors import XlbenchError

if TYPE_CHECKING:
    from collections.abc import Callable

PRECISIONS = ("auto", "float32", "bfloat16", "float16")  # repeated here so that --help does not import pydantic


def parse_assignments(values: tuple[str, ...]) -> dict[str, str]:
    """Parse ``key=value`` into a mapping; pydantic converts the strings to numbers and booleans later.

    Raises:
        XlbenchError: One of them has no '='.
    """
    pairs = {}
    for value in values:
        key, equals, setting = value.partition("=")
        if not equals:
            raise XlbenchError(f"'-o {value}' has no '='.", "Write -o key=value, e.g. -o learning_rate=1e-4.")
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
