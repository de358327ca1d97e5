"""Other values for everything that a result may depend on."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from pydantic import ValidationError

from xlbench.testing.toys import BUDGET, STUDENT, SUITE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic.fields import FieldInfo

    from xlbench.distill.method import Options, Scalar

KNOBS: dict[str, dict[str, object]] = {
    "seed": {"seeds": [1]},
    "student.bottleneck": {"student": {"bottleneck": 6}},
    "student.layers": {"student": {"layers": 1}},
    "student.repeats": {"student": {"repeats": 1}},
    "budget.student_pairs": {"student_pairs": BUDGET.student_pairs // 2},
    "budget.assistant_pairs": {"assistant_pairs": BUDGET.assistant_pairs // 2},
}
"""Changes to a bench's request, beside a method's options, that may change its result."""

CONTEXTS: tuple[dict[str, object], ...] = (
    {},
    {"teacher": ["teacher"]},
    {"teacher": ["assistant", "teacher"]},
    {"student": {"bottleneck": None}},
    {"student": {"repeats": 1}},
    {"student_pairs": 1_000_000},
)
"""Changes to a bench's request in which an option may come to matter; 'teacher' stands for the toy teacher."""

RENAMED = {
    "student": STUDENT.model_copy(update={"name": "renamed", "summary": "the same under another name"}),
    "budget": BUDGET.model_copy(update={"name": "renamed"}),
    "suite": SUITE.model_copy(update={"name": "renamed", "summary": "the same under another name"}),
}
"""Parts of an experiment under other names, which change no result."""


def other_values(options: type[Options], name: str) -> list[Scalar]:
    """Return other valid values of an option that can be typed (``-o``), small steps first.

    Those that its annotation lists, some near its default and its bounds, and the ``examples`` of its field.
    """
    field = options.model_fields[name]
    defaults = options()
    now: object = getattr(defaults, name)
    found: list[Scalar] = []
    for candidate in (*_listed(field.annotation), *_near(now), *_bounds(field), *(field.examples or ())):
        try:
            changed = options.model_validate({name: candidate})
        except ValidationError:
            continue
        value = changed.model_dump(mode="json").get(name)  # a field may be left out of JSON
        if getattr(changed, name) != now and isinstance(value, (bool, int, float, str)) and value not in found:
            found.append(value)
    return found


def _listed(annotation: object) -> Iterator[object]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        yield from annotation
    for part in get_args(annotation):
        if get_origin(part) is Literal:
            yield from get_args(part)


def _near(value: object) -> Iterator[object]:
    """Yield values of the same type, small steps first: toys have room for no large ones."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, value * 2, value // 2)
    elif isinstance(value, float):
        yield from (value * 0.5, value * 1.5, value + 0.125, value - 0.125)
    elif isinstance(value, str):
        yield value + "x"
    elif value is None:
        yield from (1, 8, 0.5, 0.25, "x", True)


def _bounds(field: FieldInfo) -> Iterator[object]:
    for rule in field.metadata:
        for bound in ("ge", "gt", "le", "lt"):
            if isinstance(limit := getattr(rule, bound, None), (int, float)):
                yield from (limit, limit + 1, limit - 1)


def merge_changes(changes: Iterable[dict[str, object]]) -> dict[str, object]:
    """Return several changes as one."""
    merged: dict[str, object] = {}
    for change in changes:
        for name, value in change.items():
            before = merged.get(name)
            if isinstance(before, dict) and isinstance(value, dict):
                value = {**before, **value}  # noqa: PLW2901 - merged with the changes before
            merged[name] = value
    return merged
