"""A plugin as one file: two of MTEB's tasks, cut to German, under the name ``german``."""

from __future__ import annotations

from xlbench.api import Suite, TaskRef, hookimpl


@hookimpl
def xlbench_suites() -> list[Suite]:
    """Register the suite."""
    tasks = (
        TaskRef(task="STS17", family="sts", subsets=("en-de",)),
        TaskRef(task="STS22.v2", family="sts", subsets=("de", "de-en")),
        TaskRef(task="Tatoeba", family="bitext", subsets=("deu-eng",)),
    )
    return [Suite(name="german", summary="STS and bitext of German and English", tasks=tasks)]
