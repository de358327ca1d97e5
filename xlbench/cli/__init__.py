"""The command line: parses, calls, prints. Everything it does can be done from Python in as few lines."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from xlbench.cli.signals import INTERRUPTED, ending_signals, exit_code

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Bad input ends with two lines on standard error, or three, and exit code 2; Ctrl-C with 130, SIGTERM with 143 and
    SIGHUP with 129.

    Args:
        arguments: Instead of those of the process.
    """
    with ending_signals() as received:
        try:
            _run(arguments)
        except BaseException:  # a library may have turned the interrupt into an error of its own
            if not received:
                raise
            _fail(INTERRUPTED, exit_code(received[0]))


def _run(arguments: Sequence[str] | None) -> NoReturn:
    import click

    from xlbench.cli.app import app
    from xlbench.disk import answered
    from xlbench.errors import XlbenchError

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a character shows its number
            stream.reconfigure(errors="backslashreplace")
    try:
        with answered("the output"):
            code = app.main(arguments, prog_name="xlbench", standalone_mode=False)
            if sys.stdout is not None:
                sys.stdout.flush()  # a full disk is found here, and not when Python ends
    except XlbenchError as error:
        _fail(str(error), 2)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.NoSuchOption as error:
        command = error.ctx.command_path if error.ctx else "xlbench"
        remedy = f"See `{command} --help`."
        if any(error.option_name in parameter.opts for parameter in app.params):
            remedy = f"It stands before the command: `xlbench {error.option_name} ... {command.partition(' ')[2]} ...`."
        _fail(f"{_line(error.format_message())}\n{remedy}", 2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "xlbench"
        _fail(f"{_line(error.format_message())}\nSee `{command} --help`.", 2)
    except click.ClickException as error:
        _fail(_line(error.format_message()), 2)
    except BrokenPipeError:  # the reader of a pipe went away, e.g. `xlbench list | head`
        _leave_stdout()
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _leave_stdout() -> None:
    """Let what is still to be printed go nowhere, so that Python does not try again when it ends."""
    with suppress(OSError, ValueError):  # no file: a stream that somebody else put there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _line(text: str) -> str:
    """Return a message of click's, which may list choices below each other, as one line."""
    from xlbench.errors import printable

    return printable(" ".join(text.split()))


def _fail(text: str, code: int) -> NoReturn:
    with suppress(AttributeError):  # there is no output at all
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            _leave_stdout()
    from xlbench.launch import may_tell

    if may_tell() and sys.stderr is not None:  # of several processes that end together, one does
        with suppress(OSError):  # the terminal may be gone
            print(f"xlbench: {text}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(code)
