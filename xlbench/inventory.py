"""What the store holds: how large it is, when it was last used and who needs it; pruned, verified, exported, imported.

An entry is needed by the records of the store, and by the rows of the boards under ``leaderboards/`` of the working
directory, that name its key: a record its stages, its encoders and its training data, a board's row its record too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from xlbench.boards.board import board_paths
from xlbench.corpora.prepare import KIND as CORPORA
from xlbench.corpora.prepare import corpus_key
from xlbench.disk import answered
from xlbench.errors import XlbenchError, look_up
from xlbench.fingerprint import Frozen, Json
from xlbench.records.predictions import read_key
from xlbench.records.record import FILE, Record, read_record
from xlbench.records.record import KIND as RECORDS
from xlbench.records.stored import stored_records
from xlbench.settings import new_path, path_of
from xlbench.store import Damage, Entry, entry_path, examine
from xlbench.store.archive import Imported, export_entries, import_archive
from xlbench.store.entry import MANIFEST, entry_names, entry_size, find_name
from xlbench.store.remove import remove_entry, remove_unfinished, unfinished
from xlbench.validation import validated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from xlbench.settings import Settings

KINDS = (RECORDS, "stages", "targets", "encoders", CORPORA, "tokens", "near-duplicates")  # that a store may have


class Holding(Frozen):
    """One entry of the store."""

    kind: str
    key: str
    what: str = Field(description="What it is: the name of a stage, an encoder or a record.")
    bytes: int
    made: float = Field(description="When it was finished, in seconds since the epoch.")
    used: float = Field(description="When a run last took it from the store, likewise.")
    needed_by: tuple[str, ...] = Field(description="Records and rows of boards that name it.")
    damage: str | None = Field(description="What is wrong with it; None if nothing is, as far as that was looked at.")

    @property
    def name(self) -> str:
        """Kind and key."""
        return f"{self.kind}/{self.key}"


class Pruned(Frozen):
    """What pruning took, or would take."""

    taken: tuple[Holding, ...]
    unfinished: tuple[str, ...] = Field(description="What interrupted builds left, by its name under partial/.")
    kept: dict[str, str] = Field(description="Why others that were asked for are kept, by name.")

    @property
    def bytes(self) -> int:
        """The bytes of the entries that were taken."""
        return sum(it.bytes for it in self.taken)


class _Asked(Frozen):
    """Arguments of methods, checked."""

    name: str = Field(default="x", min_length=1)
    names: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    kind: str | None = None
    older_than: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    unused_for: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    damaged: bool = False
    interrupted: bool = False
    force: bool = False
    delete: bool = False


def _check(**given: object) -> _Asked:
    """Return arguments, checked.

    Raises:
        XlbenchError: One of them is of the wrong kind or out of bounds.
    """
    return validated(_Asked, given, "argument")


@dataclass(frozen=True)
class Store:
    """The store of this machine, as ``xlbench store`` shows it."""

    settings: Settings = field(repr=False)

    @property
    def home(self) -> Path:
        """Its directory."""
        return self.settings.home

    def entries(self, kind: str | None = None) -> list[Holding]:
        """Return all entries, by kind and then the oldest first; only those of a kind if given. No file is read.

        Raises:
            XlbenchError: There is no such kind of entry.
        """
        self._check_kind(_check(kind=kind).kind)
        needed = self._needed()
        found = [self._holding(*name, needed, only=()) for name in entry_names(self.home) if kind in {None, name[0]}]
        return sorted(found, key=lambda it: (it.kind, it.made))

    def find(self, name: str) -> tuple[str, str]:
        """Return kind and key of an entry.

        Args:
            name: Its key, or the first four digits of it or more, after its kind and a slash if you like.

        Raises:
            XlbenchError: There is no such entry, or there are several.
        """
        return find_name(_check(name=name).name, list(entry_names(self.home)), f"The store in {self.home}")

    def entry(self, name: str) -> Holding:
        """Return one entry, all its files verified.

        Raises:
            XlbenchError: There is no such entry, or there are several.
        """
        return self._holding(*self.find(name), self._needed(), only=None)

    def facts(self, name: str) -> dict[str, Json]:
        """Return what the store keeps of an entry: the facts that its build left, and the checksums of its files.

        Raises:
            XlbenchError: There is no such entry, there are several, or its manifest is damaged.
        """
        found = examine(self.home, *self.find(name), only=())
        if not isinstance(found, Entry):
            raise XlbenchError(f"{found}.", "Run again what made it, and it is made anew.")
        return {"facts": found.manifest.facts, "seconds": found.manifest.seconds, "files": found.manifest.files}

    def verify(self, names: Sequence[str] = (), advance: Callable[[Holding], object] = lambda _: None) -> list[Holding]:
        """Compare every file of entries, all if none is named, with its checksum, and return those that are damaged.

        Args:
            names: As :meth:`find` takes them.
            advance: Called with each entry once it is verified.

        Raises:
            XlbenchError: There is no entry of a name, or there are several.
        """
        _check(names=names)
        needed = self._needed()
        damaged = []
        for name in [self.find(it) for it in names] or list(entry_names(self.home)):
            holding = self._holding(*name, needed, only=None)
            advance(holding)
            if holding.damage:
                damaged.append(holding)
        return damaged

    def prune(
        self,
        names: Sequence[str] = (),
        *,
        kind: str | None = None,
        older_than: float = 0.0,
        unused_for: float = 0.0,
        damaged: bool = False,
        interrupted: bool = False,
        force: bool = False,
        delete: bool = False,
    ) -> Pruned:
        """Delete entries that no record and no row of a board needs.

        What a process builds or a run needs just now is never deleted. Records are, where they are damaged, or where
        they are named (or their kind is) with ``force``.

        Args:
            names: Only these, as :meth:`find` takes them.
            kind: Only entries of this kind.
            older_than: Only entries that are older than so many hours.
            unused_for: Only entries that no run took for so many hours.
            damaged: Only entries that are damaged, needed or not; all files are verified.
            interrupted: Also what interrupted builds left; they would resume from it.
            force: Also what records and boards need.
            delete: Delete; otherwise only return what would be deleted.

        Raises:
            XlbenchError: There is no entry of a name, no such kind, or the store may only be read.
        """
        _check(
            names=names,
            kind=kind,
            older_than=older_than,
            unused_for=unused_for,
            damaged=damaged,
            interrupted=interrupted,
            force=force,
            delete=delete,
        )
        self._check_kind(kind)
        needed = self._needed()
        chosen = [self.find(it) for it in names] or list(entry_names(self.home))
        now = time.time()
        taken, kept = [], {}
        for name in chosen:
            if kind not in {None, name[0]}:
                continue
            holding = self._holding(*name, needed, only=None if damaged else ())
            if now - holding.made < older_than * 3600 or now - holding.used < unused_for * 3600:
                continue
            if damaged and not holding.damage:
                continue
            reason = _protected(holding, named=bool(names) or kind == RECORDS, damaged=damaged, force=force)
            if reason is None and delete:
                reason = remove_entry(self.home, *name)
            if reason is None:
                taken.append(holding)
            else:
                kept[holding.name] = reason
        left = []
        for it in unfinished(self.home) if interrupted else ():
            if now - it.changed < max(older_than, unused_for) * 3600:
                continue
            if delete and (reason := remove_unfinished(self.home, it.path.name)):
                kept[f"partial/{it.path.name}"] = reason
            else:
                left.append(it.path.name)
        return Pruned(taken=tuple(taken), unfinished=tuple(left), kept=kept)

    def export(self, archive: str | Path, names: Sequence[str] = ()) -> list[str]:
        """Write entries, all if none is named, into one new archive; with a record go the entries that it needs.

        Returns:
            The entries in it, as kind/key.

        Raises:
            XlbenchError: The file is there already, there is no entry of a name, or one is damaged.
        """
        target = new_path(archive, "archive")
        _check(names=names)
        chosen = dict.fromkeys([self.find(it) for it in names] or entry_names(self.home))
        if names:
            records = {it.key: it.record for it in stored_records(self.settings)}
            for kind, key in list(chosen):
                if kind == RECORDS and key in records:
                    chosen |= dict.fromkeys(it for it in named_by(records[key]) if entry_path(self.home, *it).is_dir())
        export_entries(self.home, list(chosen), target)
        return ["/".join(name) for name in chosen]

    def add(self, archive: str | Path) -> Imported:
        """Take the entries of an archive over, all of them verified before the first one is.

        Raises:
            XlbenchError: The archive is damaged, or is none; nothing of it is kept then.
        """
        source = path_of(archive, "archive")
        with answered():
            return import_archive(self.home, source)

    def _check_kind(self, kind: str | None) -> None:
        if kind is not None:
            look_up("kind of entry", kind, dict.fromkeys([*KINDS, *(it[0] for it in entry_names(self.home))]))

    def _needed(self) -> dict[tuple[str, str], list[str]]:
        """Return who needs each entry: records of the store and rows of boards, by kind and key."""
        needed: dict[tuple[str, str], list[str]] = {}
        for kind, key in entry_names(self.home):
            if kind != RECORDS:
                continue
            try:  # damaged or not: what a record names is kept until it is made again from that
                record = read_record(entry_path(self.home, kind, key) / FILE)
            except XlbenchError:
                continue
            for name in named_by(record):
                needed.setdefault(name, []).append(f"record {key[:8]} ({record.name})")
        for board in board_paths():
            for path in sorted((board.with_suffix("") / "records").glob("*.json")):
                who = f"board {board.stem}: {path.stem}"
                own = read_key(path)
                try:
                    named = named_by(read_record(path))
                except XlbenchError:  # the board itself says so, where it is shown or run
                    named = []
                for name in [*named, *([(RECORDS, own)] if own else [])]:
                    needed.setdefault(name, []).append(who)
        return needed

    def _holding(
        self, kind: str, key: str, needed: dict[tuple[str, str], list[str]], only: Sequence[str] | None
    ) -> Holding:
        path = entry_path(self.home, kind, key)
        found = examine(self.home, kind, key, only)
        manifest = found.manifest if isinstance(found, Entry) else None
        changed = path.lstat().st_mtime
        facts = manifest.facts if manifest else {}
        what = next((facts[name] for name in ("stage", "name", "encoder", "source") if facts.get(name)), "")
        return Holding(
            kind=kind,
            key=key,
            what=str(what),
            bytes=entry_size(path),
            made=manifest.made if manifest else changed,
            used=(path / MANIFEST).lstat().st_mtime if manifest else changed,
            needed_by=tuple(needed.get((kind, key), ())),
            damage=found.reason if isinstance(found, Damage) else None,
        )


def _protected(holding: Holding, *, named: bool, damaged: bool, force: bool) -> str | None:
    """Return why an entry is not pruned; None if it may be."""
    if damaged:
        return None
    if holding.kind == RECORDS and not (named and force):
        return "it is a record"
    if holding.needed_by and not force:
        return f"{holding.needed_by[0]} needs it"
    return None


def named_by(record: Record) -> Iterable[tuple[str, str]]:
    """Return kind and key of the entries that a record names, whether they are in the store or not."""
    yield "stages", record.encoder_key
    yield "encoders", record.encoder_key
    for stage in record.stages:
        yield "stages", stage.key
    if record.experiment is not None:
        for encoder in (record.experiment.assistant, *record.experiment.teachers):
            yield "encoders", encoder.fingerprint
        yield CORPORA, corpus_key(record.experiment.data)
