"""Suites by name: what plugins registered, or ``mteb:`` with the names of MTEB's tasks and benchmarks."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from xlbench.errors import look_up
from xlbench.progress import note
from xlbench.scoring.mteb_names import PREFIX, parse, refuse_early

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlbench.experiment import Suite
    from xlbench.settings import Settings


def find_suite(name: str, registered: Mapping[str, Suite], settings: Settings | None = None) -> Suite:
    """Return a suite by its name.

    Args:
        name: Of a registered suite, or ``mteb:TASK,...`` or ``mteb:BENCHMARK``, with ``?languages=de,fr`` for the
            subsets of these languages and English.
        registered: What plugins provide.
        settings: Where data may be, and whether to say what is left out of a benchmark; None: data is not looked for.

    Raises:
        XlbenchError: There is no such suite, task, benchmark or language; a task is of another kind; or the data of the
            tasks is nowhere and the hub cannot be asked.
    """
    if not name.startswith(PREFIX):
        return look_up("suite", name, registered)
    asked = parse(name)
    if settings is not None:
        refuse_early(asked, settings)
    from xlbench.scoring.mteb_suite import expand

    found = expand(asked)
    for line in found.notes:
        _say_once(line, quiet=settings is not None and settings.quiet)
    return found.suite


def suite_name(name: str, registered: Mapping[str, Suite]) -> str:
    """Return what records call a suite, without looking into MTEB.

    Raises:
        XlbenchError: It is neither registered nor of the form that :func:`xlbench.scoring.mteb_names.parse` takes.
    """
    return str(parse(name)) if name.startswith(PREFIX) else look_up("suite", name, registered).name


@cache
def _say_once(text: str, *, quiet: bool) -> None:
    note(text, quiet=quiet)
