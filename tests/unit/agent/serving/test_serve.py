"""What ``agent serve`` does before the model runs, where several gateways share a database."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.adapters import active
from agent.adapters.active import ActiveAdapter, Change
from agent.adapters.package import model_sha256
from agent.config import AgentConfig, Config, ServingConfig, UpstreamConfig
from agent.serving import serve
from agent.serving.gateway.app import Gateway
from agent.storage import database_server
from tests.fakes.postgres import PostgresServer


@pytest.fixture
def config(tmp_path: Path, postgres: PostgresServer) -> Iterator[Config]:
    yield Config(data_folder=tmp_path, agent=AgentConfig(database=postgres.database()))
    database_server.keep(tmp_path, "")


def test_the_pointers_of_the_database_are_taken_over_at_the_start_and_what_it_does_not_know_is_said(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    data = config.data_folder
    gone_back = Change(serial=2, previous="adapter-0002", reason="test", by="person")
    active.write(data, ActiveAdapter(name=active.SHARED, change=gone_back), tenant="care")
    active.write_here(data, ActiveAdapter(name="adapter-0001", sha256="a" * 64), "sales")
    with ExitStack() as stack:
        serve._follower(config, Gateway(data, config.agent.serving.gateway), stack)
    assert active.tenants_here(data) == ["care", "sales"]
    said = capsys.readouterr().err
    assert "sales: adapter-0001 serves on this machine only" in said
    assert "care: shared serves now" in said


def test_the_model_of_ones_own_server_is_known_and_that_of_others_is_not(tmp_path: Path) -> None:
    def of(**serving: object) -> Config:
        chosen = ServingConfig(model=str(tmp_path / "model"), **serving)  # type: ignore[arg-type]
        return Config(data_folder=tmp_path, agent=AgentConfig(serving=chosen))

    assert serve._base_sha256(of()) == ""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert serve._base_sha256(of()) == model_sha256(tmp_path / "model")
    assert serve._base_sha256(of(upstreams=[UpstreamConfig(url="http://127.0.0.1:9")])) == ""
