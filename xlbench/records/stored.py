"""Records in the store, each with its item-level scores: how they are written, read by key and found by name."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, NamedTuple

from xlbench.errors import XlbenchError, near_names, nearest
from xlbench.progress import note
from xlbench.records.predictions import read_predictions
from xlbench.records.record import FILE, ITEMS, KIND, Record, make_provenance, read_record
from xlbench.scoring.item_files import check_items, read_items
from xlbench.store import Damage, Entry, entry_path, examine, get_or_build, is_name, read_entry, require_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentence_transformers import SentenceTransformer

    from xlbench.corpora.facts import CorpusFacts
    from xlbench.distill.outcome import StageOutcome
    from xlbench.experiment import Experiment, Precision, Suite
    from xlbench.fingerprint import Json
    from xlbench.records.record import Role
    from xlbench.scoring.items import Items
    from xlbench.scoring.speed import Speed
    from xlbench.settings import Settings


class RunNotFoundError(XlbenchError):
    """No run in the store has this name.

    Attributes:
        misspelt: Whether one has a name that is spelt like it.
    """

    def __init__(self, problem: str, remedy: str = "", *, misspelt: bool = False) -> None:
        super().__init__(problem, remedy)
        self.misspelt = misspelt


class StoredRecord(NamedTuple):
    """A record and where it is stored.

    Attributes:
        record: The record.
        key: Key of its entry in the store, which also holds the item-level scores.
    """

    record: Record
    key: str


def saved_record(key: str, settings: Settings) -> StoredRecord | None:
    """Return the record that the store has under a key, verified with its items; None if it has none that can be used.

    One that is damaged, or that another version wrote, is made again by :func:`write_entry`.
    """
    entry = read_entry(settings.home, KIND, key)
    try:
        return StoredRecord(_checked(entry), key) if entry else None
    except XlbenchError:
        return None


def _checked(entry: Entry) -> Record:
    """Return the record in an entry of the store.

    Raises:
        XlbenchError: It, or its item-level scores, are missing or cannot be read, or do not belong together.
    """
    require_files(entry, FILE, ITEMS)
    record = read_record(entry.path / FILE)
    check_items(entry.path / ITEMS, record.scores)
    return record


def write_entry(
    key: str, settings: Settings, make: Callable[[Path], Record], measure: Callable[[], Speed] | None = None
) -> StoredRecord:
    """Return the record that the store has under a key; if there is none, compute and store it.

    Args:
        key: Of its entry.
        settings: Where the store is.
        make: Writes the items into the directory that it is given, and returns the record.
        measure: Measures the speed that a stored record lacks, whose scores are kept; None: nothing is added to it.

    Raises:
        XlbenchError: The disk is full or read-only.
    """

    def complete(entry: Entry) -> bool:
        return measure is None or read_record(entry.path / FILE).speed is not None

    def build(directory: Path) -> dict[str, Json]:
        old = saved_record(key, settings)
        if old is not None and measure is not None:
            copyfile(entry_path(settings.home, KIND, key) / ITEMS, directory / ITEMS)
            record = old.record.model_copy(update={"speed": measure()})
        else:
            record = make(directory)
        (directory / FILE).write_text(record.model_dump_json(indent=1, by_alias=True) + "\n", "utf-8")
        return {"name": record.name, "role": record.role}

    entry = get_or_build(
        settings.home,
        KIND,
        key,
        build,
        doing="scoring the same encoder",
        quiet=settings.quiet,
        check=_checked,
        complete=complete,
    )
    return StoredRecord(read_record(entry.path / FILE), key)


def make_record(
    model: SentenceTransformer,
    directory: Path,
    settings: Settings,
    *,
    name: str,
    role: Role,
    encoder_key: str,
    suite: Suite,
    precision: Precision,
    saved: Path | None = None,
    experiment: Experiment | None = None,
    stages: tuple[StageOutcome, ...] = (),
    corpus: CorpusFacts | None = None,
    speed: Callable[[], Speed] | None = None,
) -> Record:
    """Score an encoder and return its record.

    Args:
        model: The encoder, on the device that it runs on.
        directory: Of the record's entry in the store; the item-level scores are written into it.
        settings: Paths and switches.
        name: What boards call the row.
        role: The part that the encoder plays.
        encoder_key: Fingerprint of the encoder, or of the stage that produced it.
        suite: What it is scored on.
        precision: What it computes in.
        saved: The directory of its files; None: the one that it was loaded from.
        experiment: What was run; None for an encoder that was only scored.
        stages: The stages that the encoder rests on.
        corpus: What it was trained on.
        speed: Measures its speed, after the scoring; None: it is not measured.

    Raises:
        XlbenchError: The suite's data is missing, or the vectors are not finite.
    """
    from xlbench.encoders.modules import saved_directory
    from xlbench.scoring.footprint import measure_footprint
    from xlbench.scoring.harness import score
    from xlbench.scoring.item_files import write_items

    scored = score(model, suite, settings, precision=precision, title=f"scoring {name}")
    write_items(directory / ITEMS, scored.items)
    return Record(
        name=name,
        role=role,
        encoder_key=encoder_key,
        experiment=experiment,
        stages=stages,
        corpus=corpus,
        scores=scored.scores,
        footprint=measure_footprint(model, saved or saved_directory(model)),
        speed=speed() if speed else None,
        provenance=make_provenance(settings),
    )


SHORTEST = 4  # digits of a fingerprint that may stand for it
LISTED = 4  # runs that an ambiguous name lists


def find_run(reference: str, settings: Settings) -> StoredRecord:
    """Return a recorded run.

    Args:
        reference: Its name, 'minilm-half' or 'multistage/minilm-half'; the first digits of its fingerprint; or the
            path of a record, whose run is in the store (:mod:`xlbench.runs.restore`).
        settings: Where the store is.

    Raises:
        XlbenchError: There is no such run, or there are several.
    """
    kept = stored_records(settings)
    path = Path(reference)
    if path.suffix == ".json" or path.is_file():
        wanted = read_record(path)
        predicted = read_predictions(path)
        if predicted and (run := saved_record(predicted.key, settings)):
            return run
        found = [run for run in kept if run.record == wanted]
        if not found:
            raise XlbenchError(
                f"The run of record '{reference}' is not in the store in {settings.home}.",
                "Run it here first, or give --home; its board has no predictions of it.",
            )
        return found[-1]
    found = [run for run in kept if reference in _names(run.record)]
    if not found and len(reference) >= SHORTEST:
        found = [run for run in kept if run.key.startswith(reference)]
    if len(found) > 1:
        shown = ", ".join(f"{run.key[:8]} ({describe(run.record)})" for run in found[-LISTED:])
        raise XlbenchError(
            f"{len(found)} runs in the store are called '{reference}'.", f"Give the fingerprint of one: {shown}."
        )
    if not found:
        names = {name for run in kept for name in _names(run.record)}
        if path.is_dir():
            raise RunNotFoundError(
                f"'{reference}' is a directory, and no run in the store in {settings.home}.",
                f"Score its encoder first: `xlbench score {reference}`, in Python xlbench.score('{reference}').",
            )
        raise RunNotFoundError(
            f"No run in the store in {settings.home} is called '{reference}'.",
            nearest(reference, names),
            misspelt=bool(near_names(reference, names)),
        )
    return found[0]


def items_of(run: StoredRecord, settings: Settings) -> Items:
    """Return the item-level scores of a run.

    Raises:
        XlbenchError: They are missing or damaged.
    """
    found = examine(settings.home, KIND, run.key, only=(ITEMS,))
    if not isinstance(found, Entry):
        missing = f"Record {run.key} of '{run.record.name}' is no longer in the store in {settings.home}"
        raise XlbenchError(f"{found or missing}.", "Run or score it again: what is damaged or missing is made anew.")
    check_items(found.path / ITEMS, run.record.scores)
    return read_items(found.path / ITEMS)


def describe(record: Record) -> str:
    """Return a line that distinguishes a run from others of the same name."""
    made = record.provenance.made[:16].replace("T", " ")
    if record.experiment is None:
        return f"{record.role}, suite {record.scores.suite}, {made}"
    experiment = record.experiment
    return f"{experiment.method}, budget {experiment.budget.name}, seed {experiment.seed}, {made}"


def stored_records(settings: Settings) -> list[StoredRecord]:
    """Return all records of the store, oldest first; one that is damaged is named and left out."""
    runs = []
    for path in sorted((settings.home / KIND).glob("*")):
        found = _read_stored(path.name, settings)
        if isinstance(found, StoredRecord):
            runs.append(found)
        elif found is not None:
            note(f"{found}: left out; to run or score it again makes it anew", quiet=settings.quiet)
    return sorted(runs, key=lambda run: (run.record.provenance.made, run.record.name, run.key))


def _read_stored(key: str, settings: Settings) -> StoredRecord | Damage | None:
    if not is_name(KIND, key):
        return None
    found = examine(settings.home, KIND, key, only=(FILE,))
    try:
        return StoredRecord(read_record(found.path / FILE), key) if isinstance(found, Entry) else found
    except XlbenchError as error:
        return Damage(entry_path(settings.home, KIND, key), error.problem)


def _names(record: Record) -> set[str]:
    method = {f"{record.experiment.method}/{record.name}"} if record.experiment else set()
    return {record.name} | method
