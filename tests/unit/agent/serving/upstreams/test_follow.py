"""A gateway serves what the pointer on Postgres names: files first, then the servers, then the file of each request."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from agent.adapters import active, required, shared_pointer
from agent.adapters.active import SHARED, ActiveAdapter, Canary, Change
from agent.serving.upstreams import follow, lora_api
from agent.serving.upstreams.connection import Upstream
from agent.serving.upstreams.follow import Follower
from agent.serving.upstreams.pool import UpstreamPool, bring_up_to_date
from agent.storage import database_server
from tests.fakes.adapter_folder import make_adapter, sha256_of
from tests.fakes.evolution import publish_adapter
from tests.fakes.model_server import ModelServer
from tests.fakes.postgres import PostgresServer, server_away

KEY = "key"


class Machines:
    """One machine where adapters are promoted, and another one whose gateway follows."""

    def __init__(self, folder: Path, url: str, server: ModelServer, stack: ExitStack) -> None:
        self.said: list[str] = []
        self.server, self.here, self._there, self._url = server, folder / "here", folder / "there", url
        database_server.keep(self._there, url)
        stack.callback(database_server.keep, self._there, "")
        self.pool = UpstreamPool(self.here, self.said.append)
        self.pool.replace([Upstream(server.url, KEY)])
        self.now = 1000.0
        self.follower = stack.enter_context(
            Follower(self.here, url, self.pool, self.said.append, clock=lambda: self.now)
        )

    def promote(
        self,
        name: str,
        *,
        previous: str = "base",
        store: bool = True,
        on_trial: str = "",
        tenant: str = "",
        of: str = "",
    ) -> None:
        """``tenant``: for whom it is promoted; ``of``: whose it is, if it is not everybody's."""
        adapters = [one for one in (name, on_trial) if one not in ("", "base", SHARED)]
        hashes = {one: self.made(one, store=store, tenant=of) for one in adapters}
        active.write(
            self._there,
            ActiveAdapter(
                name=name,
                sha256=hashes.get(name, ""),
                change=Change(serial=1, previous=previous, reason="test", by="person"),
                canary=Canary(name=on_trial, sha256=hashes[on_trial], share=0.5) if on_trial else None,
            ),
            tenant=tenant,
        )

    def made(self, name: str, *, store: bool, tenant: str = "") -> str:
        folder = self._there / "adapters" / name
        sha256 = sha256_of(folder if folder.exists() else publish_adapter(self._there, name, tenant=tenant).folder)
        if store:
            shared_pointer.store_files(self._url, folder, sha256)
        return sha256

    @property
    def serves(self) -> str:
        return active.read_here(self.here).name

    def serves_tenant(self, tenant: str) -> str:
        return active.read_here(self.here, tenant).name


