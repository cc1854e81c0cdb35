"""The pointer to the active adapter: which one serves under the name ``agent``.

It is the file data/active_adapter.json, or a row of the Postgres database that ``[agent] database`` names; then each
gateway keeps the file as its copy of the row (``agent.serving.upstreams.follow``). Promotion and rollback are one
``write``; a reader sees the old pointer or the new one, never a part. A tenant with an adapter of its own has a pointer
of its own, the file active_adapter.TENANT.json or a row of its own; all others follow the shared one (``""``).
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from agent.adapters import shared_pointer
from agent.errors import AdapterError
from agent.storage.database_server import server_of
from agent.storage.statements import Statements
from agent.turn.messages import BASE
from toolkit import durable_file
from toolkit.frozen import Frozen

_STEM = "active_adapter"
FILE = f"{_STEM}.json"

SHARED = "shared"
"""In a tenant's pointer, in place of an adapter: the one that serves everybody."""

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class Change(Frozen):
    """Origin of the pointer's present value: what a ledger that missed it needs to catch up.

    ``serial`` counts the changes; ``cycle`` is the cycle that promoted, 0 where none did. ``withdraws``: the adapter in
    ``previous`` was taken out of service.
    """

    serial: int
    previous: str
    reason: str
    by: Literal["person", "cycle", "monitor", "start"]
    cycle: int = 0
    withdraws: bool = False


class Canary(Frozen):
    """An adapter on trial: it answers a ``share`` of the sessions, always the same ones."""

    name: str = Field(pattern=NAME_PATTERN)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    share: float = Field(gt=0, le=0.5)

    def takes(self, session: str, owner: str) -> bool:
        """Return whether it answers this session of this API key ("" without one)."""
        drawn = hashlib.sha256(f"{self.sha256}\0{owner}\0{session}".encode("utf-8", "replace")).digest()
        return int.from_bytes(drawn[:8]) < self.share * 2**64


class ActiveAdapter(Frozen):
    """``name`` is a folder in data/adapters, ``base``, or for a tenant ``shared``; ``sha256`` is that of its
    manifest.json ("" for the other two).

    ``canary``: what answers a share of the sessions in its place, if anything does.
    """

    name: str = Field(default=BASE, pattern=NAME_PATTERN)
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    change: Change | None = None
    canary: Canary | None = None

    @property
    def named(self) -> list[tuple[str, str]]:
        """Names and hashes of the adapters that answer; neither the base model nor ``shared`` is one."""
        found = [(self.name, self.sha256)] if self.name not in (BASE, SHARED) else []
        return found if self.canary is None else [*found, (self.canary.name, self.canary.sha256)]


def path(data_folder: Path, tenant: str = "") -> Path:
    return data_folder / (f"{_STEM}.{tenant}.json" if tenant else FILE)


def tenants(data_folder: Path, db: Statements | None = None) -> list[str]:
    """Return the tenants that have a pointer of their own. ``db``: as in ``write``. Raises StorageError."""
    here = tenants_here(data_folder)
    if not (url := server_of(data_folder)):
        return here
    with _reading(url, db) as inside:
        return sorted({*here, *shared_pointer.read_all(inside)} - {""})


def tenants_here(data_folder: Path) -> list[str]:
    """Return the tenants that have a pointer file of their own on this machine."""
    files = data_folder.glob(f"{_STEM}.?*.json")
    return sorted(file.name.removeprefix(f"{_STEM}.").removesuffix(".json") for file in files)


def read(data_folder: Path, tenant: str = "", db: Statements | None = None) -> ActiveAdapter:
    """Read a pointer: ``base`` where nothing was ever promoted, ``shared`` for a tenant.

    Where pointers are on Postgres and this one was never written there, the file counts. ``db``: as in ``write``.
    Raises AdapterError on a damaged pointer, StorageError.
    """
    if url := server_of(data_folder):
        with _reading(url, db) as inside:
            text = shared_pointer.read(inside, tenant)
        if text:
            return parsed_row(text, url, tenant)
    return read_here(data_folder, tenant)


