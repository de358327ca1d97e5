"""What a corpus is, and how a reference on the command line, ``scheme:argument?options``, becomes an opened one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from xlbench.corpora.languages import ENGLISH, check_codes
from xlbench.errors import XlbenchError, look_up, nearest
from xlbench.experiment import CorpusRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from xlbench.settings import Settings

LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]+)*")
OPTIONS = ("cap", "language", "languages")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@\w+)?")
_FILE_SCHEMES = {".tsv": "tsv", ".tsv.gz": "tsv", ".parquet": "parquet"}


class Pair(NamedTuple):
    """An English sentence and its translation."""

    english: str
    other: str


@runtime_checkable
class Corpus(Protocol):
    """An opened corpus of parallel pairs: English sentences with their translations."""

    @property
    def digest(self) -> str:
        """What identifies the content: equal digests mean equal pairs."""
        ...

    @property
    def note(self) -> str:
        """What readers of scores must know: kind of text, licence, domains shared with test sets."""
        ...

    def languages(self) -> tuple[str, ...]:
        """Return the ISO 639-1 codes of the non-English sides, sorted."""
        ...

    def pairs(self, language: str) -> Iterator[Pair]:
        """Yield the pairs of one language, unchanged and in the corpus's order, without loading all of them.

        Raises:
            XlbenchError: A row is malformed; the message names file and line.
        """
        ...


@runtime_checkable
class Untranslated(Protocol):
    """A corpus of lines in one language, which its reference names; it has no pairs."""

    def untranslated_lines(self) -> Iterator[str]:
        """Yield the lines, in order, without loading all of them.

        Raises:
            XlbenchError: A line cannot be read; the message names it.
        """
        ...


@runtime_checkable
class Noticing(Protocol):
    """A corpus that knows what lies beside it and is not read."""

    @property
    def notices(self) -> tuple[str, ...]:
        """Warnings, a sentence each."""
        ...


@dataclass(frozen=True)
class CorpusReader:
    """Reads one kind of corpus, referred to as ``scheme`` or ``scheme:argument`` on the command line.

    Attributes:
        scheme: What such a reference starts with.
        summary: One line for listings.
        example: A reference that shows how to use it.
        open: Opens a corpus from the argument, an empty string when none is given. It must be quick and read no pair.
    """

    scheme: str
    summary: str
    example: str
    open: Callable[[str, Settings], Corpus]


@dataclass(frozen=True)
class ParsedReference:
    """A reference, split into its parts.

    Attributes:
        scheme: Of the corpus reader.
        argument: What that reader opens; empty when none is given.
        cap: Most pairs per language to use from this corpus; None for all.
        languages: The only languages to use from it, sorted; None for all.
    """

    scheme: str
    argument: str = ""
    cap: int | None = None
    languages: tuple[str, ...] | None = None

    def __str__(self) -> str:
        """Return the canonical spelling, which keys of stored data contain."""
        options = [] if self.cap is None else [f"cap={self.cap}"]
        options += [] if self.languages is None else [f"languages={','.join(self.languages)}"]
        base = f"{self.scheme}:{self.argument}" if self.argument else self.scheme
        return f"{base}?{'&'.join(options)}" if options else base


@dataclass(frozen=True)
class OpenCorpus:
    """An opened corpus with the reference that named it.

    Attributes:
        corpus: The corpus itself.
        parsed: The reference, with the options that limit what is used.
        ref: What experiments and records keep of it.
    """

    corpus: Corpus
    parsed: ParsedReference
    ref: CorpusRef

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user must know of what is not read, e.g. files with other names."""
        return self.corpus.notices if isinstance(self.corpus, Noticing) else ()

    def languages(self) -> tuple[str, ...]:
        """Return the languages to use its pairs of, sorted; none of a text without translations."""
        if self.parsed.languages is None or isinstance(self.corpus, Untranslated):
            return self.corpus.languages()
        return self.parsed.languages

    def text_language(self) -> str:
        """Return the language of a text without translations."""
        assert self.parsed.languages is not None
        return self.parsed.languages[0]


