"""How numbers and names look on a board, in markdown and on the page alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xlbench.comparison.statistics import Interval
    from xlbench.experiment import Family

FAMILY_NAMES: dict[Family, str] = {
    "sts": "STS",
    "bitext": "Bitext",
    "sts_other": "STS, other languages",
    "bitext_other": "Bitext, other languages",
}
MEGA = 1e6
MINUS = "−"
LONGEST = 80  # characters of a name
_MEANS_SOMETHING = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")  # inside a word `_` does not start emphasis


def points(value: float) -> str:
    """Return a score or half an interval: '34.3'."""
    return f"{value:.1f}".replace("-", MINUS)


def signed(value: float, digits: int = 1) -> str:
    """Return a difference: '−9.6', '+0.4', and '0.0' without a sign."""
    text = f"{value:+.{digits}f}"
    return text[1:] if not text.strip("+-0.") else text.replace("-", MINUS)


def plain(text: str, longest: int = LONGEST) -> str:
    """Return text on one line, without what cannot be seen, cut to ``longest`` characters."""
    line = "".join(char for char in " ".join(text.split()) if char.isprintable())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def escaped(text: str, longest: int = LONGEST) -> str:
    """Return plain text that markdown shows as it is, also inside a table."""
    return _MEANS_SOMETHING.sub(r"\\\g<0>", plain(text, longest)).replace("&", "&amp;").replace("<", "&lt;")


def half(interval: Interval) -> float:
    """Return half the width of an interval."""
    return (interval.high - interval.low) / 2


def doubt(interval: Interval | None, deviation: float | None) -> str:
    """Return what follows a score: ' ± 3.1 (sd 0.4)', the parts that are there."""
    text = f" ± {points(half(interval))}" if interval is not None else ""
    return text + (f" (sd {points(deviation)})" if deviation is not None else "")


def span(interval: Interval) -> str:
    """Return the ends of a difference's interval: '[−11.2, −8.0]'."""
    return f"[{signed(interval.low)}, {signed(interval.high)}]"


def layers(stored: int | None, executed: int | None) -> str:
    """Return '12', or '6 run as 12' where layers are looped; nothing when unknown."""
    if stored is None:
        return ""
    return str(stored) if stored == executed else f"{stored} run as {executed}"


def number(value: float, digits: int = 2) -> str:
    """Return a number for SVG: rounded, without trailing zeros: '12', '0.5'."""
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