def read_all(data_folder: Path) -> dict[str, ActiveAdapter]:
    """Read all pointers by tenant, that of everybody first, without those that are damaged. Raises StorageError."""
    url, found = server_of(data_folder), dict[str, ActiveAdapter]()
    with _reading(url, None) if url else nullcontext() as db:
        for tenant in ("", *tenants(data_folder, db)):
            with suppress(AdapterError):
                found[tenant] = read(data_folder, tenant, db)
    return found


def read_here(data_folder: Path, tenant: str = "") -> ActiveAdapter:
    """Read the active adapter of this machine: the file, which a gateway on Postgres brings in line with the database.

    Raises AdapterError on a damaged file.
    """
    file = path(data_folder, tenant)
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return ActiveAdapter(name=SHARED if tenant else BASE)
    except OSError as error:
        raise AdapterError(f"{file}: {error.strerror}; {_fix(tenant)}") from error
    return _parsed(text, str(file), tenant)


def serving(data_folder: Path, tenant: str) -> ActiveAdapter:
    """Read the pointer that holds for ``tenant``: its own, or the shared one. Raises as ``read``."""
    own = read(data_folder, tenant)
    return over(own, read(data_folder)) if own.name == SHARED else own


def over(own: ActiveAdapter, shared: ActiveAdapter) -> ActiveAdapter:
    """Return the ``shared`` pointer as it holds for a tenant whose ``own`` one refers to it, with its own trial."""
    return shared if own.canary is None else shared.model_copy(update={"canary": own.canary})


def parsed_row(text: str, url: str, tenant: str = "") -> ActiveAdapter:
    """Return the pointer of ``tenant`` that ``text``, JSON from the database at ``url``, holds. Raises AdapterError."""
    return _parsed(text, f"{url}: the active adapter{f' of {tenant}' if tenant else ''}", tenant)


def write(data_folder: Path, adapter: ActiveAdapter, db: Statements | None = None, *, tenant: str = "") -> None:
    """Point to ``adapter``; on disk when it returns. When it raises OSError, the file holds one of the two pointers.

    ``db``: a transaction on the server of ``data_folder``, where there is one, which the change becomes part of.
    Raises StorageError.
    """
    url = server_of(data_folder)
    if not url:
        write_here(data_folder, adapter, tenant)
        return
    with shared_pointer.changing(url, db) as inside:
        before = _hashes(shared_pointer.read(inside, tenant))
        shared_pointer.write(inside, adapter.model_dump_json(), before, tenant)
        shared_pointer.remove_files(inside, set[str]().union(*map(_hashes, shared_pointer.read_all(inside).values())))


def write_here(data_folder: Path, adapter: ActiveAdapter, tenant: str = "") -> None:
    """Let the file hold ``adapter``; see ``write``."""
    durable_file.replace(path(data_folder, tenant), adapter.model_dump_json().encode())


@contextmanager
def _reading(url: str, db: Statements | None) -> Iterator[Statements]:
    """Yield ``db``, or where that is None the inside of a transaction of its own."""
    if db is not None:
        yield db
        return
    with closing(shared_pointer.open_pointer(url)) as database, database.transaction("BEGIN") as own:
        yield own


def _parsed(text: str | bytes, where: str, tenant: str) -> ActiveAdapter:
    try:
        return ActiveAdapter.model_validate_json(text)
    except ValidationError as error:
        raise AdapterError(f"{where}: is damaged; {_fix(tenant)}") from error


def _fix(tenant: str) -> str:
    return f"write it anew with: evolver rollback {f'{SHARED} --tenant {tenant}' if tenant else BASE}"


def _hashes(text: str) -> set[str]:
    """Return the hashes of the adapters that a pointer, JSON, names; of none where it is damaged."""
    try:
        return {sha256 for _, sha256 in parsed_row(text, "").named}
    except AdapterError:
        return set()
