"""Names of conversations."""

import os
import re
import time

from toolkit.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> None:
    """Raise UserError unless ``name`` can be that of a session: of a folder, and in a header."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no session name; use letters, digits, '.', '_' and '-', 64 at most")


def new_name(now: float | None = None) -> str:
    """Return a name for a conversation that was given none; its end is random, for those that begin in one second."""
    return time.strftime("chat-%Y%m%d-%H%M%S-", time.localtime(now)) + os.urandom(2).hex()
