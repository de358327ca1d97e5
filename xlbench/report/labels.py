"""Where labels are placed in a plot: near their marks, and without covering anything."""

from __future__ import annotations

from math import hypot
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.path import Path
    from matplotlib.transforms import Bbox

    Place = tuple[float, float]

DISTANCES = (2.0, 6.0, 12.0, 20.0, 30.0, 42.0, 56.0, 72.0, 90.0, 115.0, 145.0)  # pixels between mark and label
DIRECTIONS = (
    (1.0, 0.0),
    (-1.0, 0.0),
    (0.8, 0.6),
    (0.8, -0.6),
    (-0.8, 0.6),
    (-0.8, -0.6),
    (0.0, 1.0),
    (0.0, -1.0),
    (0.6, 0.8),
    (0.6, -0.8),
    (-0.6, 0.8),
    (-0.6, -0.8),
    (0.95, 0.3),
    (0.95, -0.3),
    (-0.95, 0.3),
    (-0.95, -0.3),
)  # fmt: skip - unit vectors, the preferred ones first
# What a flaw costs, in pixels of distance: a line through a label (and half a pixel more for each pixel of its width,
# since a long one is harder to read), a tie across a line, a tie across another mark, and being near another mark.
ON_LINE, ACROSS_LINE, ACROSS_MARK, MISTAKEN = 15.0, 15.0, 30.0, 12.0
GAP = 1.0  # pixels around a label
TIED = 8.0  # pixels of distance from which a line ties a label to its mark
CLEAR = 3.0  # pixels by which a label that is not tied is nearer to its own mark than to any other


def place_labels(
    marks: Sequence[Place],
    others: Sequence[Place],
    sizes: Sequence[tuple[float, float]],
    taken: Sequence[Bbox],
    lines: Sequence[Path],
    bounds: Bbox,
    radius: float,
    *,
    clear: bool = False,
) -> list[tuple[Place, bool] | None]:
    """Give each mark's label a place that covers no box and no other label, and if possible no line.

    Greedy, in the order of the marks: each takes the cheapest of some hundred places; near is cheap. A label that is
    far from its mark, or near to another, is tied to its mark by a line.

    Args:
        marks: Centres of the marks that have labels, in pixels, the most important first.
        others: Centres of all marks.
        sizes: Width and height of each label.
        taken: What no label may lie on: all marks, and intervals.
        lines: What labels had better not lie on.
        bounds: No label leaves it.
        radius: Of the marks.
        clear: Whether to rather leave a label out than have a line through it.

    Returns:
        For each label the middle of its box and whether a line ties it to its mark; None where there is no room.
    """
    from matplotlib.path import Path

    placed: list[Bbox] = []
    paths = list(lines)
    found: list[tuple[Place, bool] | None] = []
    for mark, size in zip(marks, sizes, strict=True):
        rivals = [_around(other, radius) for other in others if other != mark]
        best: tuple[float, Bbox, Path | None] | None = None
        for cost, distance, box in _candidates(mark, size, radius):
            if best is not None and cost >= best[0]:
                continue
            if not _holds(bounds, box) or box.count_overlaps([*taken, *placed]):
                continue
            mistaken = any(_distance(box, _middle(other)) < distance + radius + CLEAR for other in rivals)
            tie = Path([mark, _middle(box)]) if mistaken or distance >= TIED else None
            struck = sum(path.intersects_bbox(box, filled=False) for path in paths) * (ON_LINE + size[0] / 2)
            total = cost + MISTAKEN * mistaken
            if tie is not None:
                total += ACROSS_LINE * sum(tie.intersects_path(path, filled=False) for path in paths)
                total += ACROSS_MARK * sum(tie.intersects_bbox(other, filled=False) for other in rivals)
                under = (other for other in placed if tie.intersects_bbox(other, filled=False))
                struck += sum(ON_LINE + other.width / 2 for other in under)
            if struck and clear:
                continue
            total += struck
            if best is None or total < best[0]:
                best = (total, box, tie)
        if best is None:
            found.append(None)
            continue
        _, box, tie = best
        found.append((_middle(box), tie is not None))
        placed.append(box)
        paths += [tie] if tie is not None else []
    return found


def _holds(bounds: Bbox, box: Bbox) -> bool:
    return bool(bounds.x0 <= box.x0 and box.x1 <= bounds.x1 and bounds.y0 <= box.y0 and box.y1 <= bounds.y1)


def _middle(box: Bbox) -> Place:
    return (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2


def _around(spot: Place, radius: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(spot[0] - radius, spot[1] - radius, 2 * radius, 2 * radius)


def _distance(box: Bbox, spot: Place) -> float:
    return hypot(max(box.x0 - spot[0], spot[0] - box.x1, 0), max(box.y0 - spot[1], spot[1] - box.y1, 0))


def _candidates(mark: Place, size: tuple[float, float], radius: float) -> Iterator[tuple[float, float, Bbox]]:
    """Yield places around a mark: what each costs, how far it is from the mark, its box with a gap around."""
    from matplotlib.transforms import Bbox

    width, height = size[0] + 2 * GAP, size[1] + 2 * GAP
    for distance in DISTANCES:
        for number, (right, up) in enumerate(DIRECTIONS):
            # The box touches the circle of this distance at the side that it turns to the mark.
            x = mark[0] + right * (radius + distance) + (0 if right == 0 else width / 2 if right > 0 else -width / 2)
            y = mark[1] + up * (radius + distance) + up * height / 2
            box = Bbox.from_bounds(x - width / 2, y - height / 2, width, height)
            yield distance + number / 2, distance, box
