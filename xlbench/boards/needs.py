"""What a board reads on this machine, as parts that a bundle can hold: encoders, datasets and files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from xlbench.boards.hub_files import HubFiles, fetch, list_files
from xlbench.boards.run import look_up_board
from xlbench.corpora.corpus import open_corpus
from xlbench.corpora.files import FileCorpus, find_path
from xlbench.corpora.hub import CARRIED, CarriedDataset, HubCorpus, split_name
from xlbench.corpora.starter import StarterCorpus
from xlbench.corpora.untranslated import TextCorpus
from xlbench.encoders.directories import model_files, remembered_digest
from xlbench.encoders.find import find_directory
from xlbench.encoders.hub import UNWANTED, WANTED
from xlbench.encoders.starter import encoder_wheels
from xlbench.encoders.starter.wheels import carried_files, locate
from xlbench.errors import XlbenchError
from xlbench.fingerprint import Json, file_digest, fingerprint
from xlbench.scoring.data import OWN_TASKS, read_declaration
from xlbench.settings import carried_name
from xlbench.store import write_sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xlbench.boards.board import BoardFile
    from xlbench.corpora.corpus import OpenCorpus
    from xlbench.encoders.starter.wheels import WheelFiles
    from xlbench.experiment import EncoderRef, TaskRef
    from xlbench.plugins.registry import Registry
    from xlbench.settings import Settings

# Of a hub dataset: code and pickles are never read, so they are not fetched either.
UNREAD = ["*.py", "*.pkl", "*.pickle", "*.pt", "*.pth", "*.bin", ".*", "*/.*"]


@dataclass(frozen=True)
class Need:
    """A directory that a bundle must hold.

    Attributes:
        path: Below the data root, with '/'.
        what: For people: "dataset 'org/name' at commit 0123456789ab".
        identity: Changes whenever the content does.
        size: Bytes.
        write: Writes it into a directory, which may hold what an interrupted call left there.
    """

    path: str
    what: str
    identity: str
    size: int
    write: Callable[[Path], None]


class Needs(NamedTuple):
    """What a board needs: parts for the bundle; what must get there by other means; what cannot be had, and why."""

    parts: tuple[Need, ...]
    notes: tuple[str, ...]
    missing: tuple[str, ...]


def board_needs(board: BoardFile, registry: Registry, settings: Settings) -> Needs:
    """Find what a board needs, from where it would be read on this machine. Asks the hub for sizes; fetches nothing.

    Raises:
        XlbenchError: The board cannot be run: a name is unknown, or what it names cannot be found.
    """
    runs, _, encoders, beside = look_up_board(board, registry, settings)
    experiments = [job.experiment for run in runs for job in run.jobs] or [beside.experiment]
    collected = _Collector(registry, settings)
    given = [encoder for it in experiments for encoder in (it.assistant, *it.teachers)]
    for encoder in dict.fromkeys([*given, *(it.encoder for it in encoders)]):
        collected.try_for(f"encoder '{encoder.name}'", partial(collected.add_encoder, encoder))
    for reference in dict.fromkeys(corpus.reference for it in experiments for corpus in it.data.corpora):
        languages = {code for it in experiments for code in it.data.languages}
        opened = open_corpus(reference, registry.corpora, settings)
        wanted = tuple(sorted(languages.intersection(opened.languages())))
        collected.try_for(f"corpus '{reference}'", partial(collected.add_corpus, opened, wanted))
    for task in dict.fromkeys(ref for it in experiments for suite in it.kept_out for ref in suite.tasks):
        collected.try_for(f"data of task {task.task}", partial(collected.add_task, task))
    return collected.needs()


class _Dataset(NamedTuple):
    """A hub dataset that is fetched: whole for a task, the files of some languages for a corpus, or both."""

    listed: HubFiles
    whole: bool
    corpus: HubCorpus | None
    revision: str | None
    languages: frozenset[str]


class _Collector:
    """Gathers needs; what cannot be had is noted, so that all of it is named at once."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self.registry, self.settings = registry, settings
        self.parts: dict[str, Need] = {}
        self.datasets: dict[str, _Dataset] = {}
        self.local: dict[PurePath, dict[PurePath, Path]] = {}  # by directory in the bundle: its files' sources
        self.notes: list[str] = []
        self.missing: list[str] = []

    def try_for(self, what: str, add: Callable[[], None]) -> None:
        try:
            add()
        except XlbenchError as error:
            self.missing.append(f"{what}: {error.problem}")

    def add_encoder(self, encoder: EncoderRef) -> None:
        name, settings = encoder.name, self.settings
        if encoder.origin == "registered":
            registered = self.registry.encoders[name]
            for wheel in (wheels := encoder_wheels(registered)):
                part = _wheel_part(locate(wheel, settings), name)
                self.parts[part.path] = part
            if not wheels:
                self.notes.append(f"encoder '{name}': the package that brings it must be installed there too")
        elif encoder.origin == "hub":
            assert encoder.revision is not None
            listed = list_files("models", name, encoder.revision, settings, wanted=WANTED, unwanted=UNWANTED)
            self._add_hub(listed, f"encoder '{name}' at commit {encoder.revision[:12]}")
        elif encoder.origin == "data-root":
            directory = settings.local("models", name)
            assert directory is not None
            self._add_copy(f"models/{name}", f"encoder '{name}'", _below(directory, model_files(directory)))
        else:
            directory = find_directory(name, settings)
            assert directory is not None
            self._add_local(name, _below(directory, model_files(directory)))

    def add_corpus(self, opened: OpenCorpus, languages: tuple[str, ...]) -> None:
        corpus, parsed = opened.corpus, opened.parsed
        if isinstance(corpus, HubCorpus):
            name, revision = split_name(parsed.argument)
            if corpus.copy is not None:
                self._add_dataset_copy(name, corpus.copy)
                return
            files = [file for code in languages for file in corpus.listing.files[code]]
            listed = list_files("datasets", name, corpus.listing.commit, self.settings, wanted=files, unwanted=[])
            self._add_dataset(_Dataset(listed, False, corpus, revision, frozenset(languages)))
        elif isinstance(corpus, FileCorpus):
            if parsed.scheme == "hub" and (copy := self.settings.local("datasets", parsed.argument)):
                self._add_dataset_copy(parsed.argument, copy)
                return
            found = find_path(parsed.argument, self.settings)
            paths = [path for code in corpus.languages() for path in corpus.files[code]]
            if not found.is_dir():
                self._add_local(str(PurePath(parsed.argument).parent), _below(found.parent, paths))
            elif all(path.is_relative_to(found) for path in paths):
                self._add_local(parsed.argument, _below(found, paths))
        elif isinstance(corpus, TextCorpus):
            self._add_local(str(PurePath(parsed.argument).parent), _below(corpus.path.parent, [corpus.path]))
        elif not isinstance(corpus, StarterCorpus):
            self.notes.append(f"corpus '{opened.ref.reference}': what its plugin reads must be there too")

    def add_task(self, task: TaskRef) -> None:
        if task.loader in OWN_TASKS:
            return
        declared = read_declaration(task)
        if declared.path is None:
            self.notes.append(f"data of task {task.task}: its class does not say where it is, so it must be there too")
        elif copy := self.settings.local("datasets", declared.path):
            self._add_dataset_copy(declared.path, copy)
        elif declared.path.count("/") == 1:  # else the task brings its own
            revision = declared.revision or "main"
            listed = list_files("datasets", declared.path, revision, self.settings, wanted=None, unwanted=UNREAD)
            self._add_dataset(_Dataset(listed, True, None, None, frozenset()))

    def needs(self) -> Needs:
        for dataset in self.datasets.values():
            self._add_hub(dataset.listed, f"dataset '{dataset.listed.name}'", dataset)
        for root, files in _outermost(self.local).items():
            self._add_copy(root.as_posix(), f"files of '{root.as_posix()}'", files)
        return Needs(tuple(self.parts.values()), tuple(self.notes), tuple(self.missing))

    def _add_dataset(self, new: _Dataset) -> None:
        name = new.listed.name
        if (old := self.datasets.get(name)) is None:
            self.datasets[name] = new
            return
        if old.listed.commit != new.listed.commit:
            raise XlbenchError(
                f"'{name}' is needed at two commits, {old.listed.commit[:12]} and {new.listed.commit[:12]}, and a data "
                "root holds one."
            )
        listed = HubFiles("datasets", name, new.listed.commit, {**old.listed.files, **new.listed.files})
        self.datasets[name] = _Dataset(
            listed,
            old.whole or new.whole,
            old.corpus or new.corpus,
            old.revision or new.revision,
            old.languages | new.languages,
        )

    def _add_dataset_copy(self, name: str, copy: Path) -> None:
        files = [path for path in sorted(copy.rglob("*")) if path.is_file()]
        shown = {name: path for name, path in _below(copy, files).items() if not _is_hidden(name)}
        if (copy / CARRIED).is_file():
            shown[PurePath(CARRIED)] = copy / CARRIED
        self._add_copy(f"datasets/{name}", f"dataset '{name}'", shown)

    def _add_hub(self, listed: HubFiles, what: str, dataset: _Dataset | None = None) -> None:
        path = f"{listed.kind}/{listed.name}"
        corpus = dataset.corpus if dataset else None

        def write(directory: Path) -> None:
            fetch(listed, directory, self.settings)
            if dataset is not None and corpus is not None:
                _write_carried(directory, corpus, dataset)

        carried: Json = [dataset.revision, sorted(dataset.languages)] if dataset and corpus else None
        identity = fingerprint({"hub": f"{listed.name}@{listed.commit}", "files": sorted(listed.files), "as": carried})
        self.parts[path] = Need(path, what, identity, listed.size, write)

    def _add_local(self, given: str, files: Mapping[PurePath, Path]) -> None:
        root = PurePath(carried_name(given))
        self.local.setdefault(root, {}).update(files)

    def _add_copy(self, path: str, what: str, files: Mapping[PurePath, Path]) -> None:
        digests: dict[str, Json] = {
            name.as_posix(): remembered_digest(source, self.settings.home) for name, source in files.items()
        }
        size = sum(source.stat().st_size for source in files.values())
        self.parts[path] = Need(path, what, fingerprint(digests), size, lambda directory: _copy(files, directory))


