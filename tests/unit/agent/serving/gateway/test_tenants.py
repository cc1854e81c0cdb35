"""Tenants with adapters of their own, through a running gateway: two of them, an adapter each, and others."""

import shutil
from typing import Any

import pytest

from agent.adapters import active, required
from agent.adapters.active import SHARED, ActiveAdapter, Canary
from agent.serving.gateway.access import api_keys
from tests.fakes.adapter_folder import sha256_of, write_manifest
from tests.fakes.gateway_door import CHAT, Door
from tests.fakes.model_server import Says
from tests.fakes.model_tools import ADD

EVERYBODYS, SALES, CARE = "adapter-0001", "adapter-0002", "adapter-0003"


class Tenants:
    """Adapters of everybody, of sales and of care; keys of sales, of care, of the lab, which has none, and of nobody's
    tenant."""

    def __init__(self, door: Door) -> None:
        self.door = door
        door.adapter(EVERYBODYS)
        for name, tenant in ((SALES, "sales"), (CARE, "care")):
            self.own(name, tenant)
        places = {"sales": "sales", "care": "care", "lab": "lab", "none": ""}
        keys = {name: api_keys.create(door.data, name, ["chat"], tenant) for name, tenant in places.items()}
        keys["head"] = api_keys.create(door.data, "head", ["admin"], "sales")
        self.headers = {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}

    def own(self, name: str, tenant: str) -> None:
        folder = self.door.data / "adapters" / name
        write_manifest(folder, tenant=tenant)
        active.write(self.door.data, ActiveAdapter(name=name, sha256=sha256_of(folder)), tenant=tenant)
        required.add(self.door.data, name, sha256_of(folder))

    def ask(self, who: str, body: dict[str, Any] = CHAT, **headers: str) -> Any:
        return self.door.chat(body, **self.headers[who], **headers)

    def answers(self, who: str, **rest: Any) -> str:
        return self.ask(who, **rest).headers["x-apprentice-adapter"]


@pytest.fixture
def tenants(door: Door) -> Tenants:
    return Tenants(door)


def test_each_tenant_is_answered_by_its_own_adapter_and_all_others_by_everybodys(tenants: Tenants) -> None:
    answered = {who: tenants.answers(who) for who in ("sales", "care", "lab", "none", "head")}
    assert answered == {"sales": SALES, "care": CARE, "lab": EVERYBODYS, "none": EVERYBODYS, "head": SALES}
    assert tenants.door.chat(CHAT).headers["x-apprentice-adapter"] == EVERYBODYS


def test_a_tenant_that_goes_back_follows_what_serves_everybody(tenants: Tenants) -> None:
    data = tenants.door.data
    active.write(data, ActiveAdapter(name=SHARED), tenant="sales")
    assert tenants.answers("sales") == EVERYBODYS
    tenants.door.adapter("adapter-0004")
    assert (tenants.answers("sales"), tenants.answers("care")) == ("adapter-0004", CARE)
    active.write(data, ActiveAdapter(), tenant="care")
    assert tenants.answers("care") == "base"


def test_the_adapter_of_a_tenant_answers_nobody_else_who_asks_by_name(tenants: Tenants) -> None:
    asked = {who: tenants.ask(who, {**CHAT, "model": SALES}).status_code for who in ("sales", "care", "lab", "head")}
    assert asked == {"sales": 200, "care": 404, "lab": 404, "head": 200}
    assert tenants.ask("none", {**CHAT, "model": SALES}).status_code == 404
    assert tenants.ask("care", {**CHAT, "model": EVERYBODYS}).status_code == 200
    prompt = {"model": SALES, "prompt": "x"}
    assert tenants.door.client.post("/v1/completions", json=prompt, headers=tenants.headers["care"]).status_code == 404


def test_the_list_of_models_names_no_adapter_of_another_tenant(tenants: Tenants) -> None:
    tenants.door.server.models += [EVERYBODYS, SALES, CARE]

    def listed(who: str) -> dict[str, str]:
        found = tenants.door.client.get("/v1/models", headers=tenants.headers[who]).json()["data"]
        return {model["id"]: model.get("root") for model in found}

    assert {SALES, CARE} & listed("sales").keys() == {SALES}
    assert {SALES, CARE} & listed("lab").keys() == set()
    assert {SALES, CARE} & listed("head").keys() == {SALES, CARE}
    assert (listed("sales")["agent"], listed("lab")["agent"]) == (SALES, EVERYBODYS)
    one = tenants.door.client.get(f"/v1/models/{SALES}", headers=tenants.headers["care"])
    assert one.status_code == 404


