"""The model card of a student, from its record: what it is, how it was made, what it was measured to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.report.card_metadata import card_metadata
from xlbench.report.card_scores import contamination_section, scores_section, size_section
from xlbench.report.card_sections import (
    CITATION,
    data_section,
    languages_section,
    limits_section,
    method_section,
    summary,
)
from xlbench.report.formats import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlbench.records.record import Record
    from xlbench.report.card_facts import CardFacts


def model_card(facts: CardFacts) -> str:
    """Return the text of a README.md: front matter that the hub and MTEB read, then the card.

    It is the same for the same facts: it contains neither times nor paths.
    """
    from huggingface_hub import ModelCard

    parts = [f"# {escaped(facts.name)}"]
    if facts.record is None:
        parts += ["A sentence encoder, exported by xlbench from a directory: no run of xlbench made it."]
        parts += _sections({"Export": facts.export, "How to load it": facts.use})
    else:
        parts.append(summary(facts, facts.record))
        parts += _sections(_told(facts, facts.record))
    metadata = card_metadata(facts).to_yaml(line_break="\n")
    return str(ModelCard(f"---\n{metadata}\n---\n\n" + "\n\n".join(part.strip() for part in parts) + "\n"))


def _told(facts: CardFacts, record: Record) -> dict[str, str]:
    """Return the sections of a student's card by their headings."""
    return {
        "Export": facts.export,
        "How to load it": facts.use,
        "Scores": scores_section(record, facts.statistics, exported=bool(facts.export)),
        "Languages": languages_section(record),
        "Size and speed": size_section(record, exported=bool(facts.export)),
        "Intended use and limits": limits_section(record),
        "How it was made": method_section(facts, record),
        "Training data": data_section(record),
        "Contamination": contamination_section(record),
        "Make it again": _command(facts, record),
        "Citation": CITATION,
    }


def _sections(told: Mapping[str, str]) -> list[str]:
    return [f"## {heading}\n\n{text.strip()}" for heading, text in told.items() if text]


def _command(facts: CardFacts, record: Record) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in record.provenance.machine.versions.items())
    commit = f" at commit {record.provenance.git}" if record.provenance.git else ""
    return f"""\
```sh
{facts.command}
```

Files and directories are named without the folders that they lay in. It was made with xlbench \
{record.provenance.xlbench}{commit}, Python {record.provenance.machine.python}, {versions}. Other versions and other \
machines may give slightly other weights."""