@pytest.fixture
def machines(tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """What fails is tried again with the next look."""
    monkeypatch.setattr(follow, "_AGAIN_SECONDS", 0.0)
    with ExitStack() as stack:
        server = stack.enter_context(ModelServer(key=KEY))
        yield Machines(tmp_path, postgres.database(), server, stack)


def look(follower: Follower, *between: Callable[[], object]) -> list[float]:
    """Let it look once, and once more after each of ``between``; return the pauses that it made."""
    pauses: list[float] = []
    steps = iter(between)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        step = next(steps, None)
        if step is None:
            raise asyncio.CancelledError
        step()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(follower.watch(sleep=sleep))
    return pauses


def test_a_promotion_and_the_way_back_arrive_loaded(machines: Machines) -> None:
    machines.promote("adapter-0001")
    look(machines.follower)
    assert (machines.serves, machines.server.models) == ("adapter-0001", ["base", "adapter-0001"])
    assert (machines.here / "adapters" / "adapter-0001" / "manifest.json").exists()
    pauses = look(machines.follower, lambda: machines.promote("base", previous="adapter-0001"))
    assert machines.serves == "base"
    assert max(pauses) <= 0.5
    assert machines.said == ["adapter-0001 serves now", "base serves now"]


def test_the_file_changes_after_the_servers_have_the_adapter(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[list[str]] = []
    write = active.write_here
    monkeypatch.setattr(active, "write_here", lambda *a: (loaded.append(list(machines.server.models)), write(*a)))
    machines.promote("adapter-0001")
    look(machines.follower)
    assert loaded == [["base", "adapter-0001"]]


def test_one_on_trial_is_loaded_and_due(machines: Machines) -> None:
    machines.promote("base", on_trial="adapter-0001")
    look(machines.follower)
    assert machines.server.models == ["base", "adapter-0001"]
    assert machines.pool.is_due("adapter-0001")
    canary = active.read_here(machines.here).canary
    assert canary is not None
    assert canary.name == "adapter-0001"


def test_at_the_start_the_servers_to_come_are_told_what_they_need_and_it_serves_once_they_have_it(
    machines: Machines,
) -> None:
    machines.promote("adapter-0001", on_trial="adapter-0002")
    upstreams = [member.upstream for member in machines.pool.members]
    machines.pool.replace([])
    machines.follower.catch_up()
    assert (machines.serves, machines.server.models) == ("base", ["base"])
    assert required.read(machines.here).keys() == {"adapter-0001", "adapter-0002"}
    look(machines.follower, lambda: machines.pool.replace(upstreams, ready=False))
    assert machines.said[0] == "the active adapter stays: adapter-0001 waits for a server that answers"
    assert (machines.serves, machines.server.models) == ("adapter-0001", ["base", "adapter-0001", "adapter-0002"])


def test_at_the_start_one_that_the_server_refuses_does_not_serve(machines: Machines) -> None:
    machines.promote("adapter-0001")
    look(machines.follower)
    machines.promote("adapter-0002", previous="adapter-0001")
    machines.server.refuses.add("adapter-0002")
    upstreams = [member.upstream for member in machines.pool.members]
    machines.pool.replace([])
    for _ in range(2):
        machines.follower.catch_up()
        bring_up_to_date(upstreams[0], machines.here, machines.said.append)  # what ``agent serve`` starts with
    machines.pool.replace(upstreams)
    look(machines.follower)
    assert (machines.serves, machines.server.models) == ("adapter-0001", ["base", "adapter-0001"])


def test_at_the_start_what_served_last_and_cannot_any_more_gives_way(machines: Machines) -> None:
    machines.promote("adapter-0001")
    look(machines.follower)
    machines.promote("adapter-0002", previous="adapter-0001")
    machines.pool.replace([])
    machines.follower.catch_up(lambda: "e" * 64)  # the model is another one now
    assert machines.serves == "adapter-0002"


@pytest.mark.parametrize("to", ["base", "adapter-0001"])
def test_at_the_start_the_way_back_is_taken_at_once(machines: Machines, to: str) -> None:
    for name, previous in (("adapter-0001", "base"), ("adapter-0002", "adapter-0001")):
        machines.promote(name, previous=previous)
        look(machines.follower)
    machines.promote(to, previous="adapter-0002")
    machines.pool.replace([])
    machines.follower.catch_up()
    assert machines.serves == to


def test_a_start_finds_what_it_took_over_before(machines: Machines) -> None:
    machines.promote("adapter-0001")
    look(machines.follower)
    machines.said.clear()
    with Follower(machines.here, machines._url, machines.pool, machines.said.append) as again:
        again.catch_up()
        look(again)
    assert machines.said == []


@pytest.mark.usefixtures("machines")
def test_nothing_changes_where_nothing_was_promoted(machines: Machines) -> None:
    machines.follower.catch_up()
    look(machines.follower)
    assert not active.path(machines.here).exists()


def test_servers_that_are_away_do_not_hold_up_the_way_back(machines: Machines) -> None:
    for name, previous in (("adapter-0001", "base"), ("adapter-0002", "adapter-0001")):
        machines.promote(name, previous=previous)
        look(machines.follower)
    machines.server.stop()
    machines.promote("adapter-0001", previous="adapter-0002")
    look(machines.follower)
    assert machines.serves == "adapter-0001"
    assert required.read(machines.here).keys() == {"adapter-0001", "adapter-0002"}


def test_a_promotion_waits_for_a_server_which_may_refuse_it(machines: Machines) -> None:
    machines.server.stop()
    machines.promote("adapter-0001")
    look(machines.follower)
    assert machines.serves == "base"
    assert required.read(machines.here).keys() == {"adapter-0001"}


def test_one_that_is_rolled_back_while_it_arrives_never_serves(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    load, write = machines.pool.load, active.write_here

    async def slow(name: str, folder: Path) -> None:
        await load(name, folder)
        machines.promote("base", previous=name)

    monkeypatch.setattr(
        active, "write_here", lambda folder, pointer, tenant: (written.append(pointer.name), write(folder, pointer))
    )
    monkeypatch.setattr(machines.pool, "load", slow)
    machines.promote("adapter-0001")
    look(machines.follower, lambda: None)
    assert machines.serves == "base"
    assert "adapter-0001" not in written


def test_another_adapter_of_the_name_gives_way(machines: Machines) -> None:
    folder = make_adapter(machines.here, "adapter-0001", base_sha256="e" * 64)
    asyncio.run(machines.pool.load("adapter-0001", folder))  # the candidate of a cycle that went on elsewhere
    machines.promote("adapter-0001")
    look(machines.follower)
    assert machines.serves == "adapter-0001"
    assert sha256_of(folder) == active.read_here(machines.here).sha256
    changes = [path for path in machines.server.paths if path.endswith("lora_adapter")]
    assert changes == ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/load_lora_adapter"]
    (aside,) = folder.parent.glob(".adapter-0001.*")
    assert str(aside) in machines.said[0]


def test_one_that_serves_here_keeps_its_name(machines: Machines) -> None:
    make_adapter(machines.here, "adapter-0001", base_sha256="e" * 64, promote=True)
    machines.promote("adapter-0001")
    look(machines.follower)
    assert machines.server.models == ["base"]
    assert "another one of that name serves here than was promoted" in machines.said[0]


def test_what_an_earlier_run_brought_need_not_stay_due(machines: Machines) -> None:
    for name, previous in (
        ("adapter-0001", "base"),
        ("adapter-0002", "adapter-0001"),
        ("adapter-0003", "adapter-0002"),
    ):
        machines.promote(name, previous=previous)
        with Follower(machines.here, machines._url, machines.pool, machines.said.append) as run:
            run.catch_up()
            look(run)
    assert machines.serves == "adapter-0003"
    assert required.read(machines.here).keys() == {"adapter-0002", "adapter-0003"}


def test_one_that_cannot_be_used_leaves_what_served_and_is_said_once(machines: Machines) -> None:
    machines.promote("adapter-0001")
    look(machines.follower)
    machines.said.clear()
    machines.promote("adapter-0002", store=False)
    look(machines.follower, lambda: None, lambda: None)
    assert machines.serves == "adapter-0001"
    (line,) = machines.said
    assert line.startswith("the active adapter stays: adapter adapter-0002: neither here nor in the database")
    machines.made("adapter-0002", store=True)
    look(machines.follower)
    assert machines.serves == "adapter-0002"


def test_one_that_a_server_refuses_leaves_what_served(machines: Machines) -> None:
    machines.server.refuses.add("adapter-0001")
    machines.promote("adapter-0001")
    look(machines.follower)
    assert machines.serves == "base"
    assert "vLLM does not load adapter-0001" in machines.said[0]


def test_while_the_database_is_away_what_served_goes_on_and_it_is_asked_again(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.promote("adapter-0001")
    look(machines.follower)
    machines.said.clear()
    machines.promote("base", previous="adapter-0001")
    machines.follower._database._connection.close()
    with monkeypatch.context() as patch:
        server_away(patch)
        look(machines.follower, lambda: None)
    assert machines.serves == "adapter-0001"
    assert len(machines.said) == 1
    assert "connection refused" in machines.said[0]
    look(machines.follower)
    assert machines.serves == "base"


def test_a_server_that_starts_again_need_not_load_all_that_ever_served(machines: Machines) -> None:
    previous = "base"
    for name in ("adapter-0001", "adapter-0002", "adapter-0003"):
        machines.promote(name, previous=previous)
        look(machines.follower)
        previous = name
    assert required.read(machines.here).keys() == {"adapter-0002", "adapter-0003"}


def test_one_that_another_gateway_loads_at_the_same_moment_is_loaded(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = lora_api.loaded
    first = iter([set[str]()])

    def loaded(*args: object, **options: object) -> set[str]:
        known = next(first, None)
        if known is not None:
            machines.server.models.append("adapter-0001")
            return known
        return listed(*args, **options)  # type: ignore[arg-type]

    machines.promote("adapter-0001")
    monkeypatch.setattr(lora_api, "loaded", loaded)
    look(machines.follower)
    assert (machines.serves, machines.server.models) == ("adapter-0001", ["base", "adapter-0001"])


def test_a_server_that_answers_oddly_leaves_what_served_and_is_asked_again(machines: Machines) -> None:
    machines.server.odd_list = b"<html>"
    machines.promote("adapter-0001")
    look(machines.follower, lambda: setattr(machines.server, "odd_list", None))
    assert machines.serves == "adapter-0001"
    assert "answers with something else than a list of models" in machines.said[0]


def test_a_promotion_for_a_tenant_and_the_way_back_arrive_and_touch_nobody_else(machines: Machines) -> None:
    machines.promote("adapter-0001")
    machines.promote("adapter-0002", previous=SHARED, tenant="sales", of="sales")
    look(machines.follower)
    assert (machines.serves, machines.serves_tenant("sales")) == ("adapter-0001", "adapter-0002")
    assert active.tenants_here(machines.here) == ["sales"]
    assert machines.server.models == ["base", "adapter-0001", "adapter-0002"]
    assert machines.pool.is_due("adapter-0002")
    pauses = look(machines.follower, lambda: machines.promote(SHARED, previous="adapter-0002", tenant="sales"))
    assert (machines.serves, machines.serves_tenant("sales")) == ("adapter-0001", SHARED)
    assert max(pauses) <= 0.5
    assert machines.said == ["adapter-0001 serves now", "sales: adapter-0002 serves now", "sales: shared serves now"]


def test_one_on_trial_for_a_tenant_is_loaded_and_due(machines: Machines) -> None:
    machines.promote(SHARED, on_trial="adapter-0001", tenant="sales", of="sales")
    look(machines.follower)
    assert machines.server.models == ["base", "adapter-0001"]
    assert machines.pool.is_due("adapter-0001")
    canary = active.read_here(machines.here, "sales").canary
    assert canary is not None
    assert canary.name == "adapter-0001"


def test_what_is_wrong_with_one_pointer_stops_and_slows_no_other(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_AGAIN_SECONDS", 2.0)
    machines.promote("adapter-0001", store=False)
    machines.promote("adapter-0002", tenant="care", of="care", store=False)
    machines.promote("adapter-0003", tenant="sales", of="sales")
    pauses = look(machines.follower, lambda: None)
    assert (machines.serves, machines.serves_tenant("care")) == ("base", SHARED)
    assert machines.serves_tenant("sales") == "adapter-0003"
    assert max(pauses) <= 0.5
    assert len(machines.said) == 3
    machines.promote("adapter-0004", tenant="care", of="care")  # another change of the one that failed
    look(machines.follower)
    assert machines.serves_tenant("care") == "adapter-0004"
    machines.made("adapter-0001", store=True)
    look(machines.follower)
    assert machines.serves == "base"
    machines.now += 2.0
    look(machines.follower)
    assert machines.serves == "adapter-0001"


@pytest.mark.parametrize("tenant", ["", "care"])
def test_the_adapter_of_another_tenant_is_refused_whatever_the_pointer_says(machines: Machines, tenant: str) -> None:
    machines.promote("adapter-0001", tenant=tenant, of="sales")
    machines.follower.catch_up()
    look(machines.follower)
    assert active.read_here(machines.here, tenant).name == (SHARED if tenant else "base")
    assert machines.server.models == ["base"]
    assert "it is of the tenant sales, and serves no one else" in machines.said[0]


def test_at_the_start_the_adapters_of_tenants_serve_once_a_server_has_them(machines: Machines) -> None:
    machines.promote("base")
    for tenant, name in (("care", "adapter-0002"), ("sales", "adapter-0003")):
        machines.promote(name, tenant=tenant, of=tenant)
    with closing(shared_pointer.open_pointer(machines._url, writable=True)) as database, database.transaction() as db:
        shared_pointer.write(db, "{", (), "lab")
    upstreams = [member.upstream for member in machines.pool.members]
    machines.pool.replace([])
    machines.follower.catch_up()
    assert [machines.serves_tenant(tenant) for tenant in ("care", "sales")] == [SHARED, SHARED]
    assert required.read(machines.here).keys() == {"adapter-0002", "adapter-0003"}
    assert "is damaged; write it anew with: evolver rollback shared --tenant lab" in machines.said[-1]
    machines.server.refuses.add("adapter-0002")
    machines.pool.replace(upstreams)
    look(machines.follower)
    assert [machines.serves_tenant(tenant) for tenant in ("care", "sales")] == [SHARED, "adapter-0003"]
    assert machines.server.models == ["base", "adapter-0003"]


def test_at_the_start_what_served_a_tenant_last_serves_it_again_at_once(machines: Machines) -> None:
    machines.promote("adapter-0001", tenant="sales", of="sales")
    look(machines.follower)
    active.path(machines.here, "sales").unlink()
    machines.pool.replace([])
    with Follower(machines.here, machines._url, machines.pool, machines.said.append) as again:
        again.catch_up()
    assert machines.serves_tenant("sales") == "adapter-0001"


def test_what_servers_refused_after_a_restart_is_given_to_them_again(machines: Machines) -> None:
    machines.promote("adapter-0001", tenant="sales", of="sales")
    look(machines.follower)
    machines.server.models.remove("adapter-0001")
    machines.server.refuses.add("adapter-0001")
    (member,) = machines.pool.members
    bring_up_to_date(member.upstream, machines.here, machines.said.append)
    assert not machines.pool.is_due("adapter-0001")  # everybody's answers the tenant
    machines.said.clear()
    for _ in range(2):
        machines.now += 61.0
        look(machines.follower)
    assert [line.split(": ")[:2] for line in machines.said] == [["sales", "everybody's adapter answers meanwhile"]]
    machines.server.refuses.clear()
    look(machines.follower)
    assert not machines.pool.is_due("adapter-0001")
    machines.now += 61.0
    look(machines.follower)
    assert machines.pool.is_due("adapter-0001")
    assert machines.server.models == ["base", "adapter-0001"]


def test_what_any_pointer_names_or_named_before_stays_due(machines: Machines) -> None:
    for number in (1, 2, 3):
        previous = f"adapter-{number - 1:04d}" if number > 1 else SHARED
        machines.promote(f"adapter-{number:04d}", previous=previous, tenant="sales", of="sales")
        look(machines.follower)
    for number in (11, 12, 13):
        machines.promote(f"adapter-{number:04d}", previous=f"adapter-{number - 1:04d}")
        look(machines.follower)
    assert required.read(machines.here).keys() == {"adapter-0002", "adapter-0003", "adapter-0012", "adapter-0013"}


def test_while_the_database_is_away_a_tenants_adapter_goes_on(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.promote("adapter-0001", tenant="sales", of="sales")
    look(machines.follower)
    machines.said.clear()
    machines.promote(SHARED, previous="adapter-0001", tenant="sales")
    machines.follower._database._connection.close()
    with monkeypatch.context() as patch:
        server_away(patch)
        look(machines.follower, lambda: None)
    assert machines.serves_tenant("sales") == "adapter-0001"
    assert len(machines.said) == 1
    look(machines.follower)
    assert machines.serves_tenant("sales") == SHARED


def test_a_tenants_adapter_that_the_database_does_not_know_is_said(machines: Machines) -> None:
    active.write_here(machines.here, ActiveAdapter(name="adapter-0001", sha256="a" * 64), "sales")
    active.write_here(machines.here, ActiveAdapter(name=SHARED), "care")
    machines.follower.catch_up()
    (line,) = machines.said
    assert line.startswith("sales: adapter-0001 serves on this machine only")
    assert line.endswith("evolver promote adapter-0001 --tenant sales")
