"""The command line: parses, calls, prints. Everything it does can be done from Python in as few lines."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; bad input ends with one or two lines on standard error and exit code 2."""
    from xlbench.cli.app import app
    from xlbench.errors import XlbenchError

    try:
        app(prog_name="xlbench")
    except XlbenchError as error:
        print(f"xlbench: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        print("xlbench: interrupted; the same command resumes", file=sys.stderr)  # noqa: T201
        sys.exit(130)