def _wheel_part(files: WheelFiles, name: str) -> Need:
    wheel = files.wheel

    def write(directory: Path) -> None:
        for member in wheel.digests:
            path = directory / PurePosixPath(member)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files.read(member))

    return Need(carried_files(wheel), f"encoder '{name}'", fingerprint(dict(wheel.digests)), files.size(), write)


def _write_carried(directory: Path, corpus: HubCorpus, dataset: _Dataset) -> None:
    there = {code: files for code, files in corpus.listing.files.items() if code in dataset.languages}
    listing = corpus.listing.model_copy(update={"files": there})
    digests = {file: file_digest(directory / file) for files in there.values() for file in files}
    carried = CarriedDataset(listing=listing, revision=dataset.revision, digests=digests)
    write_sealed(directory / CARRIED, carried)


def _below(directory: Path, files: list[Path]) -> dict[PurePath, Path]:
    return {file.relative_to(directory): file for file in files}


def _outermost(roots: Mapping[PurePath, Mapping[PurePath, Path]]) -> dict[PurePath, dict[PurePath, Path]]:
    """Put what lies in a directory inside another one's into that one, so that each is written as a whole."""
    merged: dict[PurePath, dict[PurePath, Path]] = {}
    for root in sorted(roots, key=lambda it: len(it.parts)):
        outer = next((it for it in merged if root.is_relative_to(it)), root)
        below = root.relative_to(outer)
        merged.setdefault(outer, {}).update({below / name: source for name, source in roots[root].items()})
    return merged


def _copy(files: Mapping[PurePath, Path], directory: Path) -> None:
    for name, source in files.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _is_hidden(name: PurePath) -> bool:
    return any(part.startswith(".") for part in name.parts)
