"""The functions of ``import xlbench``: everything that the command line does, in as few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from xlbench.errors import XlbenchError, nearest
from xlbench.plugins.registry import load_registry
from xlbench.runs.request import Request, make_request, read_toml
from xlbench.runs.results import Results, Student, run_request
from xlbench.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from xlbench.boards.leaderboard import Leaderboard
    from xlbench.distill.method import Scalar
    from xlbench.experiment import Precision, StudentSpec
    from xlbench.exports.exported import Exported
    from xlbench.inventory import Store
    from xlbench.plugins.registry import Registry
    from xlbench.records.stored import StoredRecord
    from xlbench.runs.compare import Comparison
    from xlbench.runs.status import Status
    from xlbench.settings import Settings

    Run = str | Path | Student | Results | StoredRecord
    Say = Callable[[str], None]

Names = str | Sequence[str]


class Where(TypedDict, total=False):
    """Where things are on this machine and how to run on it; each as on the command line.

    Attributes:
        home: The store [XLBENCH_HOME, ~/.cache/xlbench].
        data_root: Local copies of hub data and models [XLBENCH_DATA].
        offline: Never ask the hub [HF_HUB_OFFLINE].
        device: 'cpu', 'cuda' or 'mps'; chosen by what is there if not given.
        compile: Compile training; chosen likewise.
        threads: Threads for torch.
        plugin: Plugins as single files.
        quiet: No progress bars and no notes.
    """

    home: str | Path | None
    data_root: str | Path | None
    offline: bool
    device: str | None
    compile: bool | None
    threads: int | None
    plugin: str | Path | Sequence[str | Path]
    quiet: bool


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
        suite: What is scored.
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
        save: Copy the student into this new directory.
        speed: Whether speed is measured for new records.
        say: Told what is made and what comes from the store.
        where: As :class:`Where` says.

    Raises:
        XlbenchError: Anything that the caller can fix, with the text that the command line shows.
    """
    given = {name: value for name, value in locals().items() if name in Request.model_fields and value is not None}
    request = request_of(config, given)
    return run_request_in(request, where, save=save, speed=speed, say=say)


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
        suite: What is scored.
        precision: What the encoder computes in; 'auto': what the device is good at.
        items: Also write item-level scores to this Parquet file.
        against: Also measure its speed, in turns with this encoder.
        where: As :class:`Where` says.

    Raises:
        XlbenchError: A name is unknown, the encoder cannot be loaded, or the suite's data is missing.
    """
    from xlbench.runs.score import score_encoder

    settings, registry = place(where)
    other = None if against is None else str(against)
    results = score_encoder(str(model), suite, precision, registry, settings, against=other)
    if items is not None:
        from xlbench.records.stored import items_of
        from xlbench.scoring.items import write_items

        write_items(Path(items), items_of(results.stored[0], settings))
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

    settings, registry = place(where)
    one, two = run_reference(_reference(first)), run_reference(_reference(second))
    return compare_runs(one, two, registry, settings, examples=examples)


def export(
    run: Run,
    to: str,
    directory: str | Path,
    *,
    force: bool = False,
    say: Say = lambda _: None,
    **where: Unpack[Where],
) -> Exported:
    """Export a student into a new directory, for use without xlbench.

    Args:
        run: A student, as :func:`compare` takes it, or the directory of an encoder.
        to: 'stock', a plain SentenceTransformer directory; 'onnx', one file from token ids to the sentence vector;
            'onnx-int8', the same computed in integers.
        directory: The directory to make.
        force: Keep an export that loses more than its format's bound.
        say: Told when the corpus is gone and other sentences are measured on.
        where: As :class:`Where` says.

    Returns:
        Its size, and what it lost.

    Raises:
        XlbenchError: There is no such run, the directory exists, a package is missing, the format cannot hold this
            encoder, or the export loses more than its format's bound.
    """
    from xlbench.boards.reference import run_reference
    from xlbench.runs.export import export as export_run

    settings, registry = place(where)
    reference = run_reference(_reference(run))
    return export_run(reference, to, Path(directory), registry, settings, force=force, say=say)


def leaderboard(name: str | Path, **where: Unpack[Where]) -> Leaderboard:
    """Open a board: its rows as frames, its table and pages; ``.run()`` adds missing rows.

    Args:
        name: Of a board under ./leaderboards or one that ships with xlbench, or the path of a TOML file.
        where: As :class:`Where` says.

    Raises:
        XlbenchError: There is no such board, or it is not valid.
    """
    from xlbench.boards.board import find_board
    from xlbench.boards.leaderboard import Leaderboard

    settings, registry = place(where)
    return Leaderboard(find_board(str(name)), registry, settings)


def open_store(**where: Unpack[Where]) -> Store:
    """Open the store: what it holds and who needs it; to verify, prune, export to a file and import from one.

    Args:
        where: As :class:`Where` says.
    """
    from xlbench.inventory import Store

    return Store(place_of(where))


def status(**where: Unpack[Where]) -> list[Status]:
    """Return what runs with a store just now, on this machine or another: stage, loss, steps, time left.

    Args:
        where: As :class:`Where` says.
    """
    from xlbench.runs.status import read_status

    return read_status(place_of(where).home)


def request_of(config: str | Path | None, given: Mapping[str, object]) -> Request:
    """Return a request from a TOML file and what replaces its settings; options are joined, one by one.

    Raises:
        XlbenchError: The file cannot be read, or a setting is unknown or of the wrong kind.
    """
    settings = read_toml(Path(config)) if config is not None else {}
    for name, value in given.items():
        if name == "options" and isinstance(value, Mapping):
            before = settings.get("options", {})
            settings["options"] = {**(before if isinstance(before, Mapping) else {}), **value}
        elif name in {"teacher", "corpus", "languages", "keep_out"}:
            settings[name] = (value,) if isinstance(value, str) else value
        elif name == "seeds":
            settings[name] = (value,) if isinstance(value, int) else value
        elif name == "vocabulary_text":
            settings[name] = str(value)
        else:
            settings[name] = value
    return make_request(settings)


def run_request_in(
    request: Request, where: Where, *, save: str | Path | None = None, speed: bool = True, say: Say = lambda _: None
) -> Results:
    """Run a request as :func:`run` does.

    Raises:
        XlbenchError: Anything that the caller can fix.
    """
    if save is not None:
        if len(request.seeds) > 1:
            problem = f"--save takes one student, and {len(request.seeds)} seeds make as many."
            raise XlbenchError(problem, "Give one seed, or save each of results.students.")
        if Path(save).exists():
            raise XlbenchError(f"'{save}' is there already.", "Name another directory, or delete this one.")
    settings, registry = place(where)
    if not speed:
        settings = settings.model_copy(update={"speed_rounds": 0})
    results = run_request(request, registry, settings, say, with_students=save is not None)
    if save is not None:
        results.student.save(save)
    return results


def place(where: Where) -> tuple[Settings, Registry]:
    """Return the settings and the plugins that keyword arguments ask for.

    Raises:
        XlbenchError: An argument is unknown, the data root is no directory, or a plugin file cannot be used.
    """
    for name in where:
        if name not in Where.__annotations__:
            valid = [*Where.__annotations__, *Request.model_fields]
            raise XlbenchError(f"Unknown argument '{name}'.", nearest(name, valid))
    plugin = where.get("plugin") or ()
    files = tuple(Path(file) for file in ((plugin,) if isinstance(plugin, str | Path) else plugin))
    return place_of(where), load_registry(files)


def place_of(where: Where) -> Settings:
    """Return the settings that keyword arguments ask for.

    Raises:
        XlbenchError: The data root is no directory.
    """
    home, data_root = where.get("home"), where.get("data_root")
    return read_settings(
        Path(home) if home is not None else None,
        Path(data_root) if data_root is not None else None,
        offline=where.get("offline", False),
        device=where.get("device"),
        compile_training=where.get("compile"),
        threads=where.get("threads"),
        quiet=where.get("quiet", False),
    )


def _reference(run: Run) -> str:
    """Return what names a run in the store.

    Raises:
        XlbenchError: Results hold no single run to compare.
    """
    if isinstance(run, str | Path):
        return str(run)
    if isinstance(run, Results):
        candidates = [it for it in run.stored if it.record.role == "student"] or list(run.stored)
        if len(candidates) != 1:
            raise XlbenchError(
                f"These results hold {len(candidates)} runs, where one is wanted.",
                "Give one of results.students, or one of results.stored.",
            )
        return candidates[0].key
    return run.key
