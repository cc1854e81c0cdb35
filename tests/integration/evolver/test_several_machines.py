"""Machines that share a Postgres database: what is promoted on one serves on all, and one of them evolves."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from agent.adapters import active
from agent.serving import serving_state
from agent.serving.gateway.access import api_keys
from agent.storage import database_server
from evolver.release import release
from evolver.store.ledger import Ledger
from tests.fakes.evolution import publish_adapter
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.postgres import PostgresServer
from tests.fakes.waiting import wait_until
from tests.integration.test_agent_serve import House

BODY = {"model": "agent", "messages": [{"role": "user", "content": "hi"}]}

HOLDER = """
import sys
from pathlib import Path
from agent.storage import database_server
from evolver.store import lease
from evolver.store.ledger import Ledger
data, database, machine = Path(sys.argv[1]), *sys.argv[2:]
database_server.keep(data, database)
if machine:
    elsewhere = lease._this_process().model_copy(update={"boot": "another", "host": machine})
    lease._this_process = lambda: elsewhere
with Ledger(data / "evolution.db") as ledger, lease.held(ledger, 2.0):
    print("holds it", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def houses(tmp_path: Path, postgres: PostgresServer) -> Iterator[list[House]]:
    """Two machines with a data folder and a model server each."""
    database = postgres.database()
    with contextlib.ExitStack() as stack:
        found = []
        for name in ("one", "two"):
            server = stack.enter_context(ModelServer(script=lambda _: Says("hi")))
            (tmp_path / name).mkdir()
            house = House(tmp_path / name, upstreams=f'upstreams = [{{url = "{server.url}"}}]')
            house.config.write_text(f'[agent]\ndatabase = "{database}"\n{house.config.read_text()}')
            database_server.keep(house.data, database)
            stack.callback(database_server.keep, house.data, "")
            found.append(house)
        yield found


def serves(house: House, key: str = "none") -> str:
    """The adapter that answered a request with ``key`` to its gateway; "" for none."""
    url, headers = serving_state.running(house.data).gateway_url, {"authorization": f"Bearer {key}"}
    answer = httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=headers, trust_env=False, timeout=60)
    return answer.headers["x-apprentice-adapter"] if answer.status_code == 200 else ""


def arrival(houses: list[House], name: str, change: Callable[[], object], keys: Sequence[str] = ("none",) * 2) -> float:
    """Change what serves to ``name``, and return the seconds from then until all gateways answered with it."""
    change()
    changed = time.monotonic()
    wait_until(lambda: all(serves(house, key) == name for house, key in zip(houses, keys, strict=True)))
    return time.monotonic() - changed


def test_a_promotion_and_a_rollback_reach_both_gateways(
    houses: list[House], capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = houses
    with one.serving() as running, two.serving(), Ledger(one.data / "evolution.db") as ledger:
        wait_until(lambda: [serves(one), serves(two)] == ["base", "base"])
        place = (one.data, ledger, running)
        adapter = publish_adapter(one.data, "adapter-0001")
        ledger.add_adapter(adapter, ledger.open_cycle().number, "base", "d" * 64)
        asked = time.monotonic()
        wait_until(lambda: [serves(one), serves(two)] == ["base", "base"])
        asked = time.monotonic() - asked
        there = arrival(houses, "adapter-0001", lambda: release.promote("adapter-0001", *place, reason="test"))
        assert (two.data / "adapters" / "adapter-0001" / "manifest.json").exists()
        back = arrival(houses, "base", lambda: release.rollback(*place, reason="test"))
    with capsys.disabled():
        print(
            f"\nboth gateways: promotion after {there:.2f} s, rollback after {back:.2f} s, "
            f"of which {asked:.2f} s for asking both"
        )


def test_a_promotion_for_a_tenant_reaches_both_gateways_and_nobody_else(
    houses: list[House], capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = houses
    keys = {name: [api_keys.create(house.data, name, ["chat"], name) for house in houses] for name in ("sales", "care")}
    with one.serving() as running, two.serving(), Ledger(one.data / "evolution.db", tenant="sales") as ledger:
        wait_until(lambda: [serves(one), serves(two)] == ["base", "base"])
        place = (one.data, ledger, running)
        adapter = publish_adapter(one.data, "adapter-0001", tenant="sales")
        ledger.add_adapter(adapter, ledger.open_cycle().number, "base", "d" * 64)
        promoted = lambda: release.promote("adapter-0001", *place, reason="test")  # noqa: E731
        there = arrival(houses, "adapter-0001", promoted, keys["sales"])
        others = [
            serves(house, key)
            for key_pair in (keys["care"], ("none",) * 2)
            for house, key in zip(houses, key_pair, strict=True)
        ]
        assert others == ["base"] * 4
        back = arrival(houses, "base", lambda: release.rollback(*place, reason="test"), keys["sales"])
    assert [active.read_here(house.data, "sales").name for house in houses] == [active.SHARED] * 2
    with capsys.disabled():
        print(f"\nboth gateways: promotion for a tenant after {there:.2f} s, rollback after {back:.2f} s")


def cycle(house: House) -> str:
    """What ``evolver cycle`` says; it ends with an error."""
    command = [sys.executable, "-P", "-m", "evolver.cli.main", "cycle", "--config", str(house.config)]
    done = subprocess.run(command, env=house.environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.mark.parametrize("machine", ["", "shop-2"])
def test_one_machine_evolves_at_a_time_and_one_that_is_killed_makes_room(houses: list[House], machine: str) -> None:
    one, two = houses
    two.config.write_text(f"{two.config.read_text()}[evolver.daemon]\nlease_seconds = 2\n")
    command = [sys.executable, "-c", HOLDER, str(one.data), database_server.server_of(one.data), machine]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "holds it\n"
            who = f"process {holder.pid}" + (f" on {machine}" if machine else "")
            assert cycle(two) == f"evolver: {who} runs a cycle; wait for its end, or stop it\n"
        finally:
            holder.send_signal(signal.SIGKILL)
    free = "evolver: no server is running; start it with: agent serve\n"
    if not machine:
        assert cycle(two) == free
    wait_until(lambda: cycle(two) == free)
