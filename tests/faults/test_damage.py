"""Files of a store that are damaged: each damage is found, and its entry built again or refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from trials import results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trials import Place

pytestmark = pytest.mark.faults
# For an entry of a kind to be read, what was made of it must be gone.
MADE_OF = {
    "corpora": ("tokens", "targets", "stages", "records"), "tokens": ("stages", "records"),
    "targets": ("stages", "records"), "stages": ("records",), "near-duplicates": ("records",), "records": (),
}  # fmt: skip


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_version(path: Path) -> None:
    content = path.read_bytes()
    if path.suffix == ".json" and isinstance(read := json.loads(content), dict):
        path.write_text(json.dumps({**read, "version": 999, "format": 999}))
    else:
        path.write_bytes(b"\x93VERSION" + content[8:])


DAMAGES = {
    "a bit flipped": flip, "cut in half": truncate, "deleted": lambda path: path.unlink(), "emptied": empty,
    "of another version": other_version,
}  # fmt: skip


def targets_of(home: Path) -> list[tuple[str, str]]:
    """(kind, path in the store) of one file of each name in each kind."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(home.rglob("*")):
        kind, _, rest = path.relative_to(home).as_posix().partition("/")
        if path.is_file() and kind in MADE_OF:
            found.setdefault((kind, rest.partition("/")[2]), f"{kind}/{rest}")
    return [(kind, path) for (kind, _), path in found.items()]


def test_every_damage_is_found(short_place: Place, long: bool, report: Callable[[str, object, str], None]) -> None:
    place = short_place
    chosen = [(kind, path, how) for kind, path in targets_of(place.home) for how in DAMAGES]
    if not long:  # of these kinds one file, damaged in another way each
        kinds = ["corpora", "targets", "stages", "records"]
        chosen = [
            next(it for it in chosen if it[0] == kind and it[2] == list(DAMAGES)[number % 5])
            for number, kind in enumerate(kinds)
            if any(it[0] == kind for it in chosen)
        ]
    outcomes: Counter[str] = Counter()
    unnoticed = []
    for kind, path, how in chosen:
        directory = place.directory()
        home = directory / "home"
        shutil.copytree(place.home, home)
        for made in MADE_OF[kind]:
            shutil.rmtree(home / made, ignore_errors=True)
        DAMAGES[how](home / path)
        run = place.start(directory, [*place.words(home), "--json"]).wait()
        if run.refusal:
            outcomes["refused"] += 1
        elif run.code == 0 and results(home) == place.whole:
            outcomes["built again"] += 1
        else:
            unnoticed.append((path, how, run.code, run.said[-300:]))
        shutil.rmtree(directory)
    assert not unnoticed, f"{len(unnoticed)} of {len(chosen)}: {unnoticed}"
    report(
        f"A file of the store damaged: {', '.join(DAMAGES)}", len(chosen),
        ", ".join(f"{number} {what}" for what, number in outcomes.items()) + "; none used",
    )  # fmt: skip
