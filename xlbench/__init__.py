"""xlbench: cross-lingual sentence encoders made small, and proof that they kept their quality."""

from __future__ import annotations

from xlbench._version import __version__
from xlbench.errors import XlbenchError
from xlbench.plugins.hooks import hookimpl

__all__ = ["XlbenchError", "__version__", "hookimpl", "register"]


def register() -> None:
    """Teach transformers the student architectures, so that ``SentenceTransformer(path)`` loads a student."""
    from xlbench.students.architecture import register as register_architectures

    register_architectures()
