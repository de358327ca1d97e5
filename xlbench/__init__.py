"""xlbench: cross-lingual sentence encoders made small, and proof that they kept their quality."""

from __future__ import annotations

from xlbench._version import __version__
from xlbench.errors import XlbenchError
from xlbench.hookspecs import hookimpl

__all__ = ["XlbenchError", "__version__", "hookimpl"]
