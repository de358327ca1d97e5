"""xlbench: cross-lingual sentence encoders made small, and proof that they kept their quality.

``run``, ``score``, ``compare``, ``leaderboard``, ``export``, ``push``, ``encode``, ``search``, ``mine``, ``bundle``,
``open_store``, ``status`` and ``load`` do what the command line does. Plugins are written with :mod:`xlbench.api`.
Whatever neither of the two exports is private.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xlbench._version import __version__
    from xlbench.boards.bundle import Bundle
    from xlbench.boards.leaderboard import Leaderboard
    from xlbench.boards.planned import BoardPlan
    from xlbench.errors import XlbenchError
    from xlbench.exports.exported import Exported, ResultFiles
    from xlbench.exports.push import Pushed
    from xlbench.functions import compare, export, run, score
    from xlbench.functions.boards import bundle, leaderboard
    from xlbench.functions.hub import push
    from xlbench.functions.stores import open_store, status, sync_store
    from xlbench.functions.using import encode, mine, search
    from xlbench.inventory import Store
    from xlbench.retrieval.results import Found, Mined
    from xlbench.runs.compare import Comparison
    from xlbench.runs.results import Results, Student
    from xlbench.runs.status import Status
    from xlbench.store.sync import Synced
    from xlbench.students.load import load, register

__all__ = [
    "BoardPlan",
    "Bundle",
    "Comparison",
    "Exported",
    "Found",
    "Leaderboard",
    "Mined",
    "Pushed",
    "ResultFiles",
    "Results",
    "Status",
    "Store",
    "Student",
    "Synced",
    "XlbenchError",
    "__version__",
    "bundle",
    "compare",
    "encode",
    "export",
    "leaderboard",
    "load",
    "mine",
    "open_store",
    "push",
    "register",
    "run",
    "score",
    "search",
    "status",
    "sync_store",
]

# Where each name is defined; imported when it is asked for, so that `import xlbench` waits for nothing.
_DEFINED = {
    "BoardPlan": "xlbench.boards.planned",
    "Bundle": "xlbench.boards.bundle",
    "Comparison": "xlbench.runs.compare",
    "Exported": "xlbench.exports.exported",
    "Found": "xlbench.retrieval.results",
    "Leaderboard": "xlbench.boards.leaderboard",
    "Mined": "xlbench.retrieval.results",
    "Pushed": "xlbench.exports.push",
    "ResultFiles": "xlbench.exports.exported",
    "Results": "xlbench.runs.results",
    "Status": "xlbench.runs.status",
    "Store": "xlbench.inventory",
    "Student": "xlbench.runs.results",
    "Synced": "xlbench.store.sync",
    "XlbenchError": "xlbench.errors",
    "__version__": "xlbench._version",
    "bundle": "xlbench.functions.boards",
    "compare": "xlbench.functions",
    "encode": "xlbench.functions.using",
    "export": "xlbench.functions",
    "leaderboard": "xlbench.functions.boards",
    "load": "xlbench.students.load",
    "mine": "xlbench.functions.using",
    "open_store": "xlbench.functions.stores",
    "push": "xlbench.functions.hub",
    "register": "xlbench.students.load",
    "run": "xlbench.functions",
    "score": "xlbench.functions",
    "search": "xlbench.functions.using",
    "status": "xlbench.functions.stores",
    "sync_store": "xlbench.functions.stores",
}


def __getattr__(name: str) -> object:
    if name not in _DEFINED:
        raise AttributeError(f"module 'xlbench' has no attribute '{name}'")
    value = getattr(import_module(_DEFINED[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
