"""Which code made a record."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git_revision() -> str | None:
    """Return the commit of the checkout that this package runs from, with '+changes' if files differ from it.

    None where it does not run from a checkout, or git is not there.
    """
    home = Path(__file__).parents[2]
    if not (home / ".git").exists():
        return None
    try:
        commit = _git(home, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(home, "status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(home: Path, *words: str) -> str:
    # The words are constants of this module.
    return subprocess.run(  # noqa: S603
        ["git", *words],  # noqa: S607
        cwd=home,
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    ).stdout.strip()
