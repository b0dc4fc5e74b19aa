"""How commands end: exit codes, and a user's mistake said without a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import typer

from cvcore.errors import VeedorError

if TYPE_CHECKING:
    from cluster.console import Display

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_OVER_LIMIT = 3
EXIT_ANOMALIES = 4
EXIT_INTERRUPTED = 130


@contextlib.contextmanager
def usage_errors(*, as_json: bool = False) -> Iterator[None]:
    """Print a user's mistake without a traceback and exit with 2."""
    try:
        yield
    except VeedorError as error:
        fail(str(error), as_json=as_json)


@contextlib.contextmanager
def told(*, as_json: bool) -> Iterator[Display]:
    """A display, that says what is wrong and ends the command with its exit code."""
    from cluster.console import open_display
    from jobs.outcome import JobFailed

    display = open_display(as_json=as_json)
    try:
        yield display
    except JobFailed as error:
        display.error(str(error))
        raise typer.Exit(EXIT_FAILED) from error
    except VeedorError as error:
        display.error(str(error))
        raise typer.Exit(EXIT_USAGE) from error
    finally:
        display.close()


def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """A signal handler that ends as Ctrl-C does."""
    del signum, frame
    raise KeyboardInterrupt


def fail(message: str, *, as_json: bool) -> NoReturn:
    """Say what is wrong with what was asked for, and exit with 2."""
    from cluster.console import open_display

    open_display(as_json=as_json).error(message)
    raise typer.Exit(EXIT_USAGE)
