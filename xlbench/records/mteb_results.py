"""Scores of others in a results repository or cache of MTEB, as rows for a board."""

from __future__ import annotations

import json
import os
import re
import subprocess
import warnings
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from xlbench.errors import XlbenchError, first_line, nearest
from xlbench.experiment import task_of
from xlbench.records.published import PublishedRow, same_data
from xlbench.records.record import run_git
from xlbench.scoring.quiet import kept_random_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xlbench.scoring.scores import TaskScores

META = "model_meta.json"
PLACES = (
    "results",
    "remote/results",
    ".",
)  # of results: in a repository or cache, in a cache's clone of it, right here
DIGITS = 4  # decimals of a point
CACHE = "a results cache of MTEB"  # where no repository is named


def default_cache() -> Path:
    """Return where MTEB keeps its cache: ``MTEB_CACHE``, else ``~/.cache/mteb``."""
    return Path(os.environ.get("MTEB_CACHE") or Path.home() / ".cache" / "mteb")


def revisions_of(model: str, cache: Path) -> list[Path]:
    """Return the directories with results of a model, one for each of its revisions; none where there are none.

    Args:
        model: Its name on the hub.
        cache: A results repository or cache of MTEB.
    """
    folder = model.replace("/", "__").replace(" ", "_")
    return [
        path
        for place in PLACES
        for path in sorted((cache / place / folder).glob("*"))
        if path.is_dir() and any(file.name != META for file in path.glob("*.json"))
    ]


def known_models(cache: Path) -> set[str]:
    """Return the names of the models with results in a repository or cache."""
    folders = [folder for place in PLACES for folder in (cache / place).glob("*__*")]
    return {folder.name.replace("__", "/") for folder in folders if folder.is_dir()}


def check_results(model: str, cache: Path, revision: str | None) -> list[Path]:
    """Return the directories with results of a model, of one revision if it is given.

    Raises:
        XlbenchError: There are none.
    """
    found = revisions_of(model, cache)
    if not found:
        raise XlbenchError(f"There are no results of '{model}' in '{cache}'.", nearest(model, known_models(cache)))
    chosen = [path for path in found if revision in {None, path.name}]
    if not chosen:
        problem = f"There are no results of '{model}' at revision '{revision}' in '{cache}'."
        raise XlbenchError(problem, nearest(revision or "", {path.name for path in found}))
    return chosen


def results_row(
    model: str, tasks: Mapping[str, TaskScores], cache: Path, *, revision: str | None = None
) -> PublishedRow:
    """Return a model's results on the subsets that a board's records are scored on.

    They are read by MTEB's own loader. A task is left out if its results are of other data. Of several revisions of the
    model, the one with results on most of the subsets is taken, and of those the first by name.

    Args:
        model: Its name on the hub.
        tasks: The tasks of the board's records.
        cache: A results repository or cache of MTEB.
        revision: Of the model.

    Raises:
        XlbenchError: There are no results, none on these subsets and this data, or MTEB cannot read them.
    """
    read = {path: dict(_scores(path, tasks)) for path in check_results(model, cache, revision)}
    path, scores = max(read.items(), key=lambda it: sum(map(len, it[1].values())))
    if not scores:
        raise XlbenchError(
            f"The results of '{model}' in '{cache}' are on other subsets or other data than this board's.",
            "Leave the [[mteb]] row out.",
        )
    citation, commit = _origin(cache, path)
    return PublishedRow(name=model, citation=citation, commit=commit, scores=scores, parameters=_parameters(path))


def _scores(path: Path, tasks: Mapping[str, TaskScores]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the main scores x 100 by subset of each task that a revision has results on."""
    for task, own in tasks.items():
        if not (file := path / f"{task_of(task)}.json").is_file():
            continue
        with kept_random_state(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about results of old versions
            from mteb import TaskResult

            try:
                result = TaskResult.from_disk(file)
            except Exception as error:  # of another library, about its own format
                raise XlbenchError(
                    f"MTEB cannot read '{file}': {first_line(error)}", "Delete it, or leave the [[mteb]] row out."
                ) from error
        found = {
            str(row["hf_subset"]): round(100 * float(row["main_score"]), DIGITS)
            for row in result.scores.get(own.split, ())
            if _is_defined(row.get("main_score")) and row["hf_subset"] in own.subsets
        }
        if found and same_data(own.data, result.dataset_revision):
            yield task, found


def _is_defined(score: object) -> bool:
    return isinstance(score, int | float) and isfinite(score)


def _parameters(path: Path) -> int | None:
    try:
        found = json.loads((path / META).read_text("utf-8"))["n_parameters"]
    except (OSError, ValueError, KeyError, TypeError):  # results from before MTEB wrote it
        return None
    return int(found) if isinstance(found, int | float) else None


def _origin(cache: Path, path: Path) -> tuple[str, str]:
    """Return which repository results are from and its commit; of a directory that is none, the model's revision."""
    for root in (cache, cache / "remote"):
        if not path.is_relative_to(root) or not (root / ".git").exists():
            continue
        url, commit = _git(root, "config", "--get", "remote.origin.url"), _git(root, "rev-parse", "HEAD")
        if url and commit:
            return re.sub(r"^\w+://|^git@|\.git$", "", url), commit
    return CACHE, f"revision {path.name}"


def _git(root: Path, *words: str) -> str:
    """Return what git prints; nothing where it cannot say."""
    try:
        return run_git(root, *words)
    except (OSError, subprocess.SubprocessError):
        return ""
