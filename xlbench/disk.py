"""What the operating system refuses, in two lines: what was written, where, how much is needed and free, what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from xlbench.errors import XlbenchError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = {errno.ENOSPC: "The disk is full", errno.EDQUOT: "The disk quota is used up"}
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
FAILED = frozenset({errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV})
# Without EACCES and EPERM, whose words may also come from a network.
BY_TEXT = (*FULL, errno.EFBIG, errno.EROFS, *FAILED)
# What torch's writer and numpy's tofile say of any write that failed; neither says why.
SILENT = re.compile(r"PytorchStreamWriter|inline_container|basic_ios|iostream error|\d+ requested and \d+ written")
PROBE = 1 << 20  # bytes
LARGEST = 1 << 26  # bytes of a file of settings
RESUMES = "the same command resumes"
AGAIN = "then run the command again"


@contextmanager
def disk_errors(
    what: str = "a file",
    where: Path | None = None,
    *,
    needed: int | None = None,
    store: bool = False,
    resumes: bool = True,
) -> Iterator[None]:
    """Turn what the operating system says of a write that failed into an :class:`XlbenchError` with a remedy.

    Libraries wrap it in exceptions of their own, or say only that writing failed; then what caused it is looked up.

    Args:
        what: What is written, as in 'writing the targets of teacher'.
        where: The file or directory that it is written to.
        needed: How much space it takes, in bytes, where that is known.
        store: Whether ``where`` is in the store, which can be pruned and moved.
        resumes: Whether the same command takes up the work where it broke off.

    Raises:
        XlbenchError: The disk is full, its quota is used up, a file is too large, or the place cannot be written.
    """
    try:
        yield
    except XlbenchError:
        raise
    except Exception as error:
        refused = _refusal(error, where)
        if refused is None:
            raise
        worded = _worded(refused, what, where, needed, store=store)
        if not resumes:
            worded = XlbenchError(worded.problem, worded.remedy.replace(RESUMES, AGAIN))
        raise worded from error


@contextmanager
def answered(unnamed: str = "a file") -> Iterator[None]:
    """Turn whatever the operating system refuses (a name, a file, a full disk) into an error of xlbench.

    The doors of xlbench stand in it, so that no path, whatever it holds, ends in a traceback. Where more is known, a
    place has :func:`disk_errors`, or words of its own.

    Args:
        unnamed: What is meant where the system names no file.

    Raises:
        XlbenchError: The system refused something.
    """
    try:
        with disk_errors(unnamed, resumes=False):
            yield
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"'{error.filename}'" if error.filename is not None else f"{unnamed[0].upper()}{unnamed[1:]}"
        remedy = "Give a shorter name." if error.errno == errno.ENAMETOOLONG else "Check the path and what lies there."
        raise XlbenchError(f"{place} cannot be used: {error.strerror or first_line(error)}.", remedy) from error


def read_bounded(path: Path) -> str:
    """Return the text of a file of settings, which a device or a damaged file may go on without end.

    Raises:
        OSError: It cannot be read, or has more than :data:`LARGEST` bytes.
        UnicodeDecodeError: It is not UTF-8.
    """
    with path.open("rb") as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(errno.EFBIG, f"it has more than {LARGEST:,} bytes", str(path))
    return content.decode("utf-8")


def require_regular(path: Path) -> None:
    """Refuse a pipe or a device, which gives its content once, or without end.

    Raises:
        XlbenchError: It is one.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise XlbenchError(f"'{path}' is a pipe or a device, and no file.", "Write its content to a file first.")


def is_disk_error(error: BaseException) -> bool:
    """Return whether an error says that the disk refused a write."""
    return _refusal(error, None) is not None


def reserve(stream: IO[bytes], size: int) -> None:
    """Have the file system set space aside for the first ``size`` bytes of a file, where it can do that.

    So a disk that is too small is an error before hours of work. What the file has already is kept.

    Raises:
        OSError: There is not enough space.
    """
    if not hasattr(os, "posix_fallocate") or size == 0:
        return
    try:
        os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:  # the file system cannot reserve
            raise


