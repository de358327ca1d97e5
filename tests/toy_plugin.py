"""A plugin as one file: a small suite and a small budget for tests."""

from __future__ import annotations

from xlbench.api import Budget, Suite, TaskRef, hookimpl


@hookimpl
def xlbench_suites() -> list[Suite]:
    """Two subsets of the starter tasks."""
    tasks = (
        TaskRef(task="StarterSTS", family="sts", subsets=("en-de",), loader="starter-sts/1"),
        TaskRef(task="StarterBitext", family="bitext", subsets=("de-en",), loader="starter-bitext/1"),
    )
    return [Suite(name="toy", summary="two subsets of the starter tasks", tasks=tasks, example=True)]


@hookimpl
def xlbench_budgets() -> list[Budget]:
    """Seconds."""
    return [Budget(name="toy", pairs_per_language=160, dev_pairs=16, assistant_pairs=64, student_pairs=320)]
