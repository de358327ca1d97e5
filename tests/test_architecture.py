"""docs/architecture.md: its rooms are those of the import contract, its arrows the imports, its files there."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
# They export what the rooms define, start the command line, and hold the version.
DOORS = {"__init__", "__main__", "_version", "api"}

Arrows = dict[str, set[str]]


def contract() -> list[tuple[int, str]]:
    """The level of each room in the import contract, from the top, and its name."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (it["layers"] for it in declared if it["type"] == "layers")
    return [
        (level, name.strip().removeprefix("xlbench."))
        for level, layer in enumerate(layers, 1)
        for name in layer.split("|")
    ]


@cache
def imports() -> Arrows:
    """Which rooms each room imports, type-checking imports included."""
    graph = grimp.build_graph("xlbench", cache_dir=None)
    rooms = {room for _, room in contract()}
    found: Arrows = {room: set() for room in rooms}
    for module in graph.modules:
        for target in graph.find_modules_directly_imported_by(module):
            here, there = (f"{name}.".split(".")[1] for name in (module, target))
            if {here, there} <= rooms and here != there:
                found[here].add(there)
    return found


def drawn() -> Arrows:
    """The arrows of the picture."""
    (picture,) = re.findall(r"```mermaid\nflowchart TD\n(.*?)```", PAGE, re.DOTALL)
    found: Arrows = {room: set() for _, room in contract()}
    for line in picture.splitlines():
        arrow = re.fullmatch(r" {4}(\w+) --> (\w+)", line)
        assert arrow, f"no arrow: {line}"
        found[arrow[1]].add(arrow[2])
    return found


def reached(arrows: Arrows, room: str) -> set[str]:
    """The rooms that can be reached from a room along arrows."""
    found: set[str] = set()
    left = [room]
    while left:
        new = arrows[left.pop()] - found
        found |= new
        left += new
    return found


def test_the_rooms_of_the_page_are_the_layers_of_the_contract_in_their_order() -> None:
    listed = re.findall(r"^\| (\d+) \| `(\w+)` \| [A-Z`].+\. \|$", PAGE, re.MULTILINE)
    assert [(int(level), room) for level, room in listed] == contract()


def test_every_room_is_in_the_contract() -> None:
    folders = {path.parent.name for path in (ROOT / "xlbench").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "xlbench").glob("*.py")}
    assert (folders | modules) - DOORS == {room for _, room in contract()}


@pytest.mark.parametrize("room", [room for _, room in contract()])
def test_an_arrow_is_an_import_and_every_import_is_an_arrow_or_a_way_along_arrows(room: str) -> None:
    assert drawn()[room] <= imports()[room]
    assert reached(drawn(), room) == reached(imports(), room)
    # An arrow beside a longer way would say nothing, and the picture is full enough.
    for target in drawn()[room]:
        assert not any(target in reached(drawn(), other) for other in drawn()[room] - {target})


def test_files_and_functions_that_the_page_names_are_there() -> None:
    paths = re.findall(r"`((?:xlbench|plugins)/[\w/.]*)`", PAGE)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for function, path in re.findall(r"\| `(\w+)` \| `(xlbench/[\w/]+\.py)` \|", PAGE):
        assert f"\ndef {function}" in (ROOT / path).read_text("utf-8"), f"{path} defines no {function}"
    assert "\ndef recurrent_stage(" in (ROOT / "xlbench" / "distill" / "stages.py").read_text("utf-8")
