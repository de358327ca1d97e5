"""A plugin as one file: a student spec and a budget."""

from __future__ import annotations

from xlbench.api import Budget, StudentSpec, hookimpl


@hookimpl
def xlbench_students() -> list[StudentSpec]:
    """Register a tenth of XLM-R base: 28.1 M."""
    return [StudentSpec(name="xlmr-tenth", bottleneck=80, layers=1, repeats=12, hidden=768, summary="one layer")]


@hookimpl
def xlbench_budgets() -> list[Budget]:
    """Register a lunch break."""
    return [Budget(name="lunch", pairs_per_language=20_000, assistant_pairs=60_000, student_pairs=150_000)]
