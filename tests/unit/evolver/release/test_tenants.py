"""Releases of tenants: each has its own pointer, history and trial, and no adapter of another ever serves it."""

import json
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.adapters import active, required, shared_pointer
from agent.adapters.active import SHARED, ActiveAdapter
from agent.config import AgentConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.access.auth import Access, Caller
from agent.storage.database_server import server_of
from evolver.cli.main import app
from evolver.config import Config, EvolverConfig, ReleaseConfig
from evolver.cycle import daemon
from evolver.maintenance import retention
from evolver.release import release
from evolver.store.ledger import Ledger
from evolver.store.tenants import all_tenants, check_cycle
from tests.fakes.evolution import publish_adapter, turn
from toolkit.errors import UserError

SHAREDS, SALES, CARE = "adapter-0001", "adapter-0002", "adapter-0003"
WHOSE = {SHAREDS: "", SALES: "sales", CARE: "care"}


@pytest.fixture
def ledgers(each_database: Path) -> Iterator[dict[str, Ledger]]:
    """The ledger as everybody, sales and care have it, each with a registered adapter that does not serve."""
    tmp_path = each_database
    opened = {tenant: Ledger(tmp_path / "evolution.db", tenant=tenant) for tenant in WHOSE.values()}
    for name, tenant in WHOSE.items():
        number = opened[tenant].open_cycle().number
        opened[tenant].add_adapter(publish_adapter(tmp_path, name, tenant=tenant), number, "base", "d" * 64)
    yield opened
    for ledger in opened.values():
        ledger.__exit__()


def serving(data: Path) -> dict[str, str]:
    return {tenant: active.serving(data, tenant).name for tenant in ("", "sales", "care", "lab")}


def configured(data: Path) -> Config:
    """The configuration with adapters of tenants, of which a database is a part where there is one."""
    agent = AgentConfig(database=server_of(data))
    return Config(data_folder=data, agent=agent, evolver=EvolverConfig(per_tenant=True))


def due_here(data: Path) -> set[str]:
    """The adapters that servers must have for the sake of tenants. On Postgres each gateway sees to that."""
    return {SALES} if server_of(data) else set(required.read(data))


def damage(data: Path, tenant: str) -> None:
    """Let the pointer of ``tenant`` be none."""
    if not (url := server_of(data)):
        active.path(data, tenant).write_text("{")
        return
    with closing(shared_pointer.open_pointer(url, writable=True)) as database, database.transaction() as db:
        shared_pointer.write(db, "{", (), tenant)


def promote(data: Path, ledger: Ledger, name: str) -> str:
    return release.promote(name, data, ledger, None, reason="test")


def test_an_adapter_of_a_tenant_serves_that_tenant_and_nobody_else(tmp_path: Path, ledgers: dict[str, Ledger]) -> None:
    assert promote(tmp_path, ledgers["sales"], SALES) == SHARED
    assert serving(tmp_path) == {"": "base", "sales": SALES, "care": "base", "lab": "base"}
    promote(tmp_path, ledgers[""], SHAREDS)
    assert serving(tmp_path) == {"": SHAREDS, "sales": SALES, "care": SHAREDS, "lab": SHAREDS}
    for tenant, fix in (("", "; add: --tenant sales"), ("care", "")):
        with pytest.raises(UserError, match=f"{SALES} is the adapter of the tenant sales, and serves no one else{fix}"):
            promote(tmp_path, ledgers[tenant], SALES)
        with pytest.raises(UserError, match="serves no one else"):
            release.begin_trial(SALES, tmp_path, ledgers[tenant], None, share=0.1)
        with pytest.raises(UserError, match="serves no one else"):
            release.rollback(tmp_path, ledgers[tenant], None, to=SALES, reason="test")
    assert serving(tmp_path) == {"": SHAREDS, "sales": SALES, "care": SHAREDS, "lab": SHAREDS}
    assert due_here(tmp_path) == {SALES}


