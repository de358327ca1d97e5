"""The one exception that xlbench raises on bad input."""

from __future__ import annotations


class XlbenchError(Exception):
    """Something a user can mend; the command line prints it in one or two lines and exits with 2.

    Args:
        problem: What is wrong, naming the thing and the place.
        remedy: What to do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem if not remedy else f"{problem}\n{remedy}")
        self.problem = problem
        self.remedy = remedy
