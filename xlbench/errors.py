"""The exception that xlbench raises on bad input, and helpers that word its problem and remedy."""

from __future__ import annotations

import difflib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Control characters, which steer a terminal; line separators; marks that turn the direction of text; lone surrogates,
# which stand for bytes that are not UTF-8. The joiners that some scripts need are not among them.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
PANICS = "pyo3_runtime"  # the module of the exception that a panic of Rust code becomes


class CtrlC:
    """How Ctrl-C arrives.

    Attributes:
        narrowed: As an exception of a narrower class than KeyboardInterrupt, which then is a plugin's own: so it is on
            the command line.
    """

    narrowed = False


LAYOUT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
LONGEST_WORD = 300  # characters; of a longer one, both ends are shown
LONGEST = 2000  # characters of a line of an error
LISTED = 40  # valid names that a remedy lists


class XlbenchError(Exception):
    """An error that the user can fix; the command line prints it in one or two lines and exits with code 2.

    Args:
        problem: What is wrong, naming the thing and the place. It is made one printable line.
        remedy: What to do about it; likewise.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = _one_line(problem)
        self.remedy = _one_line(remedy)
        super().__init__(f"{self.problem}\n{self.remedy}" if remedy else self.problem)

    def __reduce__(self) -> tuple[type[XlbenchError], tuple[str, str]]:
        """Return how to make it again in another process."""
        return type(self), (self.problem, self.remedy)


class PartError(XlbenchError):
    """An error in a part of a plan, whose author is to be named.

    Args:
        problem: What is wrong.
        remedy: What to do about it.
        part: The function or class that is wrong.
    """

    def __init__(self, problem: str, remedy: str, part: object) -> None:
        super().__init__(problem, remedy)
        self.part = part


class EncodingError(XlbenchError):
    """An error inside an encoder; what was raised there, perhaps in a plugin's code, is its cause."""


def is_panic(error: BaseException) -> bool:
    """Return whether an exception is a panic of a library's Rust code, e.g. a tokenizer's.

    It derives from BaseException, as interrupts do, and every library has a class of its own for it.
    """
    return type(error).__module__ == PANICS


@contextmanager
def encoding_errors(name: str = "") -> Iterator[None]:
    """Name an encoder as the cause of what its modules or its tokenizer raise in this context.

    Args:
        name: The encoder's name, if it is known.

    Raises:
        EncodingError: Something was raised that is neither an error of xlbench nor an interrupt or an exit.
    """
    try:
        yield
    except XlbenchError:
        raise
    except BaseException as error:  # a module of a plugin, or any library
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        which = f"Encoder '{name}'" if name else "The encoder"
        raise EncodingError(
            f"{which} cannot encode: {type(error).__name__}: {first_line(error)}",
            "Its modules must fit together; encode one sentence with it in Python to see where it fails.",
        ) from error


T = TypeVar("T")


def printable(text: str, *, layout: bool = False) -> str:
    r"""Return text without characters that steer a terminal: an escape is written as ``\u001b``.

    JSON and TOML read what is written so as the character that it stands for.

    Args:
        text: Any text, e.g. with a name that somebody else chose.
        layout: Keep line ends and tabs, for text of several lines.
    """
    kept = "\n\t" if layout else ""
    return UNPRINTABLE.sub(lambda it: it[0] if it[0] in kept else LAYOUT.get(it[0]) or f"\\u{ord(it[0]):04x}", text)


def _one_line(text: str) -> str:
    """Return text as one printable line of bounded length."""
    ends = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")
    line = ends.sub(lambda word: f"{word[0][: LONGEST_WORD // 2]}…{word[0][-LONGEST_WORD // 4 :]}", printable(text))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 200]} … {line[-200:]}"


def near_names(name: str, valid: Iterable[str]) -> list[str]:
    """Return up to three valid names that are spelt like ``name``, the nearest first."""
    folded = {candidate.casefold(): candidate for candidate in sorted(valid)}
    return [folded[it] for it in difflib.get_close_matches(name.casefold()[:LONGEST_WORD], folded, n=3, cutoff=0.55)]


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a sentence that proposes the names nearest to ``name``, or lists all valid ones."""
    names = sorted(valid)
    if close := near_names(name, names):
        return f"Did you mean {' or '.join(_quoted(close))}?"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"Valid names: {', '.join(_quoted(names[:LISTED])) or 'none'}{more}."


def _quoted(names: list[str]) -> list[str]:
    """Return names for a list that commas separate: in quotes where one of them contains a comma itself."""
    return [f"'{name}'" for name in names] if any("," in name for name in names) else names


def look_up(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return ``table[name]``.

    Args:
        kind: What the names stand for, e.g. 'corpus'; part of the message.
        name: What to look up.
        table: Things by name.

    Raises:
        XlbenchError: ``name`` is not in ``table``; the remedy proposes the nearest names.
    """
    try:
        return table[name]
    except KeyError:
        raise XlbenchError(f"Unknown {kind} '{name}'.", nearest(name, table)) from None


def first_line(error: BaseException) -> str:
    """Return the first line of another library's message, which names the cause; its type if it says nothing.

    A first line that ends in a colon only announces the cause, so the next one follows it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def shortened(text: str, longest: int = 60) -> str:
    """Return a text of others in quotes for a message, cut to ``longest`` characters."""
    return repr(text if len(text) <= longest else f"{text[:longest]}…")
