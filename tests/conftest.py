"""What holds for every test."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from agent.storage import database_server
from tests import schedule
from tests.fakes.postgres import PostgresServer, postgres_server

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# A shell ignores SIGINT in what it starts with ``&``, and children inherit that: tests that interrupt would wait.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> schedule.ByUnit:
    return schedule.ByUnit(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    schedule.put_vllm_first(items)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A Postgres server for all tests of the run that need one."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def data_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A data folder whose interaction log is in a SQLite file, and one whose log is on a Postgres server."""
    folder = tmp_path / "data"
    url = request.getfixturevalue("postgres").database() if request.param == "postgres" else ""
    database_server.keep(folder, url)
    yield folder
    database_server.keep(folder, "")


@pytest.fixture(params=["sqlite", "postgres"])
def each_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The folder ``tmp_path``, its databases and those of ``data`` in it in files, and on a Postgres server."""
    url = request.getfixturevalue("postgres").database() if request.param == "postgres" else ""
    for folder in (tmp_path, tmp_path / "data"):
        database_server.keep(folder, url)
    yield tmp_path
    for folder in (tmp_path, tmp_path / "data"):
        database_server.keep(folder, "")
