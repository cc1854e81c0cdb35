"""Adapters of tenants in the dashboard: shown with whom they serve, and changed for their tenant alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.adapters import active
from agent.adapters.active import SHARED
from agent.config import AgentConfig, Config
from agent.log.copy_log import copy_log
from agent.log.interaction_log import InteractionLog
from agent.storage import database_server
from evolver.release import release
from evolver.store.copy_ledger import copy_ledger
from evolver.store.ledger import Ledger
from tests.fakes.dashboard_world import Visitor
from tests.fakes.evolution import publish_adapter, turn
from tests.unit.evolver.release.test_tenants import damage

SALES, SALES_NEXT, CARE = "adapter-0003", "adapter-0004", "adapter-0005"


@pytest.fixture(params=["sqlite", "postgres"])
def visitor(request: pytest.FixtureRequest, data: Path) -> Iterator[Visitor]:
    """On the dashboard of a data folder where adapter-0001 serves everybody, adapter-0003 serves sales, and care has
    one that does not serve; its databases in files, and on Postgres."""
    for name, tenant in ((SALES, "sales"), (SALES_NEXT, "sales"), (CARE, "care")):
        with Ledger(data / "evolution.db", tenant=tenant) as ledger:
            number = ledger.open_cycle().number
            ledger.add_adapter(publish_adapter(data, name, tenant=tenant), number, "base", "d")
            ledger.end_cycle(number, "rejected", "not better")
    with Ledger(data / "evolution.db", tenant="sales") as ledger:
        release.promote(SALES, data, ledger, None, reason="test")
    with InteractionLog(data / "interactions.db") as log:
        log.append(turn("hi", adapter=SALES), session="s", source="gateway", tenant="sales")
        log.append(turn("hi", adapter="adapter-0001"), session="s", source="gateway", tenant="care")
    if request.param == "postgres":
        database = request.getfixturevalue("postgres").database()
        copy_log(Config(data_folder=data, agent=AgentConfig(database=database)), others=[copy_ledger])
    yield Visitor(data)
    database_server.keep(data, "")


def serving(data: Path) -> dict[str, str]:
    return {tenant: active.serving(data, tenant).name for tenant in ("", "sales", "care")}


def newest_reason(data: Path, tenant: str) -> str:
    with Ledger(data / "evolution.db", tenant=tenant) as ledger:
        return ledger.releases()[0].reason


def test_each_adapter_says_whom_it_serves(data: Path, visitor: Visitor) -> None:
    seen = visitor.get("/adapters")
    assert seen.of("adapter-0001").startswith("adapter-0001 serves promoted")
    assert seen.of(SALES).startswith(f"{SALES} for sales serves sales promoted")
    assert seen.of(CARE).startswith(f"{CARE} for care candidate")
    assert f"/ui/adapters/{SALES}/promote" not in seen.actions
    assert {f"/ui/adapters/{name}/promote" for name in (SALES_NEXT, CARE)} <= seen.actions
    assert f"{CARE} will answer all sessions of care from the next turn on, whatever the gate said." in seen.text


def test_promoting_the_adapter_of_a_tenant_serves_that_tenant_alone(data: Path, visitor: Visitor) -> None:
    seen = visitor.press(f"/adapters/{CARE}/promote")
    assert "serves care" in seen.of(CARE)
    assert serving(data) == {"": "adapter-0001", "sales": SALES, "care": CARE}
    assert newest_reason(data, "care") == "dashboard: promote without a key"
    visitor.press(f"/adapters/{SALES_NEXT}/promote")
    assert serving(data) == {"": "adapter-0001", "sales": SALES_NEXT, "care": CARE}
    visitor.press(f"/adapters/{SALES}/roll-back")
    assert serving(data) == {"": "adapter-0001", "sales": SALES, "care": CARE}


def test_a_trial_of_a_tenants_adapter_takes_sessions_of_the_tenant_and_is_ended_on_its_page(
    data: Path, visitor: Visitor
) -> None:
    seen = visitor.press(f"/adapters/{SALES_NEXT}/try", percent="20")
    assert "on trial for sales" in seen.of(SALES_NEXT)
    assert (active.read(data).canary, release.on_trial(data, "sales")) == (None, SALES_NEXT)
    of_sales = visitor.get("/releases?tenant=sales")
    assert f"End the trial of {SALES_NEXT}; the active adapter goes on with all sessions of sales." in of_sales.text
    visitor.press("/releases/roll-back", tenant="sales")
    assert release.on_trial(data, "sales") == ""
    assert serving(data)["sales"] == SALES


def test_the_releases_of_a_tenant_are_shown_and_rolled_back(data: Path, visitor: Visitor) -> None:
    with Ledger(data / "evolution.db", tenant="care") as ledger:
        release.promote(SHARED, data, ledger, None, reason="test")
    everybodys = visitor.get("/releases")
    assert everybodys.of("serves") == "adapter-0001"
    rows = {row[0]: row[1] for row in everybodys.rows("tenants")}
    assert rows == {"care": "everybody's adapter", "sales": SALES}
    of_sales = visitor.get("/releases?tenant=sales")
    assert (of_sales.of("tenant"), of_sales.of("serves")) == ("sales", SALES)
    assert of_sales.rows("monitor")[0][2] == "1"
    assert f"The adapter that served sales before {SALES} will answer it from the next turn on." in of_sales.text
    assert "/ui/releases/roll-back" not in visitor.get("/releases?tenant=care").actions
    seen = visitor.press("/releases/roll-back", tenant="sales")
    assert (seen.of("tenant"), seen.of("serves")) == ("sales", SHARED)
    assert serving(data) == dict.fromkeys(("", "sales", "care"), "adapter-0001")
    assert newest_reason(data, "sales") == "dashboard: roll back without a key"
    assert visitor.press("/releases/roll-back").of("serves") == "base"
    assert serving(data) == dict.fromkeys(("", "sales", "care"), "base")


def test_a_tenant_that_is_not_known_is_refused(data: Path, visitor: Visitor) -> None:
    assert visitor.get("/releases?tenant=lab").status == 404
    refused = visitor.press("/releases/roll-back", tenant="lab")
    assert refused.status == 409
    assert "there is no tenant lab" in refused.text
    assert serving(data)["sales"] == SALES


def test_a_tenants_key_that_may_only_read_changes_nothing(data: Path, visitor: Visitor) -> None:
    reader = Visitor(data, require_key=True)
    reader.sign_in("read", name="reader")
    assert reader.get("/releases?tenant=sales").of("serves") == SALES
    assert reader.get("/releases?tenant=sales").actions <= {"/ui/logout"}
    assert reader.press("/releases/roll-back", tenant="sales").status == 403
    assert reader.press(f"/adapters/{CARE}/promote").status == 403
    assert serving(visitor.data) == {"": "adapter-0001", "sales": SALES, "care": "adapter-0001"}


def test_a_damaged_pointer_of_a_tenant_is_said_and_hides_no_page(data: Path, visitor: Visitor) -> None:
    damage(data, "sales")
    assert "evolver rollback shared --tenant sales" in visitor.get("/releases").rows("tenants")[0][1]
    assert "evolver rollback shared --tenant sales" in visitor.get("/releases?tenant=sales").text
    assert visitor.get("/adapters").status == 200
