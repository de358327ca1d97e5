"""The command line: parses, calls, prints. Everything it does can be done from Python in as few lines."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from xlbench.cli.signals import INTERRUPTED, ending_signals, exit_code


def main() -> None:
    """Run the command line.

    Bad input ends with one or two lines on standard error and exit code 2; Ctrl-C with 130, SIGTERM with 143 and SIGHUP
    with 129.
    """
    with ending_signals() as received:
        try:
            _run()
        except BaseException:  # a library may have turned the interrupt into an error of its own
            if not received:
                raise
            _fail(INTERRUPTED, exit_code(received[0]))


def _run() -> None:
    import click

    from xlbench.cli.app import app
    from xlbench.disk import disk_errors
    from xlbench.errors import XlbenchError

    try:
        with disk_errors():
            code = app.main(prog_name="xlbench", standalone_mode=False)
    except XlbenchError as error:
        _fail(str(error), 2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "xlbench"
        _fail(f"{error.format_message()}\nSee `{command} --help`.", 2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except BrokenPipeError:  # the reader of a pipe went away, e.g. `xlbench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(text: str, code: int) -> None:
    with suppress(OSError):  # the terminal may be gone
        print(f"xlbench: {text}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(code)
