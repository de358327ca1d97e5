"""The hooks: what a plugin may bring. Implement any of them in a module and mark it with ``hookimpl``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xlbench.corpora.corpus import CorpusReader
    from xlbench.distill.method import Method
    from xlbench.encoders.find import RegisteredEncoder
    from xlbench.experiment import Budget, StudentSpec, Suite

PROJECT = "xlbench"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def xlbench_methods() -> Iterable[Method]:
    """Return the distillation methods that this plugin brings."""
    return ()


@hookspec
def xlbench_students() -> Iterable[StudentSpec]:
    """Return student specs: how a student is cut from an assistant, by name."""
    return ()


@hookspec
def xlbench_encoders() -> Iterable[RegisteredEncoder]:
    """Return encoders that can be a teacher, an assistant or a row to compare with."""
    return ()


@hookspec
def xlbench_corpora() -> Iterable[CorpusReader]:
    """Return sources of parallel pairs, each under a scheme."""
    return ()


@hookspec
def xlbench_suites() -> Iterable[Suite]:
    """Return suites: named sets of MTEB tasks and subsets."""
    return ()


@hookspec
def xlbench_budgets() -> Iterable[Budget]:
    """Return budgets: named amounts of data and training."""
    return ()
