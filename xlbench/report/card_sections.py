"""What a model card tells in words: what the student is, how it was made, of which data, and what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.distill.trim import LANGUAGES, LOSSES
from xlbench.encoders.unknown import METADATA, unknown_text
from xlbench.report.card_metadata import languages_of_student
from xlbench.report.formats import MEGA, escaped, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlbench.experiment import EncoderRef, StudentSpec
    from xlbench.fingerprint import Json
    from xlbench.records.record import Record
    from xlbench.report.card_facts import CardFacts

LONG = 500  # characters of a sentence from outside
BAR = "\\|"  # in a cell of a table

CITATION = """\
The method and the claim of half the size are of this paper; `CITATION.cff` in xlbench's repository cites xlbench
itself.

```bibtex
@inproceedings{ding-etal-2022-multi,
    title = "Multi-stage Distillation Framework for Cross-Lingual Semantic Similarity Matching",
    author = "Ding, Kunbo and Liu, Weijie and Fang, Yuejian and Zhao, Zhe and Ju, Qi and Yang, Xuefeng",
    booktitle = "Findings of the Association for Computational Linguistics: NAACL 2022",
    year = "2022",
    pages = "2171--2181",
    doi = "10.18653/v1/2022.findings-naacl.167",
    url = "https://arxiv.org/abs/2209.05869",
}
```"""


def summary(facts: CardFacts, record: Record) -> str:
    """Return what a student is, in a few sentences."""
    size, experiment = record.footprint, record.experiment
    assert experiment is not None
    bytes_of = "" if size.weight_bytes is None else f", {size.weight_bytes / MEGA:.1f} MB of weights"
    return (
        f"A cross-lingual sentence encoder: it turns a sentence into a vector of {size.dimension} numbers, and the "
        "cosine of two vectors says how alike their sentences are in meaning, in one language or in two. It was "
        f"distilled from {_called(experiment.assistant)} by the method `{experiment.method}` of xlbench: "
        f"{size.parameters / MEGA:.1f} million parameters{bytes_of}. It was trained on English and "
        f"{', '.join(experiment.data.languages)}.\n\n{_licence(experiment.assistant, facts)}"
    )


def method_section(facts: CardFacts, record: Record) -> str:
    """Return method, student spec, teacher, assistant, budget and stages."""
    experiment = record.experiment
    assert experiment is not None
    about = f": {escaped(facts.method, LONG)}" if facts.method else ""
    reference = f" Reference: {escaped(facts.reference, LONG).rstrip('.')}." if facts.reference else ""
    budget = experiment.budget
    teachers = (
        "the assistant itself, by its own English vectors."
        if experiment.self_taught()
        else _described(experiment.teacher, facts)
    )
    weights = experiment.options.get("blend")
    part = "First teacher of a blend, whose" if weights else "Teacher, whose"
    lines = [
        f"Method: `{experiment.method}`{about.rstrip('.')}.{reference}",
        f"Student: {_spec(experiment.student)}",
        f"Assistant, the encoder that it is cut from: {_described(experiment.assistant, facts)}",
        f"{part} English vectors are the target: {teachers}",
        *(f"Further teacher: {_described(it, facts)}" for it in experiment.teachers[1:]),
        *([f"Weights of the teachers in the blend: {_code(str(weights))}"] if weights else []),
        f"Budget {_code(budget.name)}: {budget.assistant_pairs:,} pairs seen by the assistant's alignment, "
        f"{budget.student_pairs:,} by the student; seed {experiment.seed}; {experiment.precision}.",
    ]
    return "\n".join(f"- {line}" for line in lines) + f"\n\n{_stages(record)}"


def data_section(record: Record) -> str:
    """Return the corpora, how many of their pairs were used, and what they state of licence and kind."""
    experiment, facts = record.experiment, record.corpus
    if experiment is None or facts is None:
        return ""
    counts = {it.reference: it for it in facts.corpora}
    texts = {it.reference: it for it in facts.lines}
    rows = []
    for corpus in experiment.data.corpora:
        count = counts.get(corpus.reference)
        note = escaped(corpus.note, LONG) or "none stated"
        kept = f"{sum(count.kept.values()):,}" if count else ""
        read = f"{count.read:,}" if count else ""
        if text := texts.get(corpus.reference):
            read, kept = f"{text.read:,} lines", f"{text.kept:,} lines"
        rows.append([_code(corpus.reference), read, kept, f"`{corpus.digest[:12]}`", note])
    pairs = ", ".join(f"{language} {count:,}" for language, count in facts.train.items())
    return (
        f"{_grid(['Corpus', 'Pairs read', 'Trained on', 'Digest', 'Kind and licence'], rows)}\n\n"
        f"Training pairs by language, each an English sentence and its translation: {pairs}. "
        "Where a corpus states no licence, none is known to xlbench: ask whoever made it."
    )


def languages_section(record: Record) -> str:
    """Return the languages that a student keeps, those that it gave up, and those that its tokenizer does not know."""
    experiment = record.experiment
    assert experiment is not None
    metadata = record.stages[-1].metadata if record.stages else {}
    lines = [f"Trained on: {', '.join(languages_of_student(record))}."]
    if isinstance(kept := metadata.get(LANGUAGES), list):
        lines.append(
            f"Its vocabulary was trimmed to what {', '.join(map(str, kept))} need. All other languages of "
            f"{_called(experiment.assistant)} are lost: their sentences give vectors that mean nothing."
        )
        lines += _losses(metadata)
    else:
        lines.append(
            f"It has the whole vocabulary of {_called(experiment.assistant)}. Languages outside the corpus were not "
            "trained on; what they lost was not measured here."
        )
    shares = record.scores.unknown
    if isinstance(found := metadata.get(METADATA), dict):
        lines.append(f"Tokens of the training data that its tokenizer does not know: {_shares(found)}.")
    if shares:
        lines.append(f"Tokens of the test sentences that its tokenizer does not know: {unknown_text(shares)}.")
    return "\n".join(f"- {line}" for line in lines)


def limits_section(record: Record) -> str:
    """Return what the student is for, and what it is not for."""
    experiment = record.experiment
    assert experiment is not None
    tokens = experiment.options.get("max_tokens")
    lines = [
        "For comparing sentences by meaning across the languages above: search, matching of translations, "
        "deduplication, clustering. Compare vectors by cosine.",
        "Not for deciding about people. A high cosine says that two sentences are alike, not that either is true.",
        "Sentences of other kinds of text than the training data's, and languages other than those above, may do "
        "worse than the scores say; measure on your own data (`xlbench score DIRECTORY`).",
        "It inherits what its teacher and its assistant have learnt, biases included; nothing was done about these.",
    ]
    if isinstance(tokens, int):
        lines.insert(1, f"Training cut sentences to {tokens} tokens; longer texts were not trained on.")
    return "\n".join(f"- {line}" for line in lines)


def _called(encoder: EncoderRef) -> str:
    return _code(encoder.name)


def _code(text: str) -> str:
    """Return text from outside as code, also inside a table."""
    shown = plain(text).replace("`", "'").replace("|", BAR)
    return f"`{shown}`"


def _described(encoder: EncoderRef, facts: CardFacts) -> str:
    """Return name, commit or fingerprint, origin and licence of an encoder."""
    notes = facts.encoders.get(encoder.name)
    known = f"commit {encoder.revision}" if encoder.revision else f"fingerprint {encoder.fingerprint}"
    parts = [f"{_called(encoder)} ({known})"]
    if notes and notes.about:
        parts.append(escaped(notes.about, LONG).rstrip("."))
    elif notes and notes.license:
        parts.append(f"licence {escaped(notes.license)}")
    else:
        parts.append("licence not known to xlbench")
    return ": ".join(parts) + "."


def _licence(assistant: EncoderRef, facts: CardFacts) -> str:
    notes = facts.encoders.get(assistant.name)
    if notes and notes.license:
        return f"Licence: {escaped(notes.license)}, that of {_called(assistant)}, whose weights it is cut from."
    return f"Licence: that of {_called(assistant)}, whose weights it is cut from; which one that is, is not known here."


def _spec(spec: StudentSpec) -> str:
    table = f"bottleneck of width {spec.bottleneck}" if spec.bottleneck else "embedding table of full width"
    runs = f", each run {spec.repeats} times" if spec.repeats > 1 else ""
    return f"{_code(spec.name)}: {table}, {spec.layers} stored layers{runs}, weights of {spec.bits} bits."


def _stages(record: Record) -> str:
    rows = []
    for stage in record.stages:
        last: Mapping[str, float] = stage.evaluations[-1] if stage.evaluations else {}
        accuracy = f"{100 * last['accuracy']:.1f} %" if "accuracy" in last else ""
        rows.append([_code(stage.name), f"{stage.pairs:,}", f"{stage.seconds / 60:.1f}", accuracy])
    return _grid(["Stage", "Pairs seen", "Minutes", "Translations found, on dev pairs"], rows)


def _losses(metadata: Mapping[str, Json]) -> list[str]:
    """Return how many tokens trimming kept, and what share of other sentences' tokens it lost."""
    losses = metadata.get(LOSSES)
    if not isinstance(losses, dict):
        return []
    dev = losses["dev"]
    assert isinstance(dev, dict)
    lost = {language: float(str(it["lost"])) for language, it in dev.items() if isinstance(it, dict)}
    return [
        f"{losses['tokens']:,} of {losses['of']:,} tokens are kept. Of sentences that were not counted, this share of "
        "tokens is lost and read as smaller pieces: "
        + ", ".join(f"{language} {100 * share:.2f} %" for language, share in lost.items())
        + "."
    ]


def _shares(found: Mapping[str, Json]) -> str:
    return unknown_text({language: float(str(share)) for language, share in found.items()})


def _grid(header: list[str], rows: list[list[str]]) -> str:
    from tabulate import tabulate

    return str(tabulate(rows, header, tablefmt="github", disable_numparse=True))
