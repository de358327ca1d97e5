"""From what is written on a command line, ``scheme:argument?options``, to an opened corpus."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from xlbench.errors import XlbenchError, look_up, nearest
from xlbench.experiment import CorpusRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from xlbench.settings import Settings

LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]+)*")
OPTIONS = ("cap", "languages")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@\w+)?")
_FILE_SCHEMES = {".tsv": "tsv", ".tsv.gz": "tsv", ".parquet": "parquet"}


class Pair(NamedTuple):
    """An English sentence and its translation."""

    english: str
    other: str


@runtime_checkable
class Corpus(Protocol):
    """An opened source of parallel pairs."""

    @property
    def digest(self) -> str:
        """Identifies the bytes: equal digests mean equal pairs."""
        ...

    @property
    def note(self) -> str:
        """What a reader of scores must be told: nature, licence, domains shared with test sets."""
        ...

    def languages(self) -> tuple[str, ...]:
        """Return the ISO 639-1 codes of the non-English sides, sorted."""
        ...

    def pairs(self, language: str) -> Iterator[Pair]:
        """Yield the pairs of one language as they stand in the source, without loading it whole.

        Raises:
            XlbenchError: A row is malformed; the message names file and line.
        """
        ...


@dataclass(frozen=True)
class CorpusReader:
    """A kind of corpus: ``scheme`` or ``scheme:argument`` on the command line.

    Attributes:
        scheme: What the reference starts with.
        summary: One line for listings.
        example: A reference that shows how to use it.
        open: Opens the argument (empty when none was given); cheap, reads no pair.
    """

    scheme: str
    summary: str
    example: str
    open: Callable[[str, Settings], Corpus]


@dataclass(frozen=True)
class ParsedReference:
    """A reference taken apart.

    Attributes:
        scheme: Which corpus source.
        argument: What that source opens; empty when none was given.
        cap: Most pairs per language to use from this corpus; None for all.
        languages: The only languages to use from it, sorted; None for all.
    """

    scheme: str
    argument: str = ""
    cap: int | None = None
    languages: tuple[str, ...] | None = None

    def __str__(self) -> str:
        """Return the reference in its one canonical spelling, which stored data is keyed by."""
        options = [] if self.cap is None else [f"cap={self.cap}"]
        options += [] if self.languages is None else [f"languages={','.join(self.languages)}"]
        place = f"{self.scheme}:{self.argument}" if self.argument else self.scheme
        return f"{place}?{'&'.join(options)}" if options else place


@dataclass(frozen=True)
class OpenCorpus:
    """A corpus, how it was asked for, and its identity."""

    corpus: Corpus
    parsed: ParsedReference
    ref: CorpusRef

    def languages(self) -> tuple[str, ...]:
        """Return the languages to use from it, sorted."""
        return self.corpus.languages() if self.parsed.languages is None else self.parsed.languages


def parse(reference: str) -> ParsedReference:
    """Take a reference apart: 'starter', 'tsv:PATH', 'parquet:PATH', 'hub:org/name' or plain 'org/name'.

    Any of them may end in options: '?cap=5000&languages=de,fr'.

    Raises:
        XlbenchError: It has no such shape, or an option is unknown, repeated or no number or language code.
    """
    place, _, query = reference.strip().partition("?")
    scheme, colon, argument = place.partition(":")
    if not colon:
        scheme, argument = _without_scheme(place, reference)
    if not scheme or (colon and not argument):
        raise XlbenchError(
            f"'{reference}' names no corpus.", "Write e.g. starter, tsv:PATH, parquet:PATH or hub:ORG/NAME."
        )
    options = _options(query, reference)
    return ParsedReference(scheme, argument, _cap(options, reference), _languages(options, reference))


def _without_scheme(place: str, reference: str) -> tuple[str, str]:
    for ending, scheme in _FILE_SCHEMES.items():
        if place.endswith(ending):
            raise XlbenchError(f"Corpus '{reference}' lacks its scheme.", f"Write {scheme}:{reference}")
    if "/" not in place:
        return place, ""
    if not _HUB_NAME.fullmatch(place) or place.startswith("."):
        raise XlbenchError(
            f"Corpus '{reference}' is neither ORG/NAME of a hub dataset nor has it a scheme.",
            f"For files write tsv:{reference} or parquet:{reference}.",
        )
    return "hub", place


def _options(query: str, reference: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for option in filter(None, query.split("&")):
        name, _, value = option.partition("=")
        if name not in OPTIONS:
            raise XlbenchError(f"Unknown option '{name}' in corpus '{reference}'.", nearest(name, OPTIONS))
        if name in options:
            raise XlbenchError(f"Option '{name}' occurs twice in corpus '{reference}'.", "Leave one out.")
        options[name] = value
    return options


def _cap(options: Mapping[str, str], reference: str) -> int | None:
    if (text := options.get("cap")) is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise XlbenchError(f"cap='{text}' in corpus '{reference}' is no whole number above 0.", "Write e.g. cap=5000.")
    return int(text)


def _languages(options: Mapping[str, str], reference: str) -> tuple[str, ...] | None:
    if (text := options.get("languages")) is None:
        return None
    codes = text.split(",")
    for code in codes:
        if not LANGUAGE.fullmatch(code):
            raise XlbenchError(f"'{code}' in corpus '{reference}' is no language code.", "Write e.g. languages=de,fr.")
    return tuple(sorted(set(codes)))


def open_corpus(reference: str, registered: Mapping[str, CorpusReader], settings: Settings) -> OpenCorpus:
    """Open the corpus that ``reference`` names; reads no pair.

    Args:
        reference: As :func:`parse` takes it.
        registered: Corpus sources by scheme.
        settings: Where to look.

    Raises:
        XlbenchError: The reference is malformed, its scheme unknown, what it names is not there, or it has
            not the languages asked of it.
    """
    parsed = parse(reference)
    corpus = look_up("corpus", parsed.scheme, registered).open(parsed.argument, settings)
    there = corpus.languages()
    for code in parsed.languages or ():
        if code not in there:
            raise XlbenchError(f"Corpus '{reference}' has no language '{code}'.", nearest(code, there))
    return OpenCorpus(corpus, parsed, CorpusRef(reference=str(parsed), digest=corpus.digest, note=corpus.note))
