"""The functions of ``import xlbench`` about runs: what the command line does, in as few lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Unpack, overload

from pydantic import Field

from xlbench.arguments import Text, Where, place, refuse_unknown, request_of
from xlbench.disk import answered
from xlbench.errors import XlbenchError, look_up
from xlbench.experiment import Precision
from xlbench.exports.directory import place_to_save
from xlbench.fingerprint import Frozen, Json
from xlbench.launch import leads
from xlbench.plugins.guard import plugin_errors
from xlbench.runs.prefill import choose_engine
from xlbench.runs.request import Request
from xlbench.runs.results import Results, Run, run_key, run_request
from xlbench.settings import new_path
from xlbench.validation import validated

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.distill.method import Scalar
    from xlbench.experiment import StudentSpec
    from xlbench.exports.exported import Exported, ResultFiles
    from xlbench.runs.compare import Comparison

    Say = Callable[[str], None]

Names = str | Sequence[str]
MOST_EXAMPLES = 10_000  # sentence pairs of a task


class _Heard(Frozen):
    say: Callable[[str], None]


class _Running(_Heard):
    speed: bool
    engine: Text | None
    engine_options: dict[str, Json]


class _Scoring(Frozen):
    model: Text
    suite: Text
    precision: Precision | Literal["auto"]
    against: Text | None


class _Exporting(_Heard):
    to: Text
    force: bool


class _Examples(Frozen):
    examples: int = Field(ge=0, le=MOST_EXAMPLES)


def run(
    *,
    config: str | Path | None = None,
    method: str | None = None,
    student: str | StudentSpec | Mapping[str, object] | None = None,
    bits: Literal[8, 16, 32] | None = None,
    teacher: Names | None = None,
    assistant: str | None = None,
    corpus: Names | None = None,
    languages: Names | None = None,
    suite: str | None = None,
    keep_out: Names | None = None,
    budget: str | None = None,
    pairs_per_language: int | None = None,
    assistant_pairs: int | None = None,
    student_pairs: int | None = None,
    seeds: int | Sequence[int] | None = None,
    precision: Precision | Literal["auto"] | None = None,
    preset: str | None = None,
    options: Mapping[str, Scalar] | None = None,
    vocabulary_text: str | Path | None = None,
    save: str | Path | None = None,
    speed: bool = True,
    engine: str | None = None,
    engine_config: str | Path | None = None,
    engine_options: Mapping[str, Json] | None = None,
    say: Say = lambda _: None,
    **where: Unpack[Where],
) -> Results:
    """Distil a student, score it beside its teacher and assistant, and record it.

    A second run of the same settings takes everything from the store; one that was killed resumes. What is not given
    has the default that ``xlbench run --help`` names.

    Args:
        config: A TOML file of settings; what is given here replaces what it says.
        method: Which method trains the student.
        student: How the student is cut: a name, a TOML file, 'B=128,K=6,R=2', a table or a StudentSpec.
        bits: Of a saved weight: 32, 16 or 8.
        teacher: Who teaches; 'assistant' is the assistant's own English side, further teachers join the matrix term.
        assistant: The multilingual encoder that is cut: a registered name, a directory or org/name on the hub.
        corpus: Where parallel pairs are read from: 'starter', 'tsv:PATH', 'parquet:PATH', 'hub:ORG/NAME', or several.
        languages: ISO 639-1 codes of the other sides to use; none given: all of the corpora's.
        suite: What is scored: a registered name, or MTEB's tasks, 'mteb:STS17,BUCC.v2?languages=de,fr'.
        keep_out: Further suites whose sentences no training pair may contain.
        budget: How much data and training.
        pairs_per_language: Replaces the budget's.
        assistant_pairs: Replaces the budget's.
        student_pairs: Replaces the budget's.
        seeds: Of everything random: the student is trained once with each.
        precision: What encoders compute in; 'auto': what the device is good at.
        preset: A named set of the method's options to begin with.
        options: The method's options, over the preset's.
        vocabulary_text: A text file whose tokens a trimmed vocabulary keeps, beside those of the corpus.
        save: Copy the student into this new directory; one that holds this very student already is left as it is.
        speed: Whether speed is measured for new records.
        engine: Where stages, scorings and exports run: 'local', 'ray', 'slurm', or one of a plugin.
        engine_config: A TOML file of the engine's options.
        engine_options: The engine's options, over the file's.
        say: Told what is made and what comes from the store.
        where: As :class:`Where` says.

    Raises:
        XlbenchError: Anything that the caller can fix, with the text that the command line shows.
    """
    given = {name: value for name, value in locals().items() if name in Request.model_fields and value is not None}
    refuse_unknown(run, where)
    with answered():
        request = request_of(config, given)
        return run_request_in(
            request,
            where,
            save=save,
            speed=speed,
            engine=engine,
            engine_config=engine_config,
            engine_options=engine_options,
            say=say,
        )


def score(
    model: str | Path,
    *,
    suite: str = "starter",
    precision: Precision | Literal["auto"] = "auto",
    items: str | Path | None = None,
    against: str | Path | None = None,
    **where: Unpack[Where],
) -> Results:
    """Score any encoder on a suite; the record is kept, so the second time it comes from the store.

    Args:
        model: A registered name, a directory (one that :func:`export` made too) or a hub id.
        suite: What is scored, as :func:`run` takes it.
        precision: What the encoder computes in; 'auto': what the device is good at.
        items: Also write item-level scores to this Parquet file.
        against: Also measure its speed, in turns with this encoder.
        where: As :class:`Where` says.

    Raises:
        XlbenchError: A name is unknown, the encoder cannot be loaded, or the suite's data is missing.
    """
    from xlbench.records.stored import items_of
    from xlbench.runs.score import score_encoder
    from xlbench.scoring.item_files import write_items

    refuse_unknown(score, where)
    given = {"model": model, "suite": suite, "precision": precision, "against": against}
    asked = validated(_Scoring, given, "argument")
    with answered():
        file = new_path(items, "items", over=True) if items is not None else None
        settings, registry = place(where)
        with plugin_errors(registry.files):
            results = score_encoder(
                asked.model, asked.suite, asked.precision, registry, settings, against=asked.against
            )
        if file is not None:
            write_items(file, items_of(results.stored[0], settings))
    return results


def compare(first: Run, second: Run, *, examples: int = 5, **where: Unpack[Where]) -> Comparison:
    """Compare two runs item by item: scores, paired differences with intervals, and where they disagree.

    Args:
        first: A student, results that hold one student or one scored encoder, the name of a run as boards show it, the
            first digits of its fingerprint, the path of a record, or the row of a board: 'headline:full-size'.
        second: Likewise.
        examples: How many sentence pairs to return for each task, those on which the two disagree most.
        where: As :class:`Where` says.

    Raises:
        XlbenchError: A run is not found, its items are gone, or the two were scored on different things.
    """
    from xlbench.boards.reference import run_reference
    from xlbench.runs.compare import compare as compare_runs

    refuse_unknown(compare, where)
    one, two = run_key(first, "first"), run_key(second, "second")
    shown = validated(_Examples, {"examples": examples}, "argument").examples
    with answered():
        settings, registry = place(where)
        return compare_runs(run_reference(one), run_reference(two), registry, settings, examples=shown)


@overload
def export(
    run: Run,
    to: Literal["stock", "onnx", "onnx-int8", "openvino-int8"],
    directory: str | Path,
    *,
    force: bool = False,
    say: Say = ...,
    **where: Unpack[Where],
) -> Exported: ...


@overload
def export(
    run: Run,
    to: Literal["mteb-results"],
    directory: str | Path,
    *,
    force: bool = False,
    say: Say = ...,
    **where: Unpack[Where],
) -> ResultFiles: ...


@overload
def export(
    run: Run, to: str, directory: str | Path, *, force: bool = False, say: Say = ..., **where: Unpack[Where]
) -> Exported | ResultFiles: ...


def export(
    run: Run,
    to: str,
    directory: str | Path,
    *,
    force: bool = False,
    say: Say = lambda _: None,
    **where: Unpack[Where],
) -> Exported | ResultFiles:
    """Export a student into a new directory, for use without xlbench; or its scores, for MTEB.

    Args:
        run: A student, as :func:`compare` takes it, or the directory of an encoder; for 'mteb-results' any run.
        to: 'stock', a plain SentenceTransformer directory; 'onnx', one file from token ids to the sentence vector;
            'onnx-int8', the same computed in integers; 'openvino-int8', that for OpenVINO; 'mteb-results', the scores
            as MTEB's result files.
        directory: The directory to make.
        force: Keep an export that loses more than its format's bound.
        say: Told when the corpus is gone and other sentences are measured on, and what result files lack.
        where: As :class:`Where` says.

    Returns:
        Its size, and what it lost; of scores, the tasks, and what the suite does not cover.

    Raises:
        XlbenchError: There is no such run, the directory exists, a package is missing, the format cannot hold this
            encoder, or the export loses more than its format's bound.
    """
    from xlbench.boards.reference import run_reference
    from xlbench.runs.export import export as export_run

    refuse_unknown(export, where)
    key = run_key(run, "run")
    asked = validated(_Exporting, {"to": to, "force": force, "say": say}, "argument")
    with answered():
        target = new_path(directory, "directory")
        settings, registry = place(where)
        return export_run(run_reference(key), asked.to, target, registry, settings, force=asked.force, say=asked.say)


def run_request_in(
    request: Request,
    where: Where,
    *,
    save: str | Path | None = None,
    speed: bool = True,
    engine: str | None = None,
    engine_config: str | Path | None = None,
    engine_options: Mapping[str, Json] | None = None,
    say: Say = lambda _: None,
) -> Results:
    """Run a request as :func:`run` does.

    Raises:
        XlbenchError: Anything that the caller can fix.
    """
    given = {"speed": speed, "engine": engine, "engine_options": engine_options or {}, "say": say}
    asked = validated(_Running, given, "argument")
    if save is not None and len(request.seeds) > 1:
        problem = f"--save takes one student, and {len(request.seeds)} seeds make as many."
        raise XlbenchError(problem, "Give one seed, or save each of results.students.")
    target = place_to_save(save, "save") if save is not None and leads() else None
    settings, registry = place(where)
    if not asked.speed:
        settings = settings.model_copy(update={"speed_rounds": 0})
    if target is not None and not look_up("method", request.method, registry.methods).student:
        problem = f"--save takes a student, and method '{request.method}' makes none."
        raise XlbenchError(problem, "Leave --save out, or name a method that makes one, e.g. multistage.")
    chosen = choose_engine(asked.engine, engine_config, asked.engine_options, registry)
    return run_request(request, registry, settings, say, save=target, engine=chosen)