def parse_reference(reference: str) -> ParsedReference:
    """Split a reference into its parts.

    It is 'starter', 'tsv:PATH', 'parquet:PATH', 'text:FILE', 'hub:org/name', plain 'org/name' or the scheme of a
    plugin. Options may follow, as in '?cap=5000&languages=de,fr' or '?language=de'.

    Raises:
        XlbenchError: The reference has another form; an option is unknown, occurs twice or has an invalid value.
    """
    base, _, query = reference.strip().partition("?")
    scheme, colon, argument = base.partition(":")
    if not colon:
        scheme, argument = _infer_scheme(base, reference)
    if not scheme or (colon and not argument):
        raise XlbenchError(
            f"'{reference}' names no corpus.", "Write e.g. starter, tsv:PATH, parquet:PATH or hub:ORG/NAME."
        )
    options = _parse_options(query, reference)
    return ParsedReference(scheme, argument, _parse_cap(options, reference), _parse_languages(options, reference))


def open_corpus(reference: str, registered: Mapping[str, CorpusReader], settings: Settings) -> OpenCorpus:
    """Open the corpus that ``reference`` names, without reading any pair.

    Args:
        reference: As :func:`parse_reference` takes it.
        registered: Corpus readers by scheme.
        settings: Where to look for data.

    Raises:
        XlbenchError: The reference is malformed, its scheme is unknown, there is no such corpus, the corpus lacks a
            language that the reference asks for, or a code is no language's.
    """
    parsed = parse_reference(reference)
    if parsed.scheme not in registered and not parsed.argument and Path(parsed.scheme).is_dir():
        problem = f"Unknown corpus '{reference}'; there is a directory of that name."
        raise XlbenchError(problem, f"Write tsv:{reference} or parquet:{reference}.")
    corpus = look_up("corpus", parsed.scheme, registered).open(parsed.argument, settings)
    if isinstance(corpus, Untranslated):
        if parsed.languages is None or len(parsed.languages) > 1:
            raise XlbenchError(
                f"Corpus '{reference}' does not say which language its lines are in.",
                f"Write {parsed.scheme}:{parsed.argument}?language=de.",
            )
        if parsed.languages != (ENGLISH,):
            check_codes(parsed.languages, reference)
        return OpenCorpus(corpus, parsed, CorpusRef(reference=str(parsed), digest=corpus.digest, note=corpus.note))
    available = corpus.languages()
    for code in parsed.languages or ():
        if code not in available:
            raise XlbenchError(f"Corpus '{reference}' has no language '{code}'.", nearest(code, available))
    check_codes(parsed.languages or available, reference)
    return OpenCorpus(corpus, parsed, CorpusRef(reference=str(parsed), digest=corpus.digest, note=corpus.note))


def _infer_scheme(base: str, reference: str) -> tuple[str, str]:
    """Return scheme and argument of a reference that has no colon."""
    for ending, scheme in _FILE_SCHEMES.items():
        if base.endswith(ending):
            raise XlbenchError(f"Corpus '{reference}' lacks its scheme.", f"Write {scheme}:{reference}")
    if "/" not in base:
        return base, ""
    if not _HUB_NAME.fullmatch(base) or base.startswith("."):
        raise XlbenchError(
            f"Corpus '{reference}' has no scheme and is not the ORG/NAME of a hub dataset.",
            f"For files write tsv:{reference} or parquet:{reference}.",
        )
    return "hub", base


def _parse_options(query: str, reference: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for option in filter(None, query.split("&")):
        name, _, value = option.partition("=")
        if name not in OPTIONS:
            raise XlbenchError(f"Unknown option '{name}' in corpus '{reference}'.", nearest(name, OPTIONS))
        if name in options:
            raise XlbenchError(f"Option '{name}' occurs twice in corpus '{reference}'.", "Leave one out.")
        options[name] = value
    return options


def _parse_cap(options: Mapping[str, str], reference: str) -> int | None:
    if (text := options.get("cap")) is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise XlbenchError(
            f"cap='{text}' in corpus '{reference}' is not a whole number above 0.", "Write e.g. cap=5000."
        )
    return int(text)


def _parse_languages(options: Mapping[str, str], reference: str) -> tuple[str, ...] | None:
    if "language" in options and "languages" in options:
        raise XlbenchError(f"Corpus '{reference}' has the options language and languages.", "Leave one out.")
    if (text := options.get("languages", options.get("language"))) is None:
        return None
    codes = text.split(",") if "languages" in options else [text]
    for code in codes:
        if not LANGUAGE.fullmatch(code):
            raise XlbenchError(
                f"'{code}' in corpus '{reference}' is not a language code.", "Write e.g. languages=de,fr."
            )
    return tuple(sorted(set(codes)))
