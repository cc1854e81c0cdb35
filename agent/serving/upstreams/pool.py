"""The vLLM servers behind the gateway: chooses one for each request, and loads the adapters that each must have.

A server is ready only while it answers and has every adapter that is due: those loaded through ``load``, and the one
that serves. One that fails gets no more requests; one that comes back gets what it lacks first.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from agent.adapters import active, required
from agent.adapters.manifest import Manifest
from agent.adapters.package import check_adapter, folder_of, manifest_sha256, template_warning
from agent.errors import NO_SERVER, AdapterError, ModelUnavailable
from agent.serving.upstreams import lora_api
from agent.serving.upstreams.connection import Upstream
from agent.turn.messages import BASE
from toolkit.errors import UserError

_LOOK_SECONDS = 2.0
_SILENT_SECONDS = 600.0
"""The time for which a server that gave no log-probabilities is not asked for them again."""


class Member:
    """One server. ``in_flight`` counts the requests that it is answering; ``trouble`` says why it is not ready.

    ``silent_until``: the time, by the process's clock, before which it is not asked for log-probabilities, after an
    answer without them; 0 where it has given no such answer since it came. ``adapters``: those that it had when it was
    looked at last; None before that.
    """

    def __init__(self, upstream: Upstream, *, ready: bool) -> None:
        self.upstream = upstream
        self.ready = ready
        self.trouble = "" if ready else "not ready yet"
        self.in_flight = 0
        self.silent_until = 0.0
        self.adapters: frozenset[str] | None = None

    @property
    def gives_logprobs(self) -> bool:
        """True unless an answer of the last minutes had no log-probabilities."""
        return time.monotonic() >= self.silent_until


class UpstreamPool:
    """``say`` gets a line for each thing that happens. All methods belong to the gateway's loop.

    ``base_sha256`` tells the hash of the model that the servers run, ``template_sha256`` that of its chat template; ""
    where nobody here knows it.
    """

    def __init__(self, data_folder: Path, say: Callable[[str], None]) -> None:
        self.members: tuple[Member, ...] = ()
        self.base_sha256: Callable[[], str] = lambda: ""
        self.template_sha256: Callable[[], str] = lambda: ""
        self.last_request = time.monotonic()
        self._data_folder = data_folder
        self._say = say
        self._changing = asyncio.Lock()

    def replace(self, upstreams: Sequence[Upstream], *, ready: bool = True) -> None:
        """Serve from these servers only; ``ready``: the new ones have every adapter that is due.

        A server that stays keeps its state and its requests in flight.
        """
        known = {member.upstream: member for member in self.members}
        self.members = tuple(known.get(upstream) or Member(upstream, ready=ready) for upstream in upstreams)

    @property
    def in_flight(self) -> int:
        return sum(member.in_flight for member in self.members)

    def idle_seconds(self) -> float:
        """Return the time since the last request; 0 while one is in flight."""
        return 0.0 if self.in_flight else time.monotonic() - self.last_request

    def pick(self, without: Sequence[Member] = ()) -> Member | None:
        """Return a ready server with the fewest requests, drawn among equals; None if there is none."""
        ready = [member for member in self.members if member.ready and member not in without]
        least = min((member.in_flight for member in ready), default=0)
        idle = [member for member in ready if member.in_flight == least]
        return random.choice(idle) if idle else None

    def failed(self, member: Member, trouble: str) -> None:
        """Send ``member`` no requests until it was seen to be well."""
        if trouble != member.trouble:
            self._say(f"{member.upstream.url}: {trouble}; it gets no requests meanwhile")
        member.ready, member.trouble = False, trouble

    def without_logprobs(self, member: Member) -> None:
        """Ask ``member`` for no log-probabilities for some minutes."""
        if not member.silent_until:
            self._say(f"{member.upstream.url} gives no log-probabilities; the model does not choose among tools there")
        member.silent_until = time.monotonic() + _SILENT_SECONDS

    def is_due(self, name: str) -> bool:
        """Return whether every ready server must have the adapter ``name``."""
        return name in self._due()

    async def load(self, name: str, folder: Path) -> None:
        """Check an adapter's files and load it on all ready servers, or on none more than have it.

        Where none is ready, those that answer count: they may refuse the active adapter. Raises AdapterError,
        ModelUnavailable.
        """
        async with self._changing:
            manifest = await asyncio.to_thread(check_adapter, folder, base_sha256=self.base_sha256())
            having, loaded = 0, []
            for member in [member for member in self.members if member.ready] or self.members:
                try:
                    if await asyncio.to_thread(_load, member.upstream, name, folder):
                        loaded.append(member)
                    having += 1
                except ModelUnavailable as error:
                    self.failed(member, str(error))
                except AdapterError:
                    for other in loaded:
                        await self._quietly(other, lora_api.unload, name)
                    raise
            if not having:
                raise ModelUnavailable(NO_SERVER)
            required.add(self._data_folder, name, manifest_sha256(folder))
        if loaded and (warning := template_warning(manifest, self.template_sha256())):
            self._say(warning)

    async def unload(self, name: str) -> None:
        """Unload an adapter wherever it is loaded. Raises AdapterError with what the servers said that refuse."""
        refused: dict[str, None] = {}
        async with self._changing:
            required.remove(self._data_folder, name)
            for member in [member for member in self.members if member.ready]:
                try:
                    await asyncio.to_thread(lora_api.unload, member.upstream.url, member.upstream.key, name)
                except ModelUnavailable as error:
                    self.failed(member, str(error))
                except AdapterError as error:
                    refused[str(error)] = None
        if refused:
            raise AdapterError("; ".join(refused))

    async def clear(self, name: str) -> None:
        """Let no server have the adapter ``name``, whatever it is. Raises AdapterError, ModelUnavailable."""
        async with self._changing:
            for member in self.members:
                url, key = member.upstream.url, member.upstream.key
                if name in await asyncio.to_thread(lora_api.loaded, url, key):
                    await asyncio.to_thread(lora_api.unload, url, key, name)
            required.remove(self._data_folder, name)

    async def watch(self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look at every server again and again; bring those that lack something up to date."""
        while True:
            await asyncio.gather(*(self._look(member) for member in self.members))
            await sleep(_LOOK_SECONDS)

    async def _look(self, member: Member) -> None:
        upstream = member.upstream
        try:
            present = await asyncio.to_thread(lora_api.loaded, upstream.url, upstream.key)
            member.adapters = frozenset(present)
            if member.ready and self._due() <= present:
                return
            async with self._changing:
                hashes = self.base_sha256(), self.template_sha256()
                await asyncio.to_thread(bring_up_to_date, upstream, self._data_folder, self._say, *hashes)
        except (UserError, OSError, ValueError, KeyError, TypeError) as error:  # also an answer that is none of vLLM's
            self.failed(member, str(error) or repr(error))
            return
        if not member.ready:
            self._say(f"{upstream.url} is ready")
            member.silent_until = 0.0  # it may have been started with other options
        member.ready, member.trouble = True, ""

    def _due(self) -> set[str]:
        return set(due(self._data_folder))

    async def _quietly(self, member: Member, change: Callable[[str, str, str], None], name: str) -> None:
        try:
            await asyncio.to_thread(change, member.upstream.url, member.upstream.key, name)
        except UserError as error:
            self.failed(member, str(error))


