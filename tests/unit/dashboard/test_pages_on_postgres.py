"""Every page shows the same once the data folder's databases are on Postgres."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import AgentConfig, Config
from agent.log.copy_log import copy_log
from agent.storage import database_server
from evolver.store.copy_ledger import copy_ledger
from evolver.store.ledger import Ledger
from tests.fakes.dashboard_world import Visitor
from tests.fakes.postgres import PostgresServer

PAGES = (
    *("/", "/now", "/learning.json", "/cycles", "/cycles/1", "/cycles/1/traces", "/adapters", "/conversations"),
    *("/live", "/live/troubles.json", "/tools", "/shadow", "/evals", "/releases"),
)


@pytest.fixture
def away(data: Path) -> Iterator[None]:
    yield
    database_server.keep(data, "")


@pytest.mark.usefixtures("away")
def test_every_page_shows_the_same(data: Path, visitor: Visitor, postgres: PostgresServer) -> None:
    with Ledger(data / "evolution.db") as ledger:
        ledger.note(1, "make", {"traces": 1234})
    before = {page: visitor.client.get(f"/ui{page}") for page in PAGES}
    config = Config(data_folder=data, agent=AgentConfig(database=postgres.database()))
    copy_log(config, others=[copy_ledger])
    (data / "evolution.db").unlink()
    (data / "interactions.db").unlink()
    for page in PAGES:
        seen = visitor.client.get(f"/ui{page}")
        assert seen.status_code == 200, seen.text
        assert (seen.status_code, seen.text) == (before[page].status_code, before[page].text), page
