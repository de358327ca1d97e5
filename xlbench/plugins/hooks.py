"""The hooks that a plugin can implement: functions of these names in a module, marked with ``hookimpl``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xlbench.corpora.corpus import CorpusReader
    from xlbench.distill.method import Method
    from xlbench.encoders.find import RegisteredEncoder
    from xlbench.engines.engine import Engine
    from xlbench.experiment import Budget, StudentSpec, Suite

PROJECT = "xlbench"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def xlbench_methods() -> Iterable[Method]:
    """Return distillation methods."""
    return ()


@hookspec
def xlbench_students() -> Iterable[StudentSpec]:
    """Return student specs: named recipes for cutting a student from an assistant."""
    return ()


@hookspec
def xlbench_encoders() -> Iterable[RegisteredEncoder]:
    """Return encoders that can be a teacher, an assistant or a row of a board."""
    return ()


@hookspec
def xlbench_corpora() -> Iterable[CorpusReader]:
    """Return corpus readers, each with the scheme that references to its corpora start with."""
    return ()


@hookspec
def xlbench_suites() -> Iterable[Suite]:
    """Return suites: named sets of MTEB tasks and subsets."""
    return ()


@hookspec
def xlbench_budgets() -> Iterable[Budget]:
    """Return budgets: named amounts of data and training."""
    return ()


@hookspec
def xlbench_engines() -> Iterable[Engine]:
    """Return engines: ways to run the stages, scorings and exports of a run elsewhere."""
    return ()