def due(data_folder: Path) -> dict[str, str]:
    """Return the adapters that a server must have, and the hash of each one's manifest.

    Where the pointer file is damaged, without the one that serves. Those of tenants are among them as long as they can
    be loaded.
    """
    kept = {n: sha256 for n, sha256 in required.read(data_folder).items() if folder_of(data_folder, n).is_dir()}
    try:
        pointer = active.read_here(data_folder)
    except AdapterError:
        return kept
    if pointer.canary is not None and pointer.canary.name in kept:
        kept[pointer.canary.name] = pointer.canary.sha256
    return kept if pointer.name == BASE else {**kept, pointer.name: pointer.sha256}


def bring_up_to_date(
    upstream: Upstream,
    data_folder: Path,
    say: Callable[[str], None],
    base_sha256: str = "",
    template_sha256: str = "",
) -> None:
    """Load what a server lacks of the adapters that are due, after hashing their files, the one that serves first.

    One that is damaged, or made for another model than ``base_sha256``, is said and passed over, unless it is the one
    that serves: then raises AdapterError. One that learned with another chat template than ``template_sha256`` is
    loaded, and said. Raises ModelUnavailable where no server answers.
    """
    serving = active.read_here(data_folder).name
    wanted = due(data_folder)
    lacking = wanted.keys() - lora_api.loaded(upstream.url, upstream.key)
    for name in sorted(lacking, key=lambda name: (name != serving, name)):
        try:
            manifest = _bring(upstream, folder_of(data_folder, name), wanted[name], base_sha256, say)
            if warning := template_warning(manifest, template_sha256):
                say(warning)
        except AdapterError as error:
            if name == serving:
                raise
            say(f"not loaded again: {error}")
            required.remove(data_folder, name)


def _bring(upstream: Upstream, folder: Path, sha256: str, base_sha256: str, say: Callable[[str], None]) -> Manifest:
    if not folder.is_dir():
        raise AdapterError(f"adapter {folder.name} is missing; serve another one with: evolver rollback")
    manifest = check_adapter(folder, sha256=sha256, base_sha256=base_sha256)
    say(f"loading {folder.name}")
    _load(upstream, folder.name, folder)
    return manifest


def _load(upstream: Upstream, name: str, folder: Path) -> bool:
    """Load an adapter where it is not loaded; return whether it was not."""
    if name in lora_api.loaded(upstream.url, upstream.key):
        return False
    try:
        lora_api.load(upstream.url, upstream.key, name, upstream.folder_of(folder))
    except AdapterError:
        if name in lora_api.loaded(upstream.url, upstream.key):  # another gateway was first
            return False
        raise
    return True
