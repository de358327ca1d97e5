"""The command line: parses, calls, prints. Everything it does can be done from Python in as few lines."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line.

    Bad input ends with one or two lines on standard error and exit code 2, Ctrl-C with exit code 130.
    """
    import click

    from xlbench.cli.app import app
    from xlbench.errors import XlbenchError

    try:
        code = app.main(prog_name="xlbench", standalone_mode=False)
    except XlbenchError as error:
        _fail(str(error), 2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "xlbench"
        _fail(f"{error.format_message()}\nSee `{command} --help`.", 2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; the same command resumes", 130)
    except BrokenPipeError:  # the reader of a pipe went away, e.g. `xlbench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(text: str, code: int) -> None:
    print(f"xlbench: {text}", file=sys.stderr)  # noqa: T201
    sys.exit(code)
