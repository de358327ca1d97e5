"""Where things go in a plot: scales, ticks, and labels that do not collide.

Positions are rounded to hundredths of a pixel before anything is decided by comparing them, and what follows
uses nothing but the four basic operations: the same figures give the same picture on any machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TEXT_HEIGHT = 1.2  # of the font size
WIDE = frozenset("MWmw@%—…")
NARROW = frozenset("ijltfrI1.,:;|!'()[]/ -")
DISTANCES = (9.0, 15.0, 23.0, 33.0, 45.0, 60.0, 78.0, 100.0, 126.0, 156.0)
DIRECTIONS = (
    (1.0, 0.0),
    (-1.0, 0.0),
    (0.8, -0.6),
    (0.8, 0.6),
    (-0.8, -0.6),
    (-0.8, 0.6),
    (0.0, -1.0),
    (0.0, 1.0),
    (0.6, -0.8),
    (0.6, 0.8),
    (-0.6, -0.8),
    (-0.6, 0.8),
)  # fmt: skip - unit vectors, the preferred ones first


CROSSING = 14.0  # what lying on a line costs, in pixels of distance
SPOTS = 8  # along a leader, where it may run into a label


class Box(NamedTuple):
    """A rectangle, in pixels; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Return whether the two share more than an edge."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def holds(self, other: Box) -> bool:
        """Return whether ``other`` lies inside."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )


@dataclass(frozen=True)
class Label:
    """A placed label.

    Attributes:
        text: What it says.
        box: Where it is.
        leader: The end of the line that ties it to its point, at the box's edge; None when it stands beside it.
    """

    text: str
    box: Box
    leader: tuple[float, float] | None


def text_width(text: str, size: float) -> float:
    """Return how wide text is at most in a common sans-serif font of ``size`` pixels, by a coarse estimate."""

    def ems(char: str) -> float:
        if char >= "\u1100":  # Hangul, Chinese, Japanese, symbols and emoji: as wide as high
            return 1.05
        if char in WIDE:
            return 0.95
        return 0.38 if char in NARROW else 0.72 if char.isupper() else 0.62

    return round(size * sum(ems(char) for char in text), 2)


def place_labels(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    bounds: Box,
    *,
    size: float,
    radius: float,
    lines: Sequence[Box] = (),
) -> list[Label | None]:
    """Give each point a label near it, so that no label covers another or a mark.

    Greedy, in the order of the points: each takes the cheapest of some hundred places that is free; near is
    cheap, lying on a line costs. A label that fits nowhere is left out.

    Args:
        points: x and y of each, the most important first.
        texts: Their labels; a point whose text is empty gets none.
        bounds: No label leaves it.
        size: Of the font, in pixels.
        radius: Of the marks.
        lines: What labels should rather not lie on.
    """
    marks = [Box(x - radius, y - radius, x + radius, y + radius) for x, y in points]
    placed: list[Box] = []
    leaders: list[Box] = []
    labels: list[Label | None] = []
    for (x, y), text in zip(points, texts, strict=True):
        best: tuple[float, Label] | None = None
        for cost, candidate in _candidates(x, y, text, size) if text else ():
            if best is not None and cost >= best[0]:
                continue
            box = candidate.box
            if not bounds.holds(box) or any(box.overlaps(other) for other in (*placed, *marks)):
                continue
            leader = [] if candidate.leader is None else _stretch((x, y), candidate.leader)
            crossed = sum(box.overlaps(line) for line in (*lines, *leaders))
            hidden = sum(spot.overlaps(other) for spot in leader for other in placed)
            total = cost + CROSSING * (crossed + hidden)
            if best is None or total < best[0]:
                best = (total, candidate)
        labels.append(best[1] if best else None)
        if best:
            placed.append(best[1].box)
            leaders += [] if best[1].leader is None else _stretch((x, y), best[1].leader)
    return labels


def _stretch(start: tuple[float, float], end: tuple[float, float]) -> list[Box]:
    """Return a line as small boxes along it."""
    (x, y), (right, down) = start, ((end[0] - start[0]) / SPOTS, (end[1] - start[1]) / SPOTS)
    return [
        Box(x + right * number - 1, y + down * number - 1, x + right * number + 1, y + down * number + 1)
        for number in range(1, SPOTS)
    ]


def _candidates(x: float, y: float, text: str, size: float) -> list[tuple[float, Label]]:
    width, height = text_width(text, size), TEXT_HEIGHT * size
    found = []
    for distance in DISTANCES:
        for number, (right, down) in enumerate(DIRECTIONS):
            middle = y + down * (distance + height / 2)
            aside = width / 2 if right == 0.0 else width if right < 0 else 0.0
            left = x + right * distance - aside
            box = Box(*(round(edge, 2) for edge in (left, middle - height / 2, left + width, middle + height / 2)))
            leader = None
            if distance > DISTANCES[1]:
                leader = (min(max(x, box.left), box.right), min(max(y, box.top), box.bottom))
            found.append((distance + number, Label(text, box, leader)))
    return found


@dataclass(frozen=True)
class Scale:
    """From values to pixels.

    Attributes:
        place: Gives the pixel of a value, rounded to hundredths.
        ticks: Values worth a line, inside the scale.
    """

    place: Callable[[float], float]
    ticks: tuple[float, ...]


def linear_scale(values: Sequence[float], start: float, end: float, *, most: int = 7) -> Scale:
    """Return a scale from ``start`` to ``end`` pixels around the values, with ``most`` round ticks or a few less."""
    low, high = _widened(min(values), max(values), 0.06)
    step = _round_step((high - low) / most)
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return Scale(
        lambda value: round(start + (end - start) * (value - low) / (high - low), 2),
        tuple(round(number * step, 6) for number in numbers),
    )


def log_scale(values: Sequence[float], start: float, end: float, *, ticks: int = 4) -> Scale:
    """Return a logarithmic scale from ``start`` to ``end`` pixels around the values, all above zero."""
    low, high = _widened(math.log10(min(values)), math.log10(max(values)), 0.12)
    found: tuple[float, ...] = ()
    for leading in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)):
        found = tuple(
            float(f"{lead}e{power}")
            for power in range(math.floor(low), math.ceil(high) + 1)
            for lead in leading
            if low <= math.log10(lead) + power <= high
        )
        if len(found) >= ticks:
            break
    return Scale(lambda value: round(start + (end - start) * (math.log10(value) - low) / (high - low), 2), found)


def _widened(low: float, high: float, share: float) -> tuple[float, float]:
    room = (high - low) * share or max(abs(high) * share, 0.05)
    return low - room, high + room


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(lead * power for lead in (1, 2, 5, 10) if lead * power >= step)
