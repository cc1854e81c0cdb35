"""What serves when a gateway starts, by the pointer on Postgres."""

from contextlib import closing

import pytest

from agent.adapters import active, required, shared_pointer
from agent.adapters.active import SHARED
from agent.serving.upstreams.follow import Follower
from agent.serving.upstreams.pool import bring_up_to_date
from tests.fakes.follow_world import Machines, look


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


def test_a_server_that_starts_again_need_not_load_all_that_ever_served(machines: Machines) -> None:
    previous = "base"
    for name in ("adapter-0001", "adapter-0002", "adapter-0003"):
        machines.promote(name, previous=previous)
        look(machines.follower)
        previous = name
    assert required.read(machines.here).keys() == {"adapter-0002", "adapter-0003"}


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
