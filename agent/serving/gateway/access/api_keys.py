"""API keys of the gateway, in data/api_keys.json: only their hashes, and what each may do.

A key is 256 random bits, so that a plain SHA-256 hides it as well as any slow hash would. A running gateway notices
every change. A revoked key stays in the file: its name is in the log, and must never mean somebody else.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from pydantic import ValidationError

from agent.errors import StorageError
from agent.storage.process_lock import process_lock
from toolkit import durable_file
from toolkit.errors import UserError
from toolkit.frozen import Frozen

FILE = "api_keys.json"
PREFIX = "apprentice-"

Scope = Literal["chat", "feedback", "read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""``read`` shows the pages of the dashboard; ``admin`` may do all that the others may."""

_LOCK = "api_keys.lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TRIES = 100
_WAIT_SECONDS = 0.05


class ApiKey(Frozen):
    """One key. ``created_at`` and ``revoked_at`` are seconds since the epoch."""

    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    tenant: str = ""
    created_at: float
    revoked_at: float | None = None


class _File(Frozen):
    keys: tuple[ApiKey, ...] = ()


def path(data_folder: Path) -> Path:
    return data_folder / FILE


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def new_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def read(data_folder: Path) -> tuple[ApiKey, ...]:
    """Return all keys, the revoked ones too. Raises StorageError when the file is damaged: then no key is good."""
    file = path(data_folder)
    try:
        return _File.model_validate_json(file.read_bytes()).keys
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        problem = error.strerror if isinstance(error, OSError) else "is damaged"
        raise StorageError(f"{file}: {problem}; restore it, or move it away and create the keys anew") from error


def check_name(name: str) -> None:
    """Raise UserError for what cannot be the name of a key."""
    _check(name, "name of a key")


def check_tenant(tenant: str) -> None:
    """Raise UserError for what cannot be a tenant; "" is none."""
    if tenant:
        _check(tenant, "tenant")


def _check(text: str, what: str) -> None:
    if not _NAME.fullmatch(text):
        raise UserError(f"{text!r} is no {what}; use letters, digits, '.', '_' and '-', 64 at most")


def create(data_folder: Path, name: str, scopes: Sequence[str], tenant: str = "") -> str:
    """Make a key; returns it, which nobody can do again. Raises UserError for a name that is taken or no name."""
    check_name(name)
    check_tenant(tenant)
    known_scopes: list[Scope] = [scope for scope in SCOPES if scope in scopes]
    if unknown := set(scopes) - set(SCOPES):
        raise UserError(f"{min(unknown)!r} is no scope; choose from {', '.join(SCOPES)}")
    key = new_key()
    with _locked(data_folder):
        keys = read(data_folder)
        if any(known.name == name for known in keys):
            raise UserError(f"there is, or was, a key {name}; choose another name (see: agent keys list)")
        added = ApiKey(name=name, sha256=sha256(key), scopes=tuple(known_scopes), tenant=tenant, created_at=time.time())
        _write(data_folder, (*keys, added))
    return key


def revoke(data_folder: Path, name: str) -> None:
    """End a key. Raises UserError when there is no such key."""
    with _locked(data_folder):
        keys = read(data_folder)
        if not any(known.name == name and known.revoked_at is None for known in keys):
            raise UserError(f"there is no key {name} to revoke; see: agent keys list")
        ended = {"revoked_at": time.time()}
        _write(data_folder, tuple(k.model_copy(update=ended) if k.name == name else k for k in keys))


@contextmanager
def _locked(data_folder: Path) -> Iterator[None]:
    """Waits for its turn: two commands at once must both have their effect."""
    for _ in range(_TRIES):
        with process_lock(data_folder, _LOCK) as held_by:
            if held_by is None:
                yield
                return
        time.sleep(_WAIT_SECONDS)
    raise UserError("another command changes the keys; try again")


def _write(data_folder: Path, keys: tuple[ApiKey, ...]) -> None:
    durable_file.replace(path(data_folder), _File(keys=keys).model_dump_json(indent=2).encode())
