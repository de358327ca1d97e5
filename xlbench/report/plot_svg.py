"""Prepares Matplotlib's SVG for a page: ids unique in the page, no inline styles, its data inside.

A page's content security policy forbids ``style`` attributes, and several drawings stand in one document. Artists say
what they are by their gid (`gid`), which becomes a class and the key of the table's row. The figures that a drawing
shows travel in its ``<metadata>``, so that boards are checked by what they say and not by how one version of the
library draws it.
"""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from xlbench.fingerprint import Json
    from xlbench.report.points import Panel, Point

SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
DIGITS = 6  # significant, of a figure in the metadata
TARGET = "10"  # pixels around a mark in which a pointer shows its figures
_DRAWING = re.compile(r'<svg class="plot".*?</svg>', re.DOTALL)
_DATA = re.compile(r"<metadata>\s*(.*?)\s*</metadata>", re.DOTALL)
_LONG = re.compile(r"-?\d+\.\d{3,}")


def gid(kind: str, keys: Iterable[str], panel: int = 0) -> str:
    """Return the gid of an artist that shows the rows with these keys in a panel: 'point|r3|0'."""
    return f"{kind}|{' '.join(keys)}|{panel}"


def tidied(text: str, ident: str, title: str, panels: Sequence[Panel], *, halo: str) -> str:
    """Return a drawing as one ``<svg>`` element, to stand in a page or, after `standalone`, in a file.

    Args:
        text: What matplotlib wrote.
        ident: Prefix of the ids that are left; no two drawings of a page have the same.
        title: What the drawing shows.
        panels: The data that it shows.
        halo: The colour around labels, which keeps them readable on lines.
    """
    root = ET.fromstring(text)  # noqa: S314 - written by matplotlib just now, not read from anywhere
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', text))
    tips = {
        gid("point", [point.key], place): panel.tip(point)
        for place, panel in enumerate(panels)
        for point in panel.points
    }
    drawn: list[tuple[ET.Element, str]] = []
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
        parent.tag = parent.tag.rpartition("}")[2]
        if (tip := tips.get(parent.get("id", ""))) is not None:
            drawn.append((parent, tip))
        _simplify(parent, ident, used)
        if parent.get("class") == "label":
            parent.attrib.update({"paint-order": "stroke", "stroke": halo, "stroke-width": "3"})
    for path in root.iterfind(".//defs/path"):  # its colours are those of each use, which a dark page can exchange
        path.attrib.pop("stroke", None)
        path.attrib.pop("fill", None)
    for place, (point, tip) in enumerate(drawn):
        _make_point(point, tip, "0" if place == 0 else "-1")
    about, data = ET.Element("desc", id=f"{ident}-about"), ET.Element("metadata")
    about.text, data.text = " ".join(panel.about() for panel in panels), f"\n{_data(panels)}\n"
    root[:0] = [about, data]
    ET.indent(root, "")
    box = root.get("viewBox", "")
    _, _, width, height = box.split()
    root.attrib.clear()
    root.attrib.update(
        {
            "class": "plot", "xmlns": "http://www.w3.org/2000/svg", "viewBox": box, "width": width, "height": height,
            "role": "group", "aria-label": title, "aria-describedby": f"{ident}-about", "font-family": SANS,
            "stroke-linejoin": "round",
        }
    )  # fmt: skip
    return ET.tostring(root, encoding="unicode")


def standalone(drawing: str, style: str) -> str:
    """Return a drawing as a file of its own, with the style that a page would give it."""
    head, end, rest = drawing.partition(">")
    return f"{head}{end}\n<style>{style}</style>{rest}\n"


def dark_style(colours: Mapping[str, str]) -> str:
    """Return style sheet rules that exchange the colours of drawings on a dark page; the keys are the light ones."""
    rules = "".join(
        f"svg.plot [{name}='{light}'] {{ {name}: {dark}; }}\n"
        for light, dark in colours.items()
        for name in ("fill", "stroke")
    )
    return f"@media screen and (prefers-color-scheme: dark) {{\n{rules}}}\n"


def plotted(drawing: str) -> list[list[Json]]:
    """Return the data inside a drawing, a list for each point.

    It holds the panel's title and unit, then key, number, name, role, x, y, low, high, frontier and series.

    Raises:
        ValueError: There is no data, or it is not what `tidied` writes.
    """
    found = _DATA.search(drawing)
    if found is None:
        raise ValueError("no data in this drawing")
    rows: list[list[Json]] = json.loads(unescape(found[1]))
    return rows


def without_drawings(text: str) -> str:
    """Return a page or a picture with the data of each drawing, a point a line, in place of the drawing."""

    def data(drawing: re.Match[str]) -> str:
        try:
            return _lines(plotted(drawing[0]))
        except ValueError:
            return drawing[0]

    return _DRAWING.sub(data, text)


def _data(panels: Sequence[Panel]) -> str:
    return _lines([[panel.title, panel.unit.strip(), *_values(point)] for panel in panels for point in panel.points])


def _values(point: Point) -> list[Json]:
    numbers = (point.x, point.y, point.low, point.high)
    rounded = [None if value is None else float(f"{value:.{DIGITS}g}") for value in numbers]
    return [point.key, point.number, point.name, point.role, *rounded, point.frontier, point.series]


def _lines(rows: Sequence[list[Json]]) -> str:
    return "[" + ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows) + "]"


def _simplify(element: ET.Element, ident: str, used: set[str]) -> None:
    """Turn styles into attributes, gids into classes and keys, and take away what says nothing."""
    found: dict[str, str] = {}
    for name, value in element.attrib.items():
        if name == "style":
            styles = (part.partition(":") for part in value.split(";") if part.strip())
            found.update({key.strip(): text.strip() for key, _, text in styles if key.strip() != "font-family"})
        elif name == "id" and "|" in value:
            kind, keys, _ = value.split("|")
            found |= {"class": kind, "data-keys" if kind == "series" else "data-key": keys}
        elif name == "id":
            found |= {"id": f"{ident}-{value}"} if value in used else {}
        elif name.endswith("href"):
            found["href"] = value.replace("#", f"#{ident}-")
        elif not (name == "transform" and value.startswith("rotate(-0 ")):
            found[name] = " ".join(value.split())
    element.attrib.clear()
    for name, value in found.items():
        short = _LONG.sub(lambda number: f"{float(number[0]):.2f}", value.replace("url(#", f"url(#{ident}-"))
        element.set(name, short)


def _make_point(element: ET.Element, tip: str, tabindex: str) -> None:
    """Let a mark answer to pointer, keyboard and screen reader; the tab key stops at the first one of a drawing."""
    element.attrib.update({"role": "img", "tabindex": tabindex})
    title = ET.Element("title")
    title.text = tip
    element.insert(0, title)
    mark = next(element.iter("use"), None)
    if mark is not None:  # the ring around the mark that is under the pointer
        place = {"cx": mark.get("x", ""), "cy": mark.get("y", ""), "r": TARGET}
        ET.SubElement(element, "circle", {"class": "target", **place, "fill": "none", "pointer-events": "all"})
