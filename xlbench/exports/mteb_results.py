"""The scores of a run as the files that MTEB's results repository takes: a result for each task, and model metadata."""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from xlbench._version import __version__
from xlbench.errors import XlbenchError, first_line
from xlbench.experiment import task_of
from xlbench.exports.directory import new_directory
from xlbench.exports.exported import ResultFiles
from xlbench.scoring.quiet import kept_random_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mteb.abstasks import AbsTask
    from mteb.models import ModelMeta

    from xlbench.records.record import Record
    from xlbench.scoring.scores import SuiteScores, TaskScores

META = "model_meta.json"
ORGANIZATION = "xlbench"  # of the names of encoders that have none: MTEB's are 'organization/name'
SHOWN = 3  # subsets that a note names
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def export_results(record: Record, target: Path) -> ResultFiles:
    """Write the scores of a record as MTEB's result files, whole or not at all, and read them with MTEB's loader.

    The layout is that of github.com/embeddings-benchmark/results: ``results/ORGANIZATION__NAME/REVISION/TASK.json``.

    Args:
        record: Of any encoder.
        target: The directory to make.

    Raises:
        XlbenchError: The target exists, no task of the record is MTEB's, MTEB does not read what is written, or the
            disk is full.
    """
    with kept_random_state():
        import mteb

        meta = _model_meta(record)
        notes: list[str] = []
        found: dict[str, AbsTask] = {}
        own = {ref.task for ref in record.experiment.suite.tasks if ref.loader} if record.experiment else set()
        scored = _by_task(record.scores)
        for name in scored:
            with suppress(KeyError):  # a task that a plugin brings
                if name not in own:
                    found[name] = mteb.get_task(name)
    if left := [name for name in scored if name not in found]:
        notes.append(f"left out, since MTEB has no task of that name: {', '.join(left)}")
    if not found:
        raise XlbenchError(
            f"'{record.name}' was scored on suite '{record.scores.suite}', none of whose tasks is MTEB's.",
            "Score it on another suite, e.g. `xlbench score ENCODER --suite mteb:STS17`.",
        )
    assert meta.name is not None
    assert meta.revision is not None
    with new_directory(target, what="the results") as directory:
        folder = directory / "results" / meta.model_name_as_path() / meta.revision
        folder.mkdir(parents=True)
        for name, task in found.items():
            notes += _write_task(folder / f"{name}.json", task, scored[name], record)
        _write_meta(folder / META, meta)
        _check(directory, meta, tuple(found))
        made = ResultFiles(target, meta.name, meta.revision, tuple(found), tuple(notes))
        (directory / "README.md").write_text(_readme(record, made), "utf-8")
    return made


def _by_task(scores: SuiteScores) -> dict[str, TaskScores]:
    """Return scores by MTEB's names of the tasks: a suite may have a task's other languages apart."""
    found: dict[str, TaskScores] = {}
    for name, own in scores.tasks.items():
        before = found.get(task_of(name))
        subsets = {**before.subsets, **own.subsets} if before else own.subsets
        found[task_of(name)] = own.model_copy(update={"subsets": subsets})
    return found


def _write_task(path: Path, task: AbsTask, scores: TaskScores, record: Record) -> Iterator[str]:
    """Write the result of one task; yield what it lacks."""
    from mteb import TaskResult

    version = record.scores.mteb_version
    languages = task.metadata.hf_subsets_to_langscripts
    rows = [
        {
            **{name: value / 100 for name, value in cell.metrics.items()},
            "main_score": cell.main / 100,
            "hf_subset": subset,
            "languages": languages[subset],
            "mteb_version": version,
        }
        for subset, cell in scores.subsets.items()
        if cell.main is not None
    ]
    revision, note = _data_revision(task, scores)
    TaskResult(
        dataset_revision=revision,
        task_name=task.metadata.name,
        mteb_version=version,
        scores={scores.split: rows},
        evaluation_time=None,  # of all tasks together, their distinct sentences are encoded once
        date=datetime.fromisoformat(record.provenance.made),
    ).to_disk(path)
    yield from _missing(task, scores)
    yield from note


def _missing(task: AbsTask, scores: TaskScores) -> Iterator[str]:
    name, there = task.metadata.name, {subset for subset, cell in scores.subsets.items() if cell.main is not None}
    every = list(task.metadata.hf_subsets)
    if missing := [subset for subset in every if subset not in there]:
        shown = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else "")
        yield f"{name} is covered in part: {len(there)} of {len(every)} subsets, without {shown}"
    if splits := [split for split in task.metadata.eval_splits if split != scores.split]:
        yield f"{name} is covered in part: split {scores.split}, without {', '.join(splits)}"


