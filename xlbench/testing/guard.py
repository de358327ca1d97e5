"""Detects what a method must not do: use the network, or open certain files.

An audit hook of the interpreter (PEP 578) sees both, whatever the import order and in spite of aliases and
``except`` clauses. It cannot be removed, but does nothing outside of :func:`watch`.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = ("127.", "::1", "localhost")
OURS = frozenset({"xlbench", "_pytest", "pluggy", *sys.stdlib_module_names})
BY_NAME = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})  # the host comes first
BY_ADDRESS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})  # the socket, then its address


@dataclass
class Watch:
    """What was detected.

    Attributes:
        forbidden: Files and directories that must not be opened.
        network: Hosts that were looked up or written to, and where in the source.
        opened: Which forbidden files were opened, and where in the source.
    """

    forbidden: tuple[str, ...]
    network: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)


_watches: list[Watch] = []
_installed: list[bool] = []


@contextmanager
def watch(*forbidden: Path) -> Iterator[Watch]:
    """Refuse every use of the network, and note it and every opening of a forbidden file.

    An attempt at the network fails as it does where there is none (``ENETUNREACH``); opening a file goes on.
    """
    if not _installed:
        sys.addaudithook(_audit)
        _installed.append(True)
    seen = Watch(tuple(str(path.resolve()) for path in forbidden))
    _watches.append(seen)
    try:
        yield seen
    finally:
        _watches.remove(seen)


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _watches:
        return
    if event in BY_NAME:
        _network(arguments[0])
    elif event in BY_ADDRESS and isinstance(arguments[1], tuple):  # a local socket's is a path
        _network(arguments[1][0])
    elif event == "open" and isinstance(arguments[0], (str, bytes, Path)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        for seen in _watches:
            if any(path == place or path.startswith(place + os.sep) for place in seen.forbidden):
                seen.opened.append(f"{path} ({_caller()})")


def _network(asked: object) -> None:
    host = asked.decode(errors="replace") if isinstance(asked, bytes) else asked
    if not isinstance(host, str) or host.startswith(LOOPBACK):
        return
    for seen in _watches:
        seen.network.append(f"{host} ({_caller()})")
    raise OSError(errno.ENETUNREACH, f"the conformance kit allows no network: {host}")


def _caller() -> str:
    """Return ``file:line in function`` of the innermost frame that is not xlbench's, Python's or pytest's own."""
    frame = sys._getframe(2)
    innermost = frame
    while frame is not None:
        top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if top not in OURS:
            break
        if frame.f_back is None:
            frame = innermost
            break
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
