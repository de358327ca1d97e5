"""What a model card says of a directory of weights: how it is used, and what an export lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlbench.students.carried_code import has_own_architecture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xlbench.exports.exported import Exported
    from xlbench.exports.formats import Format

CARD = "README.md"

HEADING = """\
`DIRECTORY` is this directory; `hf download ORG/NAME --local-dir DIRECTORY` fetches one that is on the hub.

With xlbench, which runs no code from it:

```python
import xlbench

model = xlbench.load("DIRECTORY")
vectors = model.encode(["A cat is sleeping.", "Eine Katze schläft."])
```
"""

PLAIN = """
With sentence-transformers alone, since it is a plain encoder:

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("DIRECTORY")
```
"""

OWN = """
With sentence-transformers alone: its architecture is xlbench's own, and `modeling_xlbench.py` beside the weights is
that architecture's code. It imports torch and transformers only, and is run if you say that you trust it.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("DIRECTORY", trust_remote_code=True)
```
"""

ONNX = """
Without torch: `xlbench export DIRECTORY --to onnx OUT` writes a graph for onnxruntime, and a script that runs it.
"""


def write_card(directory: Path, text: Callable[[], str]) -> None:
    """Write a model card into a directory, unless it has one: that is its author's, and it stays.

    Args:
        directory: Of the encoder.
        text: Makes the card.
    """
    if not (directory / CARD).exists():
        (directory / CARD).write_text(text(), "utf-8")


def use_of_saved(directory: Path) -> str:
    """Return how the encoder in a directory of sentence-transformers is loaded."""
    return HEADING + (OWN if has_own_architecture(directory) else PLAIN) + ONNX


def use_of_export(form: Format) -> str:
    """Return how an export is used."""
    return f"""\
```python
{form.usage()}```

`examples.json` has sentences and their vectors; an installation that works gives the same to within its `tolerance`.
"""


def about_export(exported: Exported, form: Format) -> str:
    """Return what an export is, how large it is, and what it lost."""
    size = f"Its weights take {exported.weight_bytes / 1e6:.1f} MB"
    if exported.source_bytes is not None:
        size += f"; as xlbench stores them, {exported.source_bytes / 1e6:.1f} MB"
    rows = "\n".join(f"| {language} | {loss:.1e} |" for language, loss in exported.losses.items())
    return f"""\
Made with `xlbench export --to {exported.format}`. {form.SUMMARY} {size}.

What it lost: the mean of 1 - cosine between its vectors and those of the encoder that it was made from, on sentences of
the training corpus. No number of a vector differs by more than {exported.difference:.1e}.

| Language | 1 - cosine |
|---|---|
{rows}
"""
