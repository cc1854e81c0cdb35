"""Cycles of tenants, whole: each learns of its own rows, serves its own keys, and nothing of it is in another's."""

import json
from pathlib import Path

import httpx
import pytest

from agent.adapters import active, required
from agent.adapters.package import read_manifest
from agent.log.interaction_log import InteractionLog
from agent.serving import serving_state
from agent.serving.gateway.access import api_keys
from agent.serving.upstreams.follow import Follower
from agent.serving.upstreams.pool import UpstreamPool
from agent.storage import database_server
from evolver.config import MakeConfig
from evolver.cycle import daemon, stages
from evolver.cycle.schedule import why_not_due
from evolver.store.cycle_folder import cycle_folder
from tests.fakes.evolution import turn
from tests.fakes.evolver_world import World, world
from tests.fakes.postgres import PostgresServer
from tests.fakes.stages import value_of
from tests.fakes.whole_cycle import configured, kill_at, rows_of
from toolkit.errors import UserError

WORDS = {"sales": "plums", "care": "pears", "": "prices"}


def logged(here: World, tenant: str, *numbers: int) -> set[str]:
    with InteractionLog(here.data / "interactions.db") as log:
        return {
            log.append(
                turn(f"add {n} and {n + 1} to {WORDS[tenant]}, please", call_of(n)),
                session=f"s{n}", source="gateway", owner=f"{tenant}-key", tenant=tenant,
            )
            for n in numbers
        }  # fmt: skip


def call_of(n: int) -> tuple[str, dict[str, int], int]:
    return "add_prices", {"first": n, "second": n + 1}, 2 * n + 1


def folder_text(here: World, number: int) -> str:
    files = [file for file in cycle_folder(here.data, number).rglob("*") if file.suffix in (".json", ".jsonl")]
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(files))


