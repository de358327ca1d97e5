"""The sentences of a call, and the places for what is computed of them; nothing of either is left behind."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xlbench.disk import disk_errors
from xlbench.retrieval.sentences import collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xlbench.retrieval.sentences import Texts
    from xlbench.settings import Settings


class Side(NamedTuple):
    """Sentences as a caller gives them.

    Attributes:
        noun: Name of the argument.
        given: A list, a path, 'starter' or 'starter:de'.
        column: Of a file; None for whole lines.
        vectors: An .npy file with the vectors of all its sentences; None to compute them.
    """

    noun: str
    given: str | Path | Sequence[str]
    column: str | None = None
    vectors: Path | None = None


@contextmanager
def collected(
    sides: tuple[Side, ...], output: Path | None, settings: Settings, *, distinct: bool = False
) -> Iterator[tuple[Texts, ...]]:
    """Give the sentences of some sides; if the block fails, what was copied of their files is deleted.

    Args:
        sides: What to read.
        output: Beside it files are copied; None: in the system's directory for temporary files.
        settings: Paths and switches.
        distinct: Take each sentence of a side once.

    Raises:
        XlbenchError: As :func:`xlbench.retrieval.sentences.collect` says.
    """
    made: list[Texts] = []
    try:
        for it in sides:
            beside, quiet = place_of(output), settings.quiet
            made.append(collect(it.given, it.column, noun=it.noun, distinct=distinct, beside=beside, quiet=quiet))
        yield tuple(made)
    except BaseException:
        for texts in made:
            texts.discard()
        raise


@contextmanager
def workplace(output: Path | None) -> Iterator[Path]:
    """Give a directory for vectors, which is deleted when the block ends: hidden beside the output, or the system's."""
    beside = place_of(output)
    with disk_errors("the vectors", beside or Path(tempfile.gettempdir()), resumes=False):
        directory = Path(tempfile.mkdtemp(prefix=".xlbench-", dir=beside))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def place_of(output: Path | None) -> Path | None:
    """Return the directory of an output, which is made if need be; None without an output."""
    if output is None:
        return None
    output.parent.mkdir(parents=True, exist_ok=True)
    return output.parent
