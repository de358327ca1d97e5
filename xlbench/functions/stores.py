"""What ``import xlbench`` says of a store and of what runs with it, and how two stores share entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Unpack

from pydantic import Field

from xlbench.arguments import Where, place_of, refuse_unknown
from xlbench.disk import answered
from xlbench.errors import XlbenchError, look_up
from xlbench.fingerprint import Frozen
from xlbench.settings import path_of
from xlbench.validation import validated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from xlbench.inventory import Store
    from xlbench.runs.status import Status
    from xlbench.settings import Settings
    from xlbench.store.remote import Remote
    from xlbench.store.sync import Synced


class _Syncing(Frozen):
    """Arguments of :func:`sync_store`, checked."""

    names: tuple[Annotated[str, Field(min_length=1)], ...]
    kind: str | None
    push: bool
    pull: bool
    dry_run: bool


def open_store(**where: Unpack[Where]) -> Store:
    """Open the store: what it holds and who needs it; to verify, prune, export to a file and import from one.

    Args:
        where: As :class:`Where` says.
    """
    from xlbench.inventory import Store

    refuse_unknown(open_store, where)
    return Store(place_of(where))


def status(**where: Unpack[Where]) -> list[Status]:
    """Return what runs with a store just now, on this machine or another: stage, loss, steps, time left.

    Args:
        where: As :class:`Where` says.
    """
    from xlbench.runs.status import read_status

    refuse_unknown(status, where)
    return read_status(place_of(where).home)


def sync_store(
    url: str | Path,
    names: Sequence[str] = (),
    *,
    kind: str | None = None,
    push: bool = True,
    pull: bool = True,
    dry_run: bool = False,
    **where: Unpack[Where],
) -> Synced:
    """Share entries with machines that have no disk in common, by an address that all of them reach.

    Pushes what the address does not have, then pulls what the store does not have. Entries are verified before they are
    pushed, and again before the store takes them over; what is damaged is left out and named in the result. With a
    record go the stages, encoders and training data that it needs.

    Args:
        url: Whatever fsspec takes: 's3://bucket/folder', 'sftp://host/folder', a directory.
        names: Only these: their keys, or the first four digits of them or more; also 'KIND/KEY'.
        kind: Only entries of this kind.
        push: Push.
        pull: Pull.
        dry_run: Only return what would be pushed and pulled.
        where: As :class:`Where` says.

    Raises:
        XlbenchError: There is no such protocol, a package for it is missing, the address fails or may not be used, or
            there is no entry of a name.
    """
    from xlbench.store.remote import open_remote, require_there

    refuse_unknown(sync_store, where)
    given = {"names": names, "kind": kind, "push": push, "pull": pull, "dry_run": dry_run}
    asked = validated(_Syncing, given, "argument")
    if not asked.push and not asked.pull:
        raise XlbenchError("Neither 'push' nor 'pull' is asked for.", "Leave one of them true.")
    settings = place_of(where)
    is_address = isinstance(url, str) and "://" in url and "\0" not in url
    with answered():
        remote = open_remote(str(url if is_address else path_of(url, "url")), settings.home)
        if not asked.push:
            require_there(remote)
        return _sync(settings, remote, asked)


def _sync(settings: Settings, remote: Remote, asked: _Syncing) -> Synced:
    from xlbench.inventory import KINDS, named_by
    from xlbench.records.record import KIND as RECORDS
    from xlbench.records.stored import stored_records
    from xlbench.store.entry import entry_names, find_name
    from xlbench.store.remote import list_uploads
    from xlbench.store.sync import Synced, pull_entries, push_entries

    known = dict.fromkeys([*entry_names(settings.home), *list_uploads(remote).uploads])
    if asked.kind is not None:
        look_up("kind of entry", asked.kind, dict.fromkeys([*KINDS, *(kind for kind, _ in known)]))
    of_kind = [name for name in known if asked.kind in {None, name[0]}]
    place = f"The store in {settings.home}, with '{remote.name}',"
    chosen = {find_name(name, of_kind, place) for name in asked.names} or set(of_kind)

    def go(names: set[tuple[str, str]]) -> Synced:
        done = Synced()
        if asked.push:
            done += push_entries(settings.home, remote, names, dry_run=asked.dry_run, quiet=settings.quiet)
        if asked.pull:
            done += pull_entries(settings.home, remote, names, dry_run=asked.dry_run, quiet=settings.quiet)
        return done

    done = Synced()
    if asked.names and asked.kind is None:  # what a record needs is known once the store has it
        records = {name for name in chosen if name[0] == RECORDS}
        done = go(records) if records else done
        needed = [named_by(it.record) for it in stored_records(settings) if (RECORDS, it.key) in records]
        chosen = (chosen - records).union(*needed)
    return done + go(chosen) if chosen else done
