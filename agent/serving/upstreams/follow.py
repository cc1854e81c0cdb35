"""Lets this gateway serve what the pointers on Postgres name, whoever changed them: everybody's and those of tenants.

The pointers are asked for a few times a second. A change comes to this machine in an order that keeps every moment
consistent: the adapter's files, then the model servers, then the file that each request reads. While the database
cannot be asked, or an adapter cannot be used, the one that served goes on. What is wrong with one pointer stops no
other.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Self

from agent.adapters import active, required, shared_pointer
from agent.adapters.active import ActiveAdapter
from agent.adapters.package import check_adapter, folder_of, manifest_sha256, read_manifest
from agent.errors import AdapterError, AdapterInvalid, ModelUnavailable
from agent.serving.upstreams.pool import UpstreamPool, due
from toolkit.errors import UserError

_LOOK_SECONDS = 0.25
_AGAIN_SECONDS = 2.0
"""The pause after a failure, of the database or of one pointer."""
_REFUSED_SECONDS = 60.0
"""The time after which a tenant's adapter that servers could not load again is given to them once more."""
_FILE = "followed_adapters.json"
"""The adapters that servers have because a pointer named them, which need not stay due once none does."""


class Follower:
    """Brings changes of the pointers at ``url`` to ``data_folder`` and ``pool``; use it in a ``with``.

    ``say`` gets a line for each thing that happens. Raises StorageError where the database does not answer.
    """

    def __init__(
        self,
        data_folder: Path,
        url: str,
        pool: UpstreamPool,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data_folder, self._url, self._pool, self._say, self._clock = data_folder, url, pool, say, clock
        # The next look asks again: a gateway that stops waits for nobody.
        self._database = shared_pointer.open_pointer(url, patience=0.0)
        self._taken: dict[str, str] = {}
        self._wanted: dict[str, ActiveAdapter] = {}
        self._again: dict[str, tuple[str, float]] = {}
        """By tenant: the pointer that was taken over, the one that is yet to be, and one that failed with the time
        before which it is left alone."""
        self._said: dict[str | None, str] = {}
        """The last complaint, by tenant; None: about the database."""
        self._sure_until = 0.0
        self._untried: dict[str, str] = {}
        """Adapters that servers will be given and may refuse: hashes by name."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._database.close()

    def catch_up(self, base_sha256: Callable[[], str] = lambda: "") -> None:
        """Fetch what the pointers name before there are servers, which are then given it.

        A pointer is taken over at once where nothing is to be loaded, or only what this gateway has had, or where
        the one that served last cannot serve the model ``base_sha256`` ("" where that is not known); else by ``watch``,
        once a server has what it names. Where that fails, it is said, and the one that served last on this machine
        does.
        """
        try:
            rows = self._rows()
        except (UserError, OSError) as error:
            self._complain(None, error)
            return
        self._say_what_stays_here(rows.keys())
        for tenant, text in rows.items():
            try:
                self._catch_up(tenant, text, base_sha256)
            except (UserError, OSError) as error:
                self._complain(tenant, error)

    def _catch_up(self, tenant: str, text: str, base_sha256: Callable[[], str]) -> None:
        if (pointer := self._news(tenant, text)) is None:
            return
        for name, sha256 in pointer.named:
            self._fetch(tenant, name, sha256)
            if due(self._data_folder).get(name) not in (None, sha256):
                return  # the servers may have the other one; ``watch`` sees to that
            self._require(name, sha256)
        had = required.read(self._data_folder, _FILE).items() >= dict(pointer.named).items()
        if (had and self._usable(pointer, base_sha256)) or not self._usable(self._served(tenant), base_sha256):
            self._take(tenant, text, pointer)

    def _say_what_stays_here(self, known: Collection[str]) -> None:
        """Say which tenants have an adapter that the database does not know: other gateways do not serve it."""
        for tenant in set(active.tenants_here(self._data_folder)) - set(known):
            for name, _ in pointer.named[:1] if (pointer := self._served(tenant)) else ():
                fix = f"let it serve at all gateways: evolver promote {name} --tenant {tenant}"
                self._tell(tenant, f"{name} serves on this machine only; {fix}")

    async def watch(self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look for changes again and again."""
        while True:
            try:
                rows = await asyncio.to_thread(self._rows)
            except (UserError, OSError) as error:
                self._complain(None, error)
                await sleep(_AGAIN_SECONDS)
                continue
            self._said.pop(None, None)
            for tenant, text in rows.items():
                await self._look(tenant, text)
            await sleep(_LOOK_SECONDS)

    async def _look(self, tenant: str, text: str) -> None:
        """Take over the pointer ``text`` of a tenant, where it is another one than before."""
        failed, until = self._again.get(tenant, ("", 0.0))
        if text == failed and self._clock() < until:
            return
        pointer = None
        try:
            if (pointer := self._news(tenant, text)) is not None:
                for name, sha256 in pointer.named:
                    await self._bring(tenant, name, sha256)
                # Where it has changed meanwhile, the next look takes that.
                if (await asyncio.to_thread(self._rows)).get(tenant) == text:
                    self._take(tenant, text, pointer)
        except (UserError, OSError) as error:
            lost = pointer is not None and pointer == self._served(tenant)
            self._complain(tenant, error, lost=lost)
            self._again[tenant] = text, self._clock() + (_REFUSED_SECONDS if lost else _AGAIN_SECONDS)
        else:
            self._said.pop(tenant, None)

    async def _bring(self, tenant: str, name: str, sha256: str) -> None:
        """Let the files be here and the adapter be loaded, and no other one under its name."""
        known = due(self._data_folder).get(name)
        if known not in (None, sha256) or await asyncio.to_thread(self._is_another, name, sha256):
            await self._make_room(name)
            known = None
        folder = await asyncio.to_thread(self._fetch, tenant, name, sha256)
        if known != sha256 or name in self._untried:
            await self._load(name, folder, sha256)

    def _fetch(self, tenant: str, name: str, sha256: str) -> Path:
        """Return the folder of an adapter that may answer ``tenant``; see ``shared_pointer.fetch_files``."""
        folder = shared_pointer.fetch_files(self._database, self._data_folder, name, sha256)
        if (whose := read_manifest(folder).tenant) not in ("", tenant):
            raise AdapterInvalid(f"adapter {name}: it is of the tenant {whose}, and serves no one else")
        return folder

    async def _load(self, name: str, folder: Path, sha256: str) -> None:
        """Load an adapter on the servers that answer; one that comes back later gets it then."""
        try:
            await self._pool.load(name, folder)
        except ModelUnavailable as error:
            self._require(name, sha256)
            raise ModelUnavailable(f"{name} waits for a server that answers") from error
        self._untried.pop(name, None)
        required.write(self._data_folder, {**required.read(self._data_folder, _FILE), name: sha256}, _FILE)

    def _is_another(self, name: str, sha256: str) -> bool:
        """Return whether a folder of that name is here that holds another adapter, or none."""
        folder = folder_of(self._data_folder, name)
        try:
            return folder.is_dir() and manifest_sha256(folder) != sha256
        except AdapterError:
            return True

    async def _make_room(self, name: str) -> None:
        """Unload another adapter of that name and move its folder aside. Raises AdapterInvalid where it serves."""
        folder = folder_of(self._data_folder, name)
        if any(name in dict(pointer.named) for pointer in self._pointers()):
            raise AdapterInvalid(
                f"adapter {name}: another one of that name serves here than was promoted",
                "let another one serve for a moment, then promote it again",
            )
        await self._pool.clear(name)
        if folder.exists():
            aside = folder.with_name(f".{name}.{uuid.uuid4().hex[:8]}.other")
            folder.rename(aside)
            self._say(f"another adapter than the {name} that was promoted was here; it is in {aside} now")

    def _rows(self) -> dict[str, str]:
        """Return the pointers of the database as JSON, by tenant."""
        with self._database.transaction("BEGIN") as db:
            return shared_pointer.read_all(db)

    def _news(self, tenant: str, text: str) -> ActiveAdapter | None:
        """Return the pointer that ``text`` holds; None where this machine has it already.

        From time to time, a tenant's pointer is also news where servers need not have what it names: one could not load
        it again.
        """
        if (now := self._clock()) >= self._sure_until:
            self._taken = {known: taken for known, taken in self._taken.items() if not known}
            self._sure_until = now + _REFUSED_SECONDS
        if text == self._taken.get(tenant):
            return None
        pointer = active.parsed_row(text, self._url, tenant)
        if self._served(tenant) == pointer and (
            not tenant or dict(pointer.named).keys() <= due(self._data_folder).keys()
        ):
            self._taken[tenant] = text
            self._wanted.pop(tenant, None)
            return None
        self._wanted[tenant] = pointer
        return pointer

    def _served(self, tenant: str) -> ActiveAdapter | None:
        """Return the pointer of this machine; None where it is damaged."""
        try:
            return active.read_here(self._data_folder, tenant)
        except AdapterError:
            return None

    def _pointers(self) -> list[ActiveAdapter]:
        """Return all pointers of this machine, without those that are damaged."""
        found = map(self._served, ("", *active.tenants_here(self._data_folder)))
        return [pointer for pointer in found if pointer is not None]

    def _usable(self, pointer: ActiveAdapter | None, base_sha256: Callable[[], str]) -> bool:
        """Return whether the files of what ``pointer`` names are whole, and made for the model ``base_sha256``."""
        try:
            for name, sha256 in pointer.named if pointer else ():
                check_adapter(folder_of(self._data_folder, name), sha256=sha256, base_sha256=base_sha256())
        except AdapterError:
            return False
        return pointer is not None

    def _take(self, tenant: str, text: str, pointer: ActiveAdapter) -> None:
        active.write_here(self._data_folder, pointer, tenant)
        self._taken[tenant] = text
        self._wanted.pop(tenant, None)
        on_trial = f"; {pointer.canary.name} is on trial" if pointer.canary else ""
        self._tell(tenant, f"{pointer.name} serves now{on_trial}")
        known = [*self._pointers(), *self._wanted.values()]
        kept = {name for one in known for name in dict(one.named)} | {
            one.change.previous for one in known if one.change
        }
        followed = {**required.read(self._data_folder, _FILE), **self._untried, **dict(pointer.named)}
        for name in followed.keys() - kept:
            required.remove(self._data_folder, name)  # a server that starts again need not load it
            self._untried.pop(name, None)
        loaded = {name: followed[name] for name in followed.keys() & kept - self._untried.keys()}
        required.write(self._data_folder, loaded, _FILE)

    def _require(self, name: str, sha256: str) -> None:
        required.add(self._data_folder, name, sha256)
        self._untried[name] = sha256

    def _complain(self, tenant: str | None, error: Exception, *, lost: bool = False) -> None:
        """Say ``error`` once. ``lost``: no server has what the tenant's pointer names any more."""
        if str(error) != self._said.get(tenant):
            self._said[tenant] = str(error)
            meanwhile = "everybody's adapter answers meanwhile" if lost else "the active adapter stays"
            self._tell(tenant or "", f"{meanwhile}: {error}")

    def _tell(self, tenant: str, line: str) -> None:
        self._say(f"{tenant}: {line}" if tenant else line)
