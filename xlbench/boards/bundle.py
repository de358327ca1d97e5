"""A bundle: a data root with everything that a board needs, for a machine that reaches no hub.

``bundle.json`` lists every file with its SHA-256. A part is written under ``partial/`` and renamed when it is whole, so
that an interrupted call leaves nothing that a run would take for a copy, and the next one goes on from there.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from xlbench._version import __version__
from xlbench.boards.environment import requirements
from xlbench.boards.needs import board_needs
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Frozen, file_digest
from xlbench.progress import progress
from xlbench.store import Lock, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from xlbench.boards.board import BoardFile
    from xlbench.boards.needs import Need
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings

MANIFEST = "bundle.json"
PARTIAL = "partial"
LOCK = ".bundle.lock"
KINDS = ("datasets", "models", "starter", "local")  # directories that hold nothing but parts


class BundledFile(Frozen):
    """A file of a bundle."""

    sha256: str = Field(description="Of its bytes, in hexadecimal.")
    size: int = Field(description="Bytes.")


class BundlePart(Frozen):
    """An encoder, a dataset or other files, written as a whole."""

    path: str = Field(description="Directory below the bundle.")
    what: str = Field(description="For people.")
    identity: str = Field(description="Of what it was made from.")
    files: dict[str, BundledFile] = Field(description="By path below its directory.")


class Bundle(Frozen):
    """What ``bundle.json`` says: whose bundle it is, what is in it, and what must be brought by other means."""

    board: str = Field(description="Name of the board.")
    digest: str = Field(description="Of what the board measures.")
    xlbench: str = Field(description="Version that made it.")
    complete: bool = Field(description="Whether everything is there.")
    parts: tuple[BundlePart, ...] = Field(default=(), description="Encoders, datasets and files of corpora.")
    beside: dict[str, BundledFile] = Field(
        default_factory=dict, description="The board's file, files that it names, and requirements.txt."
    )
    notes: tuple[str, ...] = Field(default=(), description="What is needed and not in the bundle.")

    @property
    def files(self) -> dict[str, BundledFile]:
        """Every file by its path below the bundle."""
        of_parts = {f"{part.path}/{name}": file for part in self.parts for name, file in part.files.items()}
        return {**of_parts, **self.beside}

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def make_bundle(
    board: BoardFile,
    directory: Path,
    registry: Registry,
    settings: Settings,
    say: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Put everything that a board needs into a directory; what an earlier call left there is completed.

    Args:
        board: The board.
        directory: New, empty, or a bundle of the same board.
        registry: What plugins brought.
        settings: Where data is read from on this machine.
        say: Called with sizes, with what is fetched, and with what must be brought by other means.

    Returns:
        What ``bundle.json`` says.

    Raises:
        XlbenchError: The directory is in use, the board cannot be run, the disk is too small, or something cannot be
            had; what could be is kept.
    """
    known = _known(directory, board)
    needs = board_needs(board, registry, settings)
    with _writing(directory):
        there = {part.path: part for part in known.parts} if known else {}
        kept = [part for need in needs.parts if (part := there.get(need.path)) and _is_whole(directory, part, need)]
        whole = {part.path for part in kept}
        todo = [need for need in needs.parts if need.path not in whole]
        _check_disk(directory, needs.parts, todo, say)
        bundle = Bundle(
            board=board.name,
            digest=board.board.digest(),
            xlbench=__version__,
            complete=False,
            parts=tuple(kept),
            notes=needs.notes,
        )
        _write_manifest(directory, bundle)
        for path in there.keys() - whole:
            shutil.rmtree(directory / path, ignore_errors=True)
        missing = list(needs.missing)
        with progress(f"bundle of {board.name}", sum(it.size for it in todo), quiet=settings.quiet, unit="bytes") as on:
            for need in todo:
                say(f"{need.what}: {_amount(need.size)}")
                try:
                    part = _write_part(directory, need)
                except XlbenchError as error:
                    missing.append(f"{need.what}: {error.problem}")
                    continue
                bundle = bundle.model_copy(update={"parts": (*bundle.parts, part)})
                _write_manifest(directory, bundle)
                on(need.size)
        if missing:
            raise XlbenchError(
                f"'{directory}' lacks what cannot be had: {'; '.join(missing)}.",
                "Try again when that is fixed: the same command completes the bundle.",
            )
        bundle = bundle.model_copy(update={"beside": _write_beside(directory, board, say), "complete": True})
        _write_manifest(directory, bundle)
        shutil.rmtree(directory / PARTIAL, ignore_errors=True)
    for note in needs.notes:
        say(f"not in the bundle: {note}")
    return bundle


def read_bundle(directory: Path) -> Bundle:
    """Read ``bundle.json``.

    Raises:
        XlbenchError: There is none, or it cannot be read.
    """
    path = directory / MANIFEST
    try:
        return Bundle.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise XlbenchError(
            f"'{directory}' is no bundle: it has no {MANIFEST}.", "`xlbench bundle BOARD DIRECTORY` makes one."
        ) from None
    except (OSError, ValueError, ValidationError) as error:
        problem = "it is not what xlbench writes" if isinstance(error, ValueError) else error.strerror
        raise XlbenchError(f"'{path}' cannot be read: {problem}.", "Copy or make the bundle again.") from error