def _data_revision(task: AbsTask, scores: TaskScores) -> tuple[str, list[str]]:
    """Return the commit of the data; of a local copy, which has none, the digest of its files, and a note of that."""
    name, at, revision = scores.data.rpartition("@")
    if at and name == task.metadata.dataset["path"]:
        return revision, []
    if not scores.data.startswith("sha256:"):  # of a task that declares its data in no literal
        return str(task.metadata.dataset["revision"]), []
    note = f"{task.metadata.name} was read from a local copy: its files' digest stands for the commit, which is unknown"
    return scores.data, [note]


def _model_meta(record: Record) -> ModelMeta:
    """Return MTEB's metadata of an encoder; what a record does not know is None.

    Active parameters are what MTEB takes them for: all but those of the embedding layer. A layer that runs several
    times counts once.
    """
    from mteb.models import ModelMeta

    size, experiment = record.footprint, record.experiment
    trained = record.role in {"student", "aligned"} and experiment is not None
    return ModelMeta(
        loader=None,
        name=_model_name(record),
        revision=_model_revision(record),
        release_date=record.provenance.made[:10],
        languages=_languages(record) if trained else None,
        n_parameters=size.parameters,
        n_embedding_parameters=size.embedding_parameters,
        memory_usage_mb=None if size.weight_bytes is None else size.weight_bytes / 2**20,
        max_tokens=None,
        embed_dim=size.dimension,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["Sentence Transformers"],
        similarity_fn_name="cosine",
        use_instructions=None,
        training_datasets=None,
        adapted_from=experiment.assistant.name if trained and experiment else None,
    )


def _model_name(record: Record) -> str:
    """Return 'organization/name': that of the hub where it is one."""
    name = record.name
    if record.role == "student" and record.experiment is not None:
        name = f"{record.experiment.method}-{name.removeprefix(f'{record.experiment.method}/')}"
    elif _HUB_NAME.fullmatch(name):
        return name
    return f"{ORGANIZATION}/{re.sub(r'[^A-Za-z0-9.]+', '-', name).strip('-.') or 'encoder'}"


def _model_revision(record: Record) -> str:
    given = (record.experiment.assistant, *record.experiment.teachers) if record.experiment else ()
    commits = [ref.revision for ref in given if ref.fingerprint == record.encoder_key and ref.revision]
    return commits[0] if commits else re.sub(r"[^A-Za-z0-9.]+", "-", record.encoder_key)


def _languages(record: Record) -> list[str]:
    """Return the languages of the training data as MTEB writes them, 'deu-Latn'; those that it does not know are left.

    The script is the likely one of CLDR.
    """
    import langcodes
    from mteb.languages import check_language_code

    found: list[str] = []
    for code in ("en", *(record.experiment.data.languages if record.experiment else ())):
        with suppress(LookupError, ValueError):
            language = langcodes.Language.get(code)
            written = f"{language.to_alpha3()}-{language.maximize().script}"
            check_language_code(written)
            found.append(written)
    return found


def _write_meta(path: Path, meta: ModelMeta) -> None:
    import json

    path.write_text(json.dumps(meta.to_dict(), default=str, indent=4) + "\n", "utf-8")


def _check(directory: Path, meta: ModelMeta, tasks: tuple[str, ...]) -> None:
    """Read everything with MTEB's own loader.

    Raises:
        XlbenchError: It reads something else.
    """
    import mteb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the loader warns of a key that MTEB itself writes
        try:
            results = mteb.ResultCache(directory).load_results(include_remote=False)
        except Exception as error:  # of another library, about its own format
            raise _unread(first_line(error)) from error
    read = {(it.model_name, it.model_revision): {one.task_name for one in it.task_results} for it in results}
    if read != {(meta.name, meta.revision): set(tasks)}:
        raise _unread(f"it finds {read}")


def _unread(why: str) -> XlbenchError:
    return XlbenchError(f"MTEB's loader does not read the results that were written for it: {why}", "Report this.")


def _readme(record: Record, made: ResultFiles) -> str:
    notes = "".join(f"- {note}.\n" for note in made.notes) or "- Every task is covered in full.\n"
    return f"""\
# Results of {made.model}

Scores of '{record.name}' on suite '{record.scores.suite}', computed by the tasks of mteb {record.scores.mteb_version}.
Made with `xlbench export --to mteb-results`, xlbench {__version__}.

```python
import mteb

print(mteb.ResultCache("DIRECTORY").load_results().to_dataframe())
```

`results/` is laid out as in github.com/embeddings-benchmark/results. Under another name, rename the directory and the
`name` in `{META}`.

{notes}"""