class _Refusal(NamedTuple):
    """Why a write was refused, and the file that the operating system names."""

    code: int
    file: Path | None


def _refusal(error: BaseException, where: Path | None) -> _Refusal | None:
    """Return why the disk refused a write; None if an error is about something else."""
    seen: set[int] = set()
    link: BaseException | None = error
    silent = False
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, OSError) and link.errno in {*FULL, *FORBIDDEN, *FAILED, errno.EFBIG}:
            assert link.errno is not None
            return _Refusal(link.errno, _file(link))
        text = str(link)
        for code in BY_TEXT:
            if re.search(rf"{re.escape(os.strerror(code))}|\b(os error|errno) {code}\b", text, re.IGNORECASE):
                return _Refusal(code, None)
        silent = silent or bool(SILENT.search(text))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return _Refusal(_probe(where), None) if silent else None


def _file(error: OSError) -> Path | None:
    return Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else None


def _probe(where: Path | None) -> int:
    """Return why a write failed that gave no reason, by writing a little to the same place."""
    directory = _existing(where)
    try:
        with tempfile.TemporaryFile(dir=directory if directory.is_dir() else directory.parent) as stream:
            stream.write(bytes(PROBE))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return error.errno or errno.EIO
    return errno.ENOSPC if size_limit() is None else errno.EFBIG


def size_limit() -> int | None:
    """Return how many bytes a file of this process may have; None for no limit."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit


def _existing(where: Path | None) -> Path:
    """Return a path or the nearest directory above it that is there."""
    path = (where or Path.cwd()).absolute()
    return next((it for it in (path, *path.parents) if it.exists()), Path.cwd())


def _worded(refused: _Refusal, what: str, where: Path | None, needed: int | None, *, store: bool) -> XlbenchError:
    code, place = refused.code, refused.file or where
    # An error may be about a file elsewhere: a cache of another library, a corpus that cannot be read.
    own = where is None or place is None or place.absolute().is_relative_to(where.absolute())
    written = f"{what} to '{place}'" if place is not None and own else f"'{place}'" if place is not None else what
    if code in FORBIDDEN:
        verb = "written" if own else "opened"
        return XlbenchError(
            f"'{place or what}' cannot be {verb}: {os.strerror(code)}.",
            f"Set XLBENCH_HOME to a directory that you may write to; {RESUMES}."
            if store and own
            else f"Change its permissions or name another place; {RESUMES}.",
        )
    if code in FULL:
        sizes = [f"{_amount(needed)} needed"] if needed is not None and own else []
        sizes += [f"{_amount(shutil.disk_usage(_existing(place)).free)} free"] if place is not None else []
        another = "set XLBENCH_HOME to another disk" if store and own else "choose another disk"
        amounts = f" ({', '.join(sizes)})" if sizes else ""
        prune = " (`xlbench store prune`)" if store else ""
        return XlbenchError(
            f"{FULL[code]}: writing {written} failed{amounts}.",
            f"Free some space{prune} or {another}; {RESUMES}.",
        )
    if code == errno.EFBIG:
        limit = size_limit()
        sizes = [f"{_amount(needed)} needed"] if needed is not None and own else []
        sizes += [f"files may have {_amount(limit)}"] if limit is not None else []
        return XlbenchError(
            f"A file is too large for this process or disk: writing {written} failed ({', '.join(sizes) or 'EFBIG'}).",
            f"Raise the limit (`ulimit -f unlimited`) or choose another file system; {RESUMES}.",
        )
    return XlbenchError(
        f"The disk failed: reading or writing {written} gave '{os.strerror(code)}'.",
        f"Look for its faults (`dmesg`), or choose another disk; {RESUMES}.",
    )


def _amount(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"
