"""Exit codes of the three commands, and the one line in which a command says what is to mend."""

import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from toolkit.errors import SandboxUnavailable, UserError
from toolkit.printable import neutral

T = TypeVar("T")


def with_exit_codes(run: Callable[[], T], name: str, *, also_users: tuple[type[Exception], ...] = ()) -> T:
    """Return what ``run`` returns, or end: 1 a failed run or a bug, 2 something for the user to mend, in one line on
    stderr, 130 interrupted.

    ``also_users``: errors of the command's own that are for the user to mend.
    """
    try:
        return run()
    except (UserError, *also_users) as error:
        _end(name, str(error), 2)
    except SandboxUnavailable as error:
        _end(name, str(error), 1)
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read the output has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        if error.errno != errno.ENOSPC:
            raise
        _end(name, "the disk is full; free some space and try again", 2)
    except KeyboardInterrupt:
        sys.exit(130)


def _end(name: str, message: str, code: int) -> NoReturn:
    print(f"{name}: {neutral(message)}", file=sys.stderr)  # it may quote a users' module
    sys.exit(code)