def answers(here: World, key: str) -> str:
    state = serving_state.running(here.data)
    body = {"model": "agent", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
    with httpx.Client(base_url=state.gateway_url, trust_env=False) as client:
        sent = client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
    return sent.headers["x-apprentice-adapter"]


def test_each_tenant_gets_an_adapter_of_its_own_rows_and_no_other(here: World) -> None:
    configured(here, per_tenant=True)
    keys = {
        tenant or "none": api_keys.create(here.data, f"{tenant or 'none'}-key", ["chat"], tenant) for tenant in WORDS
    }
    ids = {tenant: logged(here, tenant, 5, 11) for tenant in WORDS}
    numbers = {}
    for tenant in ("sales", "care", ""):
        report = here.run(tenant=tenant)
        assert report.cycle.status == "promoted", report.cycle.reason
        assert report.cycle.tenant == tenant
        numbers[tenant] = report.cycle.number
        manifest = read_manifest(value_of(report, stages.TRAIN).folder)
        assert (manifest.tenant, manifest.tenants) == (tenant, {tenant: 2} if tenant else {})
        mined = value_of(report, stages.MINE)
        assert mined.interactions == (2 if tenant else 4)
        origins = {row["provenance"]["interaction_id"] for row in rows_of(report)} - {""}
        assert origins & ids[tenant]
    for tenant, number in numbers.items():
        text = folder_text(here, number)
        others = [name for name in WORDS if name != tenant]
        assert not [word for word in (WORDS[name] for name in others) if f"to {word}, please" in text]
        assert not [one for name in others for one in ids[name] if one in text]
    served = {tenant: active.serving(here.data, tenant).name for tenant in ("sales", "care", "", "lab")}
    assert served == {"sales": "adapter-0001", "care": "adapter-0002", "": "adapter-0003", "lab": "adapter-0003"}
    asked = {name: answers(here, key) for name, key in keys.items()}
    assert asked == {"sales": "adapter-0001", "care": "adapter-0002", "none": "adapter-0003"}


def test_a_second_cycle_replays_what_the_tenant_itself_learned(here: World) -> None:
    configured(here, per_tenant=True)
    first = {tenant: logged(here, tenant, 5, 11) for tenant in ("sales", "care")}
    for tenant in ("sales", "care"):
        here.run(tenant=tenant)
    logged(here, "care", 23)
    again = here.run(tenant="care")
    assert value_of(again, stages.MINE).interactions == 1
    text = folder_text(here, again.cycle.number)
    assert not [one for one in first["sales"] if one in text]
    assert "plums" not in text
    with here.ledger("care") as ledger:
        assert [row.tenant for row in ledger.own_cycles()] == ["care", "care"]


def test_without_adapters_of_tenants_a_cycle_learns_of_all(here: World) -> None:
    ids = logged(here, "sales", 5)
    with pytest.raises(UserError, match=r"set \[evolver\] per_tenant = true"):
        here.run(tenant="sales")
    report = here.run()
    assert value_of(report, stages.MINE).interactions == 3
    assert ids & {row["provenance"]["interaction_id"] for row in rows_of(report)}


def test_a_cycle_that_has_turns_of_all_tenants_does_not_go_on_when_tenants_get_adapters_of_their_own(
    here: World,
) -> None:
    logged(here, "sales", 5, 11)
    with pytest.raises(KeyboardInterrupt):
        here.run(kill_at("select"))
    configured(here, per_tenant=True)
    ended = here.run()
    assert (ended.cycle.number, ended.cycle.status) == (1, "failed")
    assert ended.cycle.reason.startswith("[evolver] per_tenant was changed since it began")
    again = here.run()
    assert (again.cycle.number, again.cycle.status) == (2, "promoted")
    assert read_manifest(value_of(again, stages.TRAIN).folder).tenants == {}
    assert f"to {WORDS['sales']}, please" not in folder_text(here, 2)


def test_a_cycle_for_all_reads_what_was_logged_while_tenants_had_adapters_of_their_own(here: World) -> None:
    configured(here, per_tenant=True)
    logged(here, "sales", 5, 11)
    here.log("add 9 and 10 to prices, please", ("add_prices", {"first": 9, "second": 10}, 19))
    assert value_of(here.run(), stages.MINE).interactions == 3
    configured(here, per_tenant=False)
    with here.ledger() as ledger:
        assert why_not_due(here.config, ledger, 4e9) == ""
    assert value_of(here.run(), stages.MINE).interactions == 5
    with here.ledger() as ledger:
        assert why_not_due(here.config, ledger, 4e9) == "0 new interactions, 1 needed"


def test_the_daemon_takes_tenants_in_turn_those_with_the_most_new_traffic_first(here: World) -> None:
    configured(here, per_tenant=True)
    logged(here, "care", 5)
    logged(here, "sales", 5, 11, 17)
    said: list[str] = []
    daemon.evolve(here.config, said.append, now=lambda: 4e9)
    begun = [line for line in said if line.endswith("a cycle begins")]
    assert begun == ["sales: a cycle begins", "a cycle begins", "care: a cycle begins"]
    said.clear()
    daemon.evolve(here.config, said.append, now=lambda: 4e9)
    assert said == []
    daemon.watch(here.config, said.append, now=lambda: 4e9)
    assert said == []
    assert [active.read(here.data, tenant).name for tenant in ("sales", "")] == ["adapter-0001", "adapter-0002"]


def test_tools_made_for_one_tenant_would_be_learned_by_all(here: World) -> None:
    configured(here, per_tenant=True, make=MakeConfig(tools_per_cycle=1))
    with pytest.raises(UserError, match=r"set \[evolver.make\] tools_per_cycle = 0"):
        here.run()


def test_a_cut_off_cycle_of_a_tenant_goes_on_and_does_not_stop_another(here: World, tmp_path: Path) -> None:
    configured(here, per_tenant=True)
    for tenant in ("sales", "care"):
        logged(here, tenant, 5, 11)

    def cut_off(stage: str, share: float, _: str) -> None:
        if (stage, share) == ("verify", 0.0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        here.run(cut_off, tenant="sales")
    other = here.run(tenant="care")
    assert (other.cycle.number, other.cycle.status) == (2, "promoted")
    ended = here.run(tenant="sales")
    assert (ended.cycle.number, ended.cycle.status, ended.cycle.tenant) == (1, "promoted", "sales")
    assert json.loads((here.data / "active_adapter.sales.json").read_text())["name"] == "adapter-0001"


def test_cycles_of_tenants_on_postgres_serve_a_gateway_that_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    url, elsewhere, said = postgres.database(), tmp_path / "elsewhere", list[str]()
    try:
        with world(tmp_path, monkeypatch) as here:
            (here.data / "interactions.db").unlink()
            database_server.keep(here.data, url)
            configured(here, per_tenant=True)
            here.config = here.config.model_copy(
                update={"agent": here.config.agent.model_copy(update={"database": url})}
            )
            ids = {tenant: logged(here, tenant, 5, 11) for tenant in ("sales", "care")}
            for tenant in ("sales", "care"):
                report = here.run(tenant=tenant)
                assert report.cycle.status == "promoted", report.cycle.reason
                text = folder_text(here, report.cycle.number)
                (other,) = ids.keys() - {tenant}
                assert WORDS[other] not in text
                assert not [one for one in ids[other] if one in text]
            served = {tenant: active.serving(here.data, tenant).name for tenant in ("sales", "care", "", "lab")}
            assert served == {"sales": "adapter-0001", "care": "adapter-0002", "": "base", "lab": "base"}
            assert active.tenants_here(here.data) == []
            with Follower(elsewhere, url, UpstreamPool(elsewhere, said.append), said.append) as follower:
                follower.catch_up()
            assert {path.name for path in (elsewhere / "adapters").iterdir()} == {"adapter-0001", "adapter-0002"}
            assert required.read(elsewhere).keys() == {"adapter-0001", "adapter-0002"}
            assert said == []
    finally:
        database_server.keep(tmp_path / "data", "")
