"""How long a graph of tasks takes on a number of workers, by list scheduling: the longest path first.

Graham (1966, 'Bounds for certain multiprocessing anomalies'): such a schedule takes less than twice as long as the
best one. With more workers no schedule is shorter than the critical path, the longest chain of tasks that wait for each
other.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def path_lengths(seconds: Mapping[str, float], after: Mapping[str, Collection[str]]) -> dict[str, float]:
    """Return the length of the longest path from the beginning of each task to the end of the last one that waits.

    Args:
        seconds: What each task takes; each stands after all that it needs.
        after: What each task needs; tasks that are not among ``seconds`` are done.
    """
    lengths = dict(seconds)
    behind = dict.fromkeys(seconds, 0.0)
    for task in reversed(list(seconds)):
        lengths[task] += behind[task]
        for needed in after[task]:
            if needed in behind:
                behind[needed] = max(behind[needed], lengths[task])
    return lengths


def critical_path(seconds: Mapping[str, float], after: Mapping[str, Collection[str]]) -> list[str]:
    """Return the tasks of the longest path in their order; of several, the first one. As in :func:`path_lengths`."""
    lengths = path_lengths(seconds, after)
    path: list[str] = []
    open_tasks = [task for task in seconds if not lengths.keys() & set(after[task])]
    while open_tasks:
        path.append(max(open_tasks, key=lambda task: lengths[task]))  # of equals the first
        open_tasks = [task for task in seconds if path[-1] in after[task]]
    return path


def makespan(seconds: Mapping[str, float], after: Mapping[str, Collection[str]], workers: int) -> float:
    """Return the seconds from the start of the first task to the end of the last one.

    Whenever a worker is free it takes, of the tasks that wait for no other, the one with the longest path.

    Args:
        seconds: As in :func:`path_lengths`.
        after: Likewise.
        workers: Tasks that run at a time, at least 1.
    """
    lengths, order = path_lengths(seconds, after), {task: number for number, task in enumerate(seconds)}
    needs = {task: seconds.keys() & set(after[task]) for task in seconds}
    ready = [(-lengths[task], order[task], task) for task in seconds if not needs[task]]
    heapq.heapify(ready)
    running: list[tuple[float, int, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            task = heapq.heappop(ready)[2]
            heapq.heappush(running, (now + seconds[task], order[task], task))
        now, _, done = heapq.heappop(running)
        for task, left in needs.items():
            if done in left:
                left.discard(done)
                if not left:
                    heapq.heappush(ready, (-lengths[task], order[task], task))
    return now
