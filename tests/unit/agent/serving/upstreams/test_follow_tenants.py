"""Pointers of tenants on Postgres are followed, and touch nobody else."""

import pytest

from agent.adapters import active, required
from agent.adapters.active import SHARED, ActiveAdapter
from agent.serving.upstreams import follow
from tests.fakes.follow_world import Machines, look
from tests.fakes.postgres import server_away


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