def check_bundle(directory: Path, *, quiet: bool = False) -> Bundle:
    """Compare every file of a bundle with its digest.

    Raises:
        XlbenchError: It is no bundle, is not complete, or a file is missing, differs or does not belong to it.
    """
    bundle = read_bundle(directory)
    if not bundle.complete:
        raise XlbenchError(
            f"The bundle '{directory}' is not complete.",
            f"Where there is a network, `xlbench bundle {bundle.board} {directory}` completes it.",
        )
    wrong = []
    with progress("checking the bundle", bundle.size, quiet=quiet, unit="bytes") as advance:
        for name, file in bundle.files.items():
            path = directory / name
            if not path.is_file():
                wrong.append(f"{name} is missing")
            elif path.stat().st_size != file.size or file_digest(path) != file.sha256:
                wrong.append(f"{name} differs")
            advance(file.size)
    there = (path for kind in KINDS for path in sorted((directory / kind).rglob("*")) if path.is_file())
    strays = (path.relative_to(directory).as_posix() for path in there)
    wrong += [f"{name} does not belong to it" for name in strays if name not in bundle.files]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise XlbenchError(
            f"The bundle '{directory}' is not what was made: {', '.join(wrong[:5])}{more}.",
            "Copy it again, or complete it where it was made.",
        )
    return bundle


def _known(directory: Path, board: BoardFile) -> Bundle | None:
    """Return what an earlier call left; None if there is nothing yet.

    Raises:
        XlbenchError: The directory holds anything else.
    """
    if not directory.exists() and not directory.is_symlink():
        return None
    other = "Name a new directory."
    if not directory.is_dir():
        raise XlbenchError(f"'{directory}' is no directory.", other)
    if not (directory / MANIFEST).exists():
        if any(not path.name.startswith(".") for path in directory.iterdir()):
            raise XlbenchError(f"'{directory}' is not empty, and no bundle.", other)
        return None
    known = read_bundle(directory)
    if (known.board, known.digest) != (board.name, board.board.digest()):
        changed = "this board as it was before" if known.board == board.name else f"board '{known.board}'"
        raise XlbenchError(f"'{directory}' is a bundle of {changed}.", other)
    return known


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Let no other process write the same bundle, and word the disk's errors."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = Lock(directory / LOCK)
        if not lock.acquire(timeout=0):
            raise XlbenchError(f"Another process writes the bundle '{directory}'.", "Wait until it has ended.")
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise XlbenchError(
            f"The bundle '{directory}' cannot be written: {error.filename or directory}: {error.strerror or error}.",
            "Make room, or name a directory that you may write to; the same command completes what is there.",
        ) from error


def _check_disk(directory: Path, parts: Sequence[Need], todo: Sequence[Need], say: Callable[[str], None]) -> None:
    """Say how much disk is needed.

    Raises:
        XlbenchError: There is less.
    """
    size, free = sum(need.size for need in todo), shutil.disk_usage(directory).free
    say(f"{len(parts)} parts, {len(parts) - len(todo)} of them there; {_amount(size)} to write, {_amount(free)} free")
    if size > free:
        raise XlbenchError(
            f"The bundle needs {_amount(size)} more in '{directory}', and {_amount(free)} are free.",
            "Make room, or name a directory on another disk.",
        )


def _amount(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def _is_whole(directory: Path, part: BundlePart, need: Need) -> bool:
    """Return whether a part is what is needed now, and has every byte."""
    try:
        return part.identity == need.identity and all(
            file_digest(directory / part.path / name) == file.sha256 for name, file in part.files.items()
        )
    except OSError:
        return False


def _write_part(directory: Path, need: Need) -> BundlePart:
    partial, target = directory / PARTIAL / need.path, directory / need.path
    partial.mkdir(parents=True, exist_ok=True)
    need.write(partial)
    files = {
        path.relative_to(partial).as_posix(): _sealed(path) for path in sorted(partial.rglob("*")) if path.is_file()
    }
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(target)
    return BundlePart(path=need.path, what=need.what, identity=need.identity, files=files)


def _sealed(path: Path) -> BundledFile:
    """Return a file's digest, after its bytes have reached the disk."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
    return BundledFile(sha256=file_digest(path), size=path.stat().st_size)


def _write_manifest(directory: Path, bundle: Bundle) -> None:
    write_atomically(directory / MANIFEST, bundle.model_dump_json(indent=1) + "\n")


def _write_beside(directory: Path, board: BoardFile, say: Callable[[str], None]) -> Mapping[str, BundledFile]:
    """Write the board, the students that it names as files, and the packages of this environment."""
    text = board.path.read_text("utf-8")
    texts = {f"leaderboards/{board.name}.toml": text, "requirements.txt": requirements()}
    for run in tomllib.loads(text).get("run", []):
        student = run.get("student")
        if isinstance(student, str) and student.endswith(".toml"):
            path = PurePath(student)
            if path.anchor or ".." in path.parts or student.startswith("~"):
                say(f"not in the bundle: student '{student}', whose path must be the same there")
            else:
                texts[path.as_posix()] = Path(student).read_text("utf-8")
    for name, content in texts.items():
        write_atomically(directory / name, content)
    return {name: _sealed(directory / name) for name in texts}