def test_a_tenant_goes_back_to_what_serves_everybody(tmp_path: Path, ledgers: dict[str, Ledger]) -> None:
    sales = ledgers["sales"]
    promote(tmp_path, sales, SALES)
    promote(tmp_path, ledgers[""], SHAREDS)
    assert release.rollback(tmp_path, sales, None, reason="test") == (SALES, SHARED)
    assert serving(tmp_path)["sales"] == SHAREDS
    with pytest.raises(UserError, match="sales has no adapter of its own; nothing to go back to"):
        release.rollback(tmp_path, sales, None, reason="test")
    promote(tmp_path, sales, SHAREDS)
    assert release.rollback(tmp_path, sales, None, to="base", reason="test") == (SHAREDS, "base")
    states = {row.name: (row.state, row.tenant) for row in sales.adapters()}
    assert states == {SHAREDS: ("promoted", ""), SALES: ("withdrawn", "sales"), CARE: ("candidate", "care")}
    assert serving(tmp_path) == {"": SHAREDS, "sales": "base", "care": SHAREDS, "lab": SHAREDS}


def test_changes_of_tenants_are_told_apart_and_survive_a_cut_off_release(
    tmp_path: Path, ledgers: dict[str, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record_release", cut_off)
        with pytest.raises(KeyboardInterrupt):
            promote(tmp_path, ledgers["sales"], SALES)
    promote(tmp_path, ledgers["care"], CARE)
    promote(tmp_path, ledgers[""], SHAREDS)
    for ledger in ledgers.values():
        release.reconcile(tmp_path, ledger)
        release.reconcile(tmp_path, ledger)
    changes = {name: [(one.adapter, one.previous) for one in ledger.releases()] for name, ledger in ledgers.items()}
    of_sales = [] if server_of(tmp_path) else [(SALES, SHARED)]  # there it is one transaction, with the pointer
    assert changes == {"": [(SHAREDS, "base")], "sales": of_sales, "care": [(CARE, SHARED)]}
    assert active.read(tmp_path, "sales").name == (SALES if of_sales else SHARED)
    numbers = [one.number for one in ledgers[""].all_releases()]
    assert len(set(numbers)) == len(numbers) == 2 + len(of_sales)


def test_a_trial_of_a_tenant_ends_for_that_tenant(tmp_path: Path, ledgers: dict[str, Ledger]) -> None:
    release.begin_trial(SALES, tmp_path, ledgers["sales"], None, share=0.5)
    assert [release.on_trial(tmp_path, tenant) for tenant in ("", "sales", "care")] == ["", SALES, ""]
    promote(tmp_path, ledgers["care"], CARE)
    assert release.on_trial(tmp_path, "sales") == SALES
    assert release.rollback(tmp_path, ledgers["sales"], None, reason="test") == (SALES, SHARED)
    assert release.on_trial(tmp_path, "sales") == ""
    assert ledgers[""].adapter(SALES).state == "withdrawn"  # type: ignore[union-attr]


def test_what_becomes_of_everybodys_adapter_for_one_tenant_does_not_change_it(
    tmp_path: Path, ledgers: dict[str, Ledger]
) -> None:
    promote(tmp_path, ledgers[""], SHAREDS)
    sales, states = ledgers["sales"], []

    def note() -> None:
        states.append(ledgers[""].adapter(SHAREDS).state)  # type: ignore[union-attr]

    promote(tmp_path, sales, SALES)
    release.begin_trial(SHAREDS, tmp_path, sales, None, share=0.5)
    note()
    assert release.end_trial(SHAREDS, tmp_path, sales, reason="worse", by="monitor")
    note()
    release.begin_trial(SHAREDS, tmp_path, sales, None, share=0.5)
    promote(tmp_path, sales, "base")
    note()
    assert states == ["promoted"] * 3
    release.begin_trial(SALES, tmp_path, sales, None, share=0.5)
    assert sales.adapter(SALES).state == "waiting"  # type: ignore[union-attr]
    assert release.end_trial(SALES, tmp_path, sales, reason="worse", by="monitor")
    assert sales.adapter(SALES).state == "withdrawn"  # type: ignore[union-attr]


def test_the_servers_must_have_again_what_a_tenants_pointer_names(tmp_path: Path, ledgers: dict[str, Ledger]) -> None:
    """One refused load, or a kill after the pointer was written, is no end."""
    promote(tmp_path, ledgers["sales"], SALES)
    promote(tmp_path, ledgers[""], SHAREDS)
    required.write(tmp_path, {})
    release.reconcile(tmp_path, ledgers["sales"])
    assert due_here(tmp_path) == {SALES}
    required.write(tmp_path, {})
    daemon.watch(configured(tmp_path), lambda _: None)
    assert due_here(tmp_path) == {SALES}


def test_the_damaged_pointer_of_a_tenant_stops_no_other(
    tmp_path: Path, ledgers: dict[str, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(tmp_path, ledgers["care"], CARE)
    promote(tmp_path, ledgers["sales"], SALES)
    required.write(tmp_path, {})
    damage(tmp_path, "care")
    config, said = configured(tmp_path), list[str]()
    daemon.watch(config, said.append)
    (told,) = said
    assert told.startswith("care: ")
    assert "evolver rollback shared --tenant care" in told
    assert due_here(tmp_path) == {SALES}

    asked: list[str] = []

    def why_not_due(_: Config, ledger: Ledger, __: float) -> str:
        asked.append(ledger.tenant)
        active.read(tmp_path, ledger.tenant)
        return "not now"

    monkeypatch.setattr(daemon, "why_not_due", why_not_due)
    said.clear()
    daemon.evolve(config, said.append)
    assert sorted(asked) == ["", "care", "sales"]
    assert [line.split(":")[0] for line in said] == ["care"]


def test_all_of_a_tenant_is_kept_on_disk_while_its_pointer_is_damaged(
    tmp_path: Path, ledgers: dict[str, Ledger]
) -> None:
    for tenant, name in (("sales", SALES), ("care", CARE)):
        promote(tmp_path, ledgers[tenant], name)
        promote(tmp_path, ledgers[tenant], SHARED)
        promote(tmp_path, ledgers[tenant], "base")
    with ledgers[""].together() as db:
        db.execute("UPDATE cycles SET status = 'promoted'")
    later = ledgers[""].now() + 1e6
    none_kept = ReleaseConfig.model_construct(keep_adapters=0)

    def goes() -> list[str]:
        return [row.name for row in retention.removable(none_kept, tmp_path, ledgers[""], later)]

    assert goes() == [CARE, SALES, SHAREDS]
    damage(tmp_path, "sales")
    assert goes() == [CARE, SHAREDS]


def test_what_serves_a_tenant_is_kept_on_disk(tmp_path: Path, ledgers: dict[str, Ledger]) -> None:
    for tenant, name in (("sales", SALES), ("care", CARE)):
        promote(tmp_path, ledgers[tenant], name)
    with ledgers[""].together() as db:
        db.execute("UPDATE cycles SET status = 'promoted'")
    config, later = ReleaseConfig(keep_adapters=1), ledgers[""].now() + 1e6
    assert [row.name for row in retention.removable(config, tmp_path, ledgers[""], later)] == [SHAREDS]


def test_the_monitor_compares_the_turns_of_the_tenant_alone(tmp_path: Path, ledgers: dict[str, Ledger]) -> None:
    promote(tmp_path, ledgers[""], SHAREDS)
    promote(tmp_path, ledgers["sales"], SALES)
    with InteractionLog(tmp_path / "interactions.db") as log:
        for tenant, adapter, turns in (
            ("sales", SALES, 3),
            ("sales", SHAREDS, 2),
            ("care", SHAREDS, 5),
            ("", SALES, 1),
        ):
            for n in range(turns):
                log.append(turn(f"{tenant} {n}", adapter=adapter), session=f"s{n}", source="gateway", tenant=tenant)
    config = configured(tmp_path)
    seen = daemon.comparison(config, ledgers["sales"])
    assert seen is not None
    assert (seen.current, seen.previous, seen.now, seen.before) == (SALES, SHAREDS, 3, 2)
    assert daemon.comparison(config, ledgers["care"]) is None


@pytest.mark.parametrize(
    ("gateway", "open_to_all"),
    [({}, True), ({"require_key": True}, False), ({"host": "0.0.0.0"}, False), ({"host": "::1"}, True)],
)
def test_tenants_get_no_adapters_while_who_has_no_key_may_ask_for_them_all(
    gateway: dict[str, object], open_to_all: bool
) -> None:
    tables: dict[str, Any] = {"agent": {"serving": {"gateway": gateway}}, "evolver": {"make": {"tools_per_cycle": 0}}}
    check_cycle(Config.model_validate(tables), "")
    tables["evolver"]["per_tenant"] = True
    config = Config.model_validate(tables)
    door = Access(Path("none"), config.agent.serving.gateway, "own key")
    assert isinstance(door.check("", "admin"), Caller) is open_to_all
    for tenant in ("", "sales"):
        with pytest.raises(UserError, match="require_key = true") if open_to_all else nullcontext():
            check_cycle(config, tenant)


def test_the_monitor_compares_with_what_served_everybody_when_the_tenant_got_its_own(
    tmp_path: Path, ledgers: dict[str, Ledger]
) -> None:
    config = configured(tmp_path)
    InteractionLog(tmp_path / "interactions.db").__exit__()

    def previous() -> str:
        seen = daemon.comparison(config, ledgers["sales"])
        assert seen is not None
        return seen.previous

    promote(tmp_path, ledgers["sales"], SALES)
    assert previous() == "base"
    promote(tmp_path, ledgers[""], SHAREDS)
    assert previous() == "base"
    promote(tmp_path, ledgers["sales"], SHARED)
    promote(tmp_path, ledgers["sales"], SALES)
    assert previous() == SHAREDS
    promote(tmp_path, ledgers[""], "base")
    assert previous() == SHAREDS


def call(data: Path, *words: str) -> str:
    """What a command prints, or the error with which it ends."""
    database = f'[agent]\ndatabase = "{server_of(data)}"\n' if server_of(data) else ""
    (data / "config.toml").write_text(f'data_folder = "{data}"\n{database}[evolver]\nper_tenant = true\n')
    done = CliRunner().invoke(app, [*words, "--config", str(data / "config.toml")])
    return done.output if done.exit_code == 0 else str(done.exception)


def test_the_commands_take_a_tenant_and_know_which_there_are(tmp_path: Path, ledgers: dict[str, Ledger]) -> None:
    with InteractionLog(tmp_path / "interactions.db") as log:
        log.append(turn("hi"), session="s", source="gateway", tenant="sales")
    active.write(tmp_path, ActiveAdapter(name=SHARED), tenant="care")
    assert all_tenants(configured(tmp_path)) == ["care", "sales"]

    assert "there is no tenant sale; there is: care, sales" in call(tmp_path, "history", "--tenant", "sale")
    promote(tmp_path, ledgers["sales"], SALES)
    listed = call(tmp_path, "adapters", "--tenant", "sales")
    assert f"* {SALES}" in listed
    assert "for the tenant sales alone" in listed
    assert CARE not in listed
    assert CARE in call(tmp_path, "adapters")
    history = call(tmp_path, "history", "--tenant", "sales")
    assert "cycle 2 of sales" in history
    assert f"shared -> {SALES} of sales" in history
    assert "cycle 3" not in history
    assert "shared serves sales now (before: adapter-0002)" in call(tmp_path, "rollback", "--tenant", "sales")
    assert "add: --tenant care" in call(tmp_path, "promote", CARE)
    assert f"{CARE} serves care now (before: shared)" in call(tmp_path, "promote", CARE, "--tenant", "care")
    assert serving(tmp_path) == {"": "base", "sales": "base", "care": CARE, "lab": "base"}
    assert "there is no cycle 3" in call(tmp_path, "history", "--tenant", "sales", "--cycle", "3")


def test_an_adapter_is_rejected_and_pinned_for_its_own_tenant_alone(tmp_path: Path, ledgers: dict[str, Ledger]) -> None:
    active.write(tmp_path, ActiveAdapter(name=SHARED), tenant="sales")
    for name in (SHAREDS, SALES, CARE):
        ledgers[""].set_adapter_state(name, "waiting")
    assert call(tmp_path, "pin", SALES, "--tenant", "sales") == f"{SALES} is pinned\n"
    assert call(tmp_path, "unpin", SALES, "--tenant", "sales") == f"{SALES} is no longer pinned\n"
    for command in ("pin", "unpin", "reject"):
        said = call(tmp_path, command, CARE, "--tenant", "sales")
        assert said == f"{CARE} is the adapter of the tenant care; see those of sales: evolver adapters --tenant sales"
        assert f"{SHAREDS} is the adapter of everybody" in call(tmp_path, command, SHAREDS, "--tenant", "sales")
    assert call(tmp_path, "reject", SALES, "--tenant", "sales") == f"{SALES} is rejected\n"
    assert {row.name: row.state for row in ledgers[""].adapters()} == {
        SHAREDS: "waiting", SALES: "rejected", CARE: "waiting"
    }  # fmt: skip


def test_the_list_of_adapters_says_which_tenants_each_serves(tmp_path: Path, ledgers: dict[str, Ledger]) -> None:
    promote(tmp_path, ledgers[""], SHAREDS)
    promote(tmp_path, ledgers["sales"], SALES)
    release.begin_trial(CARE, tmp_path, ledgers["care"], None, share=0.1)
    lines = {line.split()[0]: line for line in call(tmp_path, "adapters").replace("*", " ").splitlines()}
    assert ("serves sales" in lines[SALES], "on trial for care" in lines[CARE]) == (True, True)
    assert "serves" not in lines[SHAREDS]
    found = {row["name"]: row for row in json.loads(call(tmp_path, "adapters", "--json"))}
    assert {name: row["serves"] for name, row in found.items()} == {SHAREDS: [""], SALES: ["sales"], CARE: []}
    assert {name: row["on_trial_for"] for name, row in found.items()} == {SHAREDS: [], SALES: [], CARE: ["care"]}
    assert [name for name, row in found.items() if row["active"]] == [SHAREDS]


def test_a_tenant_without_an_adapter_of_its_own_is_shown_the_one_that_serves_it(
    tmp_path: Path, ledgers: dict[str, Ledger]
) -> None:
    promote(tmp_path, ledgers[""], SHAREDS)
    active.write(tmp_path, ActiveAdapter(name=SHARED), tenant="care")
    found = json.loads(call(tmp_path, "adapters", "--tenant", "care", "--json"))
    assert [(row["name"], row["active"]) for row in found] == [(CARE, False), (SHAREDS, True)]


@pytest.mark.usefixtures("ledgers")
def test_a_trial_of_a_tenant_says_how_it_is_ended(tmp_path: Path) -> None:
    active.write(tmp_path, ActiveAdapter(name=SHARED), tenant="sales")
    said = call(tmp_path, "trial", SALES, "--tenant", "sales")
    assert (
        said == f"{SALES} answers 10% of the sessions of sales; end the trial with: evolver rollback --tenant sales\n"
    )
    assert f"shared serves sales now (before: {SALES})" in call(tmp_path, "rollback", "--tenant", "sales")


@pytest.mark.parametrize("each_database", ["postgres"], indirect=True)
def test_what_was_promoted_for_a_tenant_on_postgres_is_there_for_other_machines(
    tmp_path: Path, ledgers: dict[str, Ledger]
) -> None:
    promote(tmp_path, ledgers["sales"], SALES)
    sha256, elsewhere = active.read(tmp_path, "sales").sha256, tmp_path / "elsewhere"
    with closing(shared_pointer.open_pointer(server_of(tmp_path))) as database:
        assert shared_pointer.fetch_files(database, elsewhere, SALES, sha256).is_dir()
    assert active.tenants_here(tmp_path) == []  # only a gateway changes what serves on a machine
