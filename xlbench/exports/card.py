"""The README of an export: what it is, how large, what it lost, and how to use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench._version import __version__

if TYPE_CHECKING:
    from xlbench.exports.exported import Exported
    from xlbench.exports.formats import Format


def card(name: str, exported: Exported, form: Format) -> str:
    """Return the text of README.md."""
    size = f"Its weights take {exported.weight_bytes / 1e6:.1f} MB"
    if exported.source_bytes is not None:
        size += f"; as xlbench stores them, {exported.source_bytes / 1e6:.1f} MB"
    rows = "\n".join(f"| {language} | {loss:.1e} |" for language, loss in exported.losses.items())
    return f"""\
# {name}, {exported.format}

{form.SUMMARY} {size}.

Made with `xlbench export --to {exported.format}`, xlbench {__version__}.

## Use

```python
{form.usage()}```

`examples.json` has sentences and their vectors; an installation that works gives the same to within its `tolerance`.

## What it lost

Mean of 1 - cosine between its vectors and those of the encoder that it was made from, on sentences of the training
corpus. No number of a vector differs by more than {exported.difference:.1e}.

| Language | 1 - cosine |
|---|---|
{rows}
"""
