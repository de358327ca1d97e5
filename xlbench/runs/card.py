"""The model card of a run's student: its record, intervals from its items, and what plugins say of the encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.encoders.find import find_directory
from xlbench.errors import XlbenchError
from xlbench.exports.card import CARD, about_export, use_of_export, use_of_saved
from xlbench.records.rows import rows_of
from xlbench.records.stored import StoredRecord, items_of
from xlbench.report.card import model_card
from xlbench.report.card_facts import CardFacts, EncoderNotes
from xlbench.runs.reproduce import command_of, without_paths

if TYPE_CHECKING:
    from pathlib import Path

    from xlbench.comparison.statistics import Statistics
    from xlbench.experiment import EncoderRef
    from xlbench.exports.exported import Exported
    from xlbench.exports.formats import Format
    from xlbench.plugins.registry import Registry
    from xlbench.records.record import Record
    from xlbench.settings import Settings


def card_of_saved(directory: Path, record: Record, key: str, registry: Registry, settings: Settings) -> str:
    """Return the card of a student that was copied out of the store.

    Args:
        directory: Of the copy.
        record: The student's.
        key: Of its record in the store, which has the scores of single items; empty where there is none.
        registry: What plugins say of its method and encoders.
        settings: Where the store is.
    """
    return model_card(_facts(record, key, registry, settings, use=use_of_saved(directory)))


def card_of_export(
    name: str,
    record: Record | None,
    key: str,
    registry: Registry,
    settings: Settings,
    exported: Exported,
    form: Format,
) -> str:
    """Return the card of an export.

    Args:
        name: What the card calls it.
        record: Of the student; None for an encoder that no run made.
        key: As in :func:`card_of_saved`.
        registry: Likewise.
        settings: Likewise.
        exported: What the export gave.
        form: Its format.
    """
    library = form.LIBRARY
    use, about = use_of_export(form), about_export(exported, form)
    if record is None:
        return model_card(CardFacts(name=f"{name}, {exported.format}", use=use, export=about, library=library))
    title = f"{record.name}, {exported.format}"
    return model_card(_facts(record, key, registry, settings, use=use, name=title, export=about, library=library))


def _facts(
    record: Record,
    key: str,
    registry: Registry,
    settings: Settings,
    *,
    use: str,
    name: str | None = None,
    export: str = "",
    library: str = "sentence-transformers",
) -> CardFacts:
    assert record.experiment is not None
    shown = without_paths(record)
    assert shown.experiment is not None
    method = registry.methods.get(record.experiment.method)
    given = (record.experiment.assistant, *record.experiment.teachers)
    named = (shown.experiment.assistant, *shown.experiment.teachers)
    return CardFacts(
        name=name or record.name,
        use=use,
        record=shown,
        statistics=_statistics(record, key, settings),
        method=method.summary if method else "",
        reference=method.reference if method else "",
        encoders={it.name: _notes(ref, registry, settings) for it, ref in zip(named, given, strict=True)},
        command=command_of(shown, registry),
        export=export,
        library=library,
    )


def _statistics(record: Record, key: str, settings: Settings) -> Statistics | None:
    """Return the intervals of a record's scores; None where the items that they rest on are gone."""
    from xlbench.comparison.compute import compute_statistics

    if not key:
        return None
    try:
        items = items_of(StoredRecord(record, key), settings)
    except XlbenchError:
        return None
    families = {task: scores.family for task, scores in record.scores.tasks.items()}
    return compute_statistics({rows_of([record])[0].name: [items]}, families, quiet=settings.quiet)


def _notes(ref: EncoderRef, registry: Registry, settings: Settings) -> EncoderNotes:
    """Return what a plugin says of an encoder, or the licence in the card that lies in its directory."""
    if ref.origin == "registered":
        known = registry.encoders.get(ref.name)
        return EncoderNotes(known.notes, known.license, known.published) if known else EncoderNotes()
    directory = find_directory(ref.name, settings) if ref.origin == "local" else settings.local("models", ref.name)
    published = "" if ref.origin == "local" else ref.name
    return EncoderNotes(license=_license(directory / CARD) if directory else "", published=published)


def _license(card: Path) -> str:
    """Return the licence in the front matter of a model card; empty without one."""
    from huggingface_hub.repocard import metadata_load

    try:
        found = metadata_load(card)
    except Exception:  # noqa: BLE001 - another program's file: whatever it holds, it is not worth a student
        return ""
    license_ = found.get("license") if isinstance(found, dict) else None
    return license_ if isinstance(license_, str) else ""
