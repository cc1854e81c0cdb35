"""What the three commands share: how they print JSON, and how they end."""

import errno
import json
import sys
from collections.abc import Callable
from typing import Any

import typer

from toolkit.errors import SandboxUnavailable, UserError


def print_json(value: Any) -> None:
    """``value`` on stdout, in ASCII: text from outside may hold what steers a terminal."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=True))


def run_command(app: Callable[[], object], name: str, *, also_users: tuple[type[Exception], ...] = ()) -> None:
    """Run ``app`` and end: 0 done, 1 a failed run or a bug, 2 something for the user to mend, in one line on stderr,
    130 interrupted.

    ``also_users``: errors of the command's own that are for the user to mend.
    """
    try:
        app()
    except (UserError, *also_users) as error:
        _end(name, str(error), 2)
    except SandboxUnavailable as error:
        _end(name, str(error), 1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _end(name, "the disk is full; free some space and try again", 2)
    except KeyboardInterrupt:
        sys.exit(130)


def _end(name: str, message: str, code: int) -> None:
    from toolkit.tool import neutral

    message = neutral(message)  # it may quote a users' module
    typer.echo(f"{name}: {message}", err=True)
    sys.exit(code)