def test_the_id_of_anothers_call_leads_to_no_adapter_of_another_tenant(tenants: Tenants) -> None:
    tenants.door.server._script = lambda request: Says(calls=[("add", '{"a": 2, "b": 3}')])
    said = {"role": "user", "content": "Add 2 and 3 for sales."}  # a turn of this test alone: the gateway is shared
    begun = tenants.ask("sales", {**CHAT, "messages": [said], "tools": [ADD.schema()]})
    assert begun.headers["x-apprentice-adapter"] == SALES
    (call,) = begun.json()["choices"][0]["message"]["tool_calls"]
    tenants.own("adapter-0005", "sales")
    result = {"role": "tool", "tool_call_id": call["id"], "content": "5"}
    later = {**CHAT, "messages": [said, {"role": "assistant", "tool_calls": [call]}, result]}
    assert tenants.answers("care", body=later) == CARE
    assert tenants.answers("sales", body=later) == SALES


def test_a_tenant_whose_adapter_cannot_be_loaded_is_answered_by_everybodys(tenants: Tenants) -> None:
    required.remove(tenants.door.data, SALES)
    assert (tenants.answers("sales"), tenants.answers("care")) == (EVERYBODYS, CARE)


def test_an_adapter_whose_folder_is_gone_answers_nobody_by_name(tenants: Tenants) -> None:
    """Its manifest told whose it was; a server may still have it."""
    tenants.door.server.models += [EVERYBODYS, SALES]
    shutil.rmtree(tenants.door.data / "adapters" / SALES)
    for who in ("sales", "care", "none", "head"):
        refused = tenants.ask(who, {**CHAT, "model": SALES})
        assert (refused.status_code, "there is no model" in refused.text) == (404, True)
        listed = tenants.door.client.get("/v1/models", headers=tenants.headers[who]).json()["data"]
        assert [model["id"] for model in listed] == ["agent", "base", EVERYBODYS]
    assert tenants.door.server.requests == []


@pytest.mark.parametrize("harm", ["no folder", "no manifest", "a damaged manifest"])
def test_a_tenant_whose_adapter_is_harmed_on_disk_is_answered_by_everybodys(tenants: Tenants, harm: str) -> None:
    folder = tenants.door.data / "adapters" / SALES
    tenants.door.server._script = lambda request: Says(calls=[("add", '{"a": 2, "b": 3}')])
    (call,) = tenants.ask("sales", {**CHAT, "tools": [ADD.schema()]}).json()["choices"][0]["message"]["tool_calls"]
    if harm == "no folder":
        shutil.rmtree(folder)
    elif harm == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_text("{")
    assert (tenants.answers("sales"), tenants.answers("care")) == (EVERYBODYS, CARE)
    result = {"role": "tool", "tool_call_id": call["id"], "content": "5"}
    later = {**CHAT, "messages": [*CHAT["messages"], {"role": "assistant", "tool_calls": [call]}, result]}
    assert tenants.answers("sales", body=later) == EVERYBODYS


def test_a_damaged_pointer_of_a_tenant_stops_that_tenant_alone(tenants: Tenants) -> None:
    active.path(tenants.door.data, "sales").write_text("{")
    refused = tenants.ask("sales")
    assert refused.status_code == 503
    assert "evolver rollback shared --tenant sales" in refused.json()["error"]["message"]
    assert (tenants.answers("care"), tenants.answers("none")) == (CARE, EVERYBODYS)
    assert tenants.door.client.get("/health").status_code == 200


@pytest.mark.parametrize("own", [SHARED, SALES])
def test_a_trial_of_a_tenant_takes_a_share_of_its_sessions_alone(tenants: Tenants, own: str) -> None:
    data, name = tenants.door.data, "adapter-0005"
    tenants.own(name, "sales")
    canary = Canary(name=name, sha256=sha256_of(data / "adapters" / name), share=0.5)
    active.write(data, ActiveAdapter(name=own, canary=canary), tenant="sales")

    def answered(who: str) -> set[str]:
        return {tenants.answers(who, **{"x-apprentice-session": f"s{n}"}) for n in range(20)}

    assert answered("sales") == {name, EVERYBODYS if own == SHARED else SALES}
    assert (answered("care"), answered("lab")) == ({CARE}, {EVERYBODYS})
