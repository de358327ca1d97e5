"""Identity in keys: classes of xlbench by a tag, anybody else's by their code, options and specs whole."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import pytest
import xlbench_plugins
from pydantic import BaseModel
from wrong_methods import Spoil
from xlbench_plugins.builtin import STARTER

import xlbench
from xlbench.api import Bottleneck, Edit, LiveObjective, Objective, Shape, StudentSpec, Target
from xlbench.distill.edits import Loop, Quantise
from xlbench.distill.plan import Stage
from xlbench.fingerprint import Frozen, meaning
from xlbench.scoring.data import OWN_TASKS
from xlbench.scoring.tasks import load_task
from xlbench.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

OURS = ("xlbench", "xlbench_plugins")


class Tagged:
    """Has a tag."""

    tag: ClassVar[str] = "tagged/1"


def parts() -> list[type]:
    """Return every edit and objective of xlbench, wherever it is."""
    for package in (xlbench, xlbench_plugins):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", "testing.conformance")):
                importlib.import_module(module.name)
    found, left = set(), [BaseModel]
    while left:
        for kind in left.pop().__subclasses__():
            left.append(kind)
            if kind.__module__.partition(".")[0] in OURS and issubclass(kind, (Edit, Objective, LiveObjective)):
                found.add(kind)
    return sorted(found, key=lambda kind: kind.__qualname__)


def test_every_edit_and_objective_of_xlbench_has_a_tag_of_its_own() -> None:
    found = parts()
    assert {Bottleneck, Loop, Quantise} <= set(found)
    tags = {kind.__name__: vars(kind).get("tag") for kind in found}  # not inherited
    assert [name for name, tag in tags.items() if not re.fullmatch(r"[a-z0-9-]+/[1-9][0-9]*", str(tag))] == []
    assert [tag for tag, count in Counter(tags.values()).items() if count > 1] == []
    assert all(meaning(kind) == tags[kind.__name__] for kind in found)


def test_a_class_of_xlbench_without_a_tag_has_no_meaning() -> None:
    forgotten = type("Forgotten", (Tagged,), {"__module__": "xlbench.distill.edits"})  # inherits a tag
    with pytest.raises(TypeError, match="Forgotten needs a tag of its own"):
        meaning(forgotten)


def test_a_renamed_or_moved_class_of_xlbench_keeps_its_meaning() -> None:
    places = [("xlbench.distill.edits", "Loop"), ("xlbench_plugins.loops", "Recurrence")]
    kinds = [type(name, (), {"__module__": module, "tag": "loop/3"}) for module, name in places]
    assert [meaning(kind) for kind in kinds] == ["loop/3", "loop/3"]


def test_a_plugins_class_is_identified_by_its_code_and_not_by_its_tag() -> None:
    class Claims(Spoil):
        tag: ClassVar[str] = "bottleneck/1"

    Claims.__module__ = Spoil.__module__
    code = meaning(Spoil).rpartition(":")[2]
    assert re.fullmatch(r"[0-9a-f]{20}", code)
    assert meaning(Claims).split(":")[1:] == [code]

    class Wider(Bottleneck):
        """A plugin's own, whose meaning changes with its parent's too."""

    assert meaning(Wider).split(":")[2:] == ["bottleneck/1"]
    assert sys.modules[Wider.__module__] is sys.modules[__name__]


def test_a_part_inside_a_part_is_described_with_its_tag() -> None:
    class Twice(Frozen):
        first: Bottleneck

        def inputs(self) -> tuple[str, ...]:
            return ()

        def reshape(self, shape: Shape) -> Shape:
            return shape

        def apply(self, model: object, context: object) -> object:
            return model

    described = Stage("s", "assistant", (Twice(first=Bottleneck(width=8)),)).describe()
    assert "'tag': 'bottleneck/1'" in str(described)


def test_keys_include_defaults() -> None:
    assert StudentSpec(name="s", layers=2).model_dump()["bits"] == 32
    assert Target(encoder="teacher", side="english").model_dump()["bank"] == 0


def test_tasks_that_ship_with_xlbench_are_identified_by_tags(tmp_path: Path) -> None:
    assert {task.loader for task in STARTER.tasks} == set(OWN_TASKS)
    for task in STARTER.tasks:
        loaded = load_task(task, Settings(home=tmp_path))
        assert loaded.metadata.name == task.task
