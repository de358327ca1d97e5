"""A suite of MTEB's own tasks: which of their subsets and splits are scored, and what is left out."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from xlbench.corpora.languages import ENGLISH, base
from xlbench.errors import XlbenchError, nearest
from xlbench.experiment import Suite, TaskRef
from xlbench.scoring.mteb_names import TYPES, unknown_name, wrong_type
from xlbench.scoring.quiet import kept_random_state
from xlbench.scoring.scores import MAIN_METRIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mteb.abstasks import AbsTask
    from mteb.benchmarks.benchmark import Benchmark

    from xlbench.scoring.mteb_names import Asked

TEST = "test"
SHOWN = 3  # tasks of a type that are named


class Expanded(NamedTuple):
    """A suite, and a line for each thing that a reader of its scores must know."""

    suite: Suite
    notes: tuple[str, ...]


@cache
def expand(asked: Asked) -> Expanded:
    """Look the tasks up in MTEB.

    A subset is kept if all its languages are asked for or English, and one is asked for: English alone counts if it is
    asked for. Of a task with several splits ``test`` is scored, else the last.

    Raises:
        XlbenchError: There is no such task, benchmark or language, or nothing is left.
    """
    with kept_random_state():
        given, others = _find_tasks(asked)
    notes = [f"Suite {asked} leaves out what is neither STS nor BitextMining: {_by_type(others)}."] if others else []
    refs: list[TaskRef] = []
    without: list[str] = []
    splits: list[str] = []
    languages: set[str] = set()
    for name, (task, subsets) in given.items():
        of_subset = {subset: _languages(task, subset) for subset in subsets}
        languages.update(*of_subset.values())
        kept = tuple(it for it in subsets if not asked.languages or _is_kept(of_subset[it], asked.languages))
        if not kept:
            without.append(name)
            continue
        split = TEST if TEST in task.eval_splits else task.eval_splits[-1]
        if len(task.eval_splits) > 1:
            splits.append(f"{name} ({', '.join(it for it in task.eval_splits if it != split)})")
        refs.append(TaskRef(task=name, family=TYPES[task.metadata.type], subsets=kept, split=split))
    for code in asked.languages:
        if code not in languages:
            raise XlbenchError(f"No task of suite '{asked}' has language '{code}'.", nearest(code, languages))
    if not refs:
        left = ", ".join(asked.languages)
        raise XlbenchError(f"No subset of suite '{asked}' is in {left} and English alone.", "Name more languages.")
    if without:
        notes.append(f"Suite {asked} leaves out tasks without a subset in these languages: {', '.join(without)}.")
    if splits:
        notes.append(f"Suite {asked} scores one split of a task; MTEB averages over others too: {', '.join(splits)}.")
    counts = [(sum(ref.family == family for ref in refs), kind) for kind, family in TYPES.items()]
    summary = "MTEB's own tasks: " + ", ".join(f"{count} {kind}" for count, kind in counts if count)
    return Expanded(Suite(name=str(asked), summary=summary, tasks=tuple(refs)), tuple(notes))


def _find_tasks(asked: Asked) -> tuple[dict[str, tuple[AbsTask, Sequence[str]]], dict[str, list[str]]]:
    """Return the tasks that are scored, each with its subsets, by name; and the names of other tasks by their type."""
    import mteb

    benchmarks = _benchmarks()
    given: dict[str, tuple[AbsTask, Sequence[str]]] = {}
    others: dict[str, list[str]] = {}
    for name in asked.names:
        if (benchmark := benchmarks.get(name)) is not None:
            tasks: Iterable[AbsTask] = benchmark.tasks
        else:
            try:
                tasks = [mteb.get_task(name)]
            except KeyError:
                scored = mteb.get_tasks(task_types=["STS", "BitextMining"], exclude_superseded=False)
                raise unknown_name(name, {**benchmarks, **{it.metadata.name: it for it in scored}}) from None
        for task in tasks:
            if (why := _obstacle(task)) is None:
                before = given.get(task.metadata.name, (task, ()))[1]
                every = {*before, *task.hf_subsets}
                # In the order of the metadata: subsets may come in any other.
                given[task.metadata.name] = (task, [it for it in task.metadata.hf_subsets if it in every])
            elif benchmark is None:
                raise wrong_type(name, why)
            else:
                others.setdefault(why, []).append(task.metadata.name)
    if not given:
        raise XlbenchError(
            f"'{', '.join(asked.names)}' has no task that xlbench scores, only {_by_type(others)}.",
            "Name a benchmark with STS or BitextMining.",
        )
    return given, others


def _benchmarks() -> dict[str, Benchmark]:
    """Return MTEB's benchmarks by their names and other names."""
    import mteb

    found: dict[str, Benchmark] = {}
    for benchmark in mteb.get_benchmarks():
        for name in (benchmark.name, *(benchmark.aliases or ())):
            found.setdefault(name, benchmark)
    return found


def _obstacle(task: AbsTask) -> str | None:
    """Return the kind of a task that cannot be scored item by item; None for one that can.

    It is a task of another type, of images or sounds, or one whose main score is not of sentence pairs, such as that of
    StakeholderGrounding, of triplets.
    """
    metadata = task.metadata
    family = TYPES.get(metadata.type)
    if family is None or list(metadata.modalities) != ["text"]:
        return str(metadata.type)
    main = MAIN_METRIC[family]
    return None if metadata.main_score == main else f"{metadata.type} by {metadata.main_score} instead of {main}"


def _languages(task: AbsTask, subset: str) -> frozenset[str]:
    return frozenset(_code(script) for script in task.metadata.hf_subsets_to_langscripts[subset])


@cache
def _code(language_and_script: str) -> str:
    """Return 'de' for 'deu-Latn'."""
    return base(language_and_script.partition("-")[0])


def _is_kept(languages: frozenset[str], asked: Sequence[str]) -> bool:
    return not languages.isdisjoint(asked) and languages <= {*asked, ENGLISH}


def _by_type(tasks: dict[str, list[str]]) -> str:
    shown = []
    for kind, names in tasks.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        shown.append(f"{kind} ({', '.join(names[:SHOWN])}{more})")
    return "; ".join(shown)
