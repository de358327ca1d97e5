"""Student specs typed in one line."""

from __future__ import annotations

from xlbench.errors import XlbenchError
from xlbench.experiment import StudentSpec
from xlbench.runs.request import validated

LETTERS = {"B": "bottleneck", "K": "layers", "R": "repeats", "H": "hidden"}


def inline_spec(text: str) -> StudentSpec:
    """Return the spec that ``B=128,K=6,R=2`` stands for; B left out keeps the full table.

    Raises:
        XlbenchError: It is no such line, or a number is out of bounds.
    """
    fields: dict[str, object] = {}
    for part in text.split(","):
        letter, equals, number = part.strip().partition("=")
        field = LETTERS.get(letter.upper(), letter)
        if not equals or field not in LETTERS.values():
            raise XlbenchError(
                f"'{part.strip()}' in the student spec '{text}' is not understood.",
                "Write B=128,K=6,R=2: bottleneck, stored layers, repeats (H: hidden size, if it must be checked).",
            )
        fields[field] = number
    name = "custom-" + "-".join(f"{key}{value}" for key, value in fields.items())
    return validated(StudentSpec, {"name": name, **fields}, "part of the student spec")
