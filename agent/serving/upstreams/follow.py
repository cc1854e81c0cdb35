"""Lets this gateway serve what the pointer on Postgres names, whoever changed it.

The pointer is asked for a few times a second. A change comes to this machine in an order that keeps every moment
consistent: the adapter's files, then the model servers, then the file that each request reads. While the database
cannot be asked, or the adapter cannot be used, what served goes on.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from agent.adapters import active, required, shared_pointer
from agent.adapters.active import ActiveAdapter
from agent.adapters.package import check_adapter, folder_of, manifest_sha256
from agent.errors import AdapterError, AdapterInvalid, ModelUnavailable
from agent.serving.upstreams.pool import UpstreamPool, due
from toolkit.errors import UserError

_LOOK_SECONDS = 0.25
_AGAIN_SECONDS = 2.0
"""The pause after a failure."""
_FILE = "followed_adapters.json"
"""The adapters that servers have because the pointer named them, which need not stay due once it no longer does."""


class Follower:
    """Brings changes of the pointer at ``url`` to ``data_folder`` and ``pool``; use it in a ``with``.

    ``say`` gets a line for each thing that happens. Raises StorageError where the database does not answer.
    """

    def __init__(self, data_folder: Path, url: str, pool: UpstreamPool, say: Callable[[str], None]) -> None:
        self._data_folder, self._url, self._pool, self._say = data_folder, url, pool, say
        # The next look asks again: a gateway that stops waits for nobody.
        self._database = shared_pointer.open_pointer(url, patience=0.0)
        self._taken = self._said = ""
        self._untried: dict[str, str] = {}
        """Adapters that servers will be given and may refuse: hashes by name."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._database.close()

    def catch_up(self, base_sha256: Callable[[], str] = lambda: "") -> None:
        """Fetch what the pointer names before there are servers, which are then given it.

        The pointer is taken over at once where nothing is to be loaded, or only what this gateway has had, or where
        what served last cannot serve the model ``base_sha256`` ("" where that is not known); else by ``watch``, once a
        server has what it names. Where that fails, it is said, and what served last on this machine does.
        """
        try:
            text = self._row()
            if (pointer := self._news(text)) is None:
                return
            for name, sha256 in pointer.named:
                shared_pointer.fetch_files(self._database, self._data_folder, name, sha256)
                if due(self._data_folder).get(name) not in (None, sha256):
                    return  # the servers may have the other one; ``watch`` sees to that
                self._require(name, sha256)
            had = required.read(self._data_folder, _FILE).items() >= dict(pointer.named).items()
            if (had and self._usable(pointer, base_sha256)) or not self._usable(self._served(), base_sha256):
                self._take(text, pointer)
        except (UserError, OSError) as error:
            self._complain(error)

    async def watch(self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look for a change again and again."""
        while True:
            try:
                await self._look()
            except (UserError, OSError) as error:
                self._complain(error)
                await sleep(_AGAIN_SECONDS)
            else:
                self._said = ""
                await sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        text = await asyncio.to_thread(self._row)
        if (pointer := self._news(text)) is None:
            return
        for name, sha256 in pointer.named:
            await self._bring(name, sha256)
        if await asyncio.to_thread(self._row) == text:  # else it has changed meanwhile, and the next look takes that
            self._take(text, pointer)

    async def _bring(self, name: str, sha256: str) -> None:
        """Let the files be here and the adapter be loaded, and no other one under its name."""
        known = due(self._data_folder).get(name)
        if known not in (None, sha256) or await asyncio.to_thread(self._is_another, name, sha256):
            await self._make_room(name)
            known = None
        folder = await asyncio.to_thread(shared_pointer.fetch_files, self._database, self._data_folder, name, sha256)
        if known != sha256 or name in self._untried:
            await self._load(name, folder, sha256)

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
        if name in self._serving():
            raise AdapterInvalid(
                f"adapter {name}: another one of that name serves here than was promoted",
                "let another one serve for a moment, then promote it again",
            )
        await self._pool.clear(name)
        if folder.exists():
            aside = folder.with_name(f".{name}.{uuid.uuid4().hex[:8]}.other")
            folder.rename(aside)
            self._say(f"another adapter than the {name} that was promoted was here; it is in {aside} now")

    def _row(self) -> str:
        """Return the pointer of the database as JSON; "" where there is none."""
        with self._database.transaction("BEGIN") as db:
            return shared_pointer.read(db)

    def _news(self, text: str) -> ActiveAdapter | None:
        """Return the pointer that ``text`` holds; None where this machine has it already, or there is none."""
        if not text or text == self._taken:
            return None
        pointer = active.parsed(text, f"{self._url}: the active adapter")
        if self._served() == pointer:
            self._taken = text
            return None
        return pointer

    def _served(self) -> ActiveAdapter | None:
        """Return the pointer of this machine; None where it is damaged."""
        try:
            return active.read_here(self._data_folder)
        except AdapterError:
            return None

    def _serving(self) -> set[str]:
        """Return what the pointers of this machine name."""
        names: set[str] = set()
        for tenant in ("", *active.tenants(self._data_folder)):
            with suppress(AdapterError):
                names |= dict(active.read_here(self._data_folder, tenant).named).keys()
        return names

    def _usable(self, pointer: ActiveAdapter | None, base_sha256: Callable[[], str]) -> bool:
        """Return whether the files of what ``pointer`` names are whole, and made for the model ``base_sha256``."""
        try:
            for name, sha256 in pointer.named if pointer else ():
                check_adapter(folder_of(self._data_folder, name), sha256=sha256, base_sha256=base_sha256())
        except AdapterError:
            return False
        return pointer is not None

    def _take(self, text: str, pointer: ActiveAdapter) -> None:
        active.write_here(self._data_folder, pointer)
        self._taken = text
        self._say(f"{pointer.name} serves now" + (f"; {pointer.canary.name} is on trial" if pointer.canary else ""))
        followed = {**required.read(self._data_folder, _FILE), **self._untried, **dict(pointer.named)}
        kept = self._serving() | ({pointer.change.previous} if pointer.change is not None else set())
        for name in followed.keys() - kept:
            required.remove(self._data_folder, name)  # a server that starts again need not load it
            self._untried.pop(name, None)
        known = {name: followed[name] for name in followed.keys() & kept - self._untried.keys()}
        required.write(self._data_folder, known, _FILE)

    def _require(self, name: str, sha256: str) -> None:
        required.add(self._data_folder, name, sha256)
        self._untried[name] = sha256

    def _complain(self, error: Exception) -> None:
        if str(error) != self._said:
            self._said = str(error)
            self._say(f"the active adapter stays: {error}")
