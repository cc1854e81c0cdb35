"""A gateway serves what the pointer on Postgres names: files first, then the servers, then the file of each request."""

import asyncio
from pathlib import Path

import pytest

from agent.adapters import active, required
from agent.serving.upstreams import lora_api
from agent.serving.upstreams.follow import Follower
from tests.fakes.adapter_folder import make_adapter, sha256_of
from tests.fakes.follow_world import Machines, look
from tests.fakes.postgres import server_away


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
