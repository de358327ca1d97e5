"""The pictures beside the tables, as SVG that does not change without its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.step_profile import groups_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.step_profile import Profile

# Text stays text, and neither the date nor random ids make two equal pictures differ.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "xlbench", "font.size": 9})


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})


def stacked_bars(path: Path, profiles: Mapping[str, Profile]) -> None:
    """Draw one bar for each loop, all as long, cut by the share of each group of operations."""
    groups = groups_of(profiles.values())
    colours = mpl.colormaps["tab20"]
    figure = Figure(figsize=(9, 1.4 + 0.7 * len(profiles)))
    axes = figure.add_subplot()
    totals = [sum(profile.milliseconds.values()) for profile in profiles.values()]
    left = np.zeros(len(profiles))
    labels = [f"{name}\n{total:.1f} ms a pair" for name, total in zip(profiles, totals, strict=True)]
    for number, group in enumerate(groups):
        each = zip(profiles.values(), totals, strict=True)
        shares = np.array([100 * profile.milliseconds.get(group, 0.0) / total for profile, total in each])
        axes.barh(labels, shares, left=left, color=colours(number % 20), label=group)
        for place, share in enumerate(shares):
            if share >= 4:
                axes.text(left[place] + share / 2, place, f"{share:.0f}", ha="center", va="center", fontsize=8)
        left += shares
    axes.set_xlim(0, 100)
    axes.set_xlabel("per cent of a training step")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=4, frameon=False)
    _save(figure, path)


def growth_lines(
    path: Path, pairs: Sequence[int], seconds: Mapping[str, Sequence[float]], memory: Mapping[str, Sequence[float]]
) -> None:
    """Draw the seconds of each phase and the memory against the number of pairs, with the line fitted to the sum."""
    figure = Figure(figsize=(9, 4))
    left, right = figure.subplots(1, 2)
    for name, each in seconds.items():
        left.plot(pairs, each, marker="o", label=name)
    total = np.sum([list(each) for each in seconds.values()], axis=0)
    slope, start = np.polyfit(pairs, total, 1)
    line = np.geomspace(min(pairs), max(pairs), 50)
    left.plot(
        line, np.maximum(start + slope * line, 1e-2), "k--", label=f"sum: {start:.1f} s + {1e6 * slope:.0f} s a million"
    )
    left.plot(pairs, total, "ko")
    left.set(xscale="log", yscale="log", xlabel="pairs", ylabel="seconds")
    for name, each in memory.items():
        right.plot(pairs, each, marker="o", label=name)
    right.set(xscale="log", xlabel="pairs", ylabel="peak memory, MiB")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False, fontsize=8)
    figure.tight_layout()
    _save(figure, path)
