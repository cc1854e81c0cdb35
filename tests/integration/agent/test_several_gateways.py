"""Two gateways with one interaction log on Postgres, one of them killed or the server restarted under load."""

import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agent.storage import database_server
from tests.fakes.postgres import PostgresServer, postgres_server
from tests.fakes.waiting import wait_until
from tests.integration.agent.test_log_durability import contents, gateway, server


class Balancer:
    """Clients that ask the gateways in turn, and leave out one that does not answer; keeps what was acknowledged."""

    def __init__(self, urls: list[str], clients: int = 4) -> None:
        self.stored: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self._turns = itertools.cycle(urls)
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Balancer":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stored_by(self, url: str) -> int:
        return sum(answered == url for _, answered in list(self.stored))

    def stop(self) -> None:
        """Ask nothing any more, and wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not self._stop.is_set():
                text, url = f"request {next(self._numbers)}", next(self._turns)
                body = {"messages": [{"role": "user", "content": text}]}
                headers = {"x-apprentice-log": "wait"}
                try:
                    answer = client.post(f"{url}/v1/chat/completions", json=body, headers=headers)
                except httpx.TransportError:
                    self._stop.wait(0.05)
                    continue
                (self.stored.append((text, url)) if answer.status_code == 200 else self.refused.append(text))


@contextlib.contextmanager
def two_gateways(folder: Path, database: str, upstream: str) -> Iterator[list]:
    """Two gateways, each with a data folder of its own."""
    with contextlib.ExitStack() as stack:
        found = []
        for name in ("one", "two"):
            database_server.keep(folder / name, database)
            stack.callback(database_server.keep, folder / name, "")
            found.append(stack.enter_context(gateway(folder / name, upstream)))
        yield found


def assert_stored_once(folder: Path, acknowledged: list[tuple[str, str]]) -> None:
    requests, _ = contents(folder / "one")
    texts = [text for text, _ in acknowledged]
    assert {text: requests[text] for text in texts} == dict.fromkeys(texts, 1)
    assert max(Counter(requests).values()) == 1


def test_one_of_two_killed_under_load_loses_nothing_acknowledged(tmp_path: Path, postgres: PostgresServer) -> None:
    with (
        server() as upstream,
        two_gateways(tmp_path, postgres.database(), upstream.url) as ((process, one), (_, two)),
        Balancer([one, two]) as people,
    ):
        wait_until(lambda: people.stored_by(one) >= 10 and people.stored_by(two) >= 10)
        process.kill()
        process.wait()
        before = people.stored_by(two)
        wait_until(lambda: people.stored_by(two) >= before + 20)
        people.stop()
        assert_stored_once(tmp_path, people.stored)


@pytest.mark.timeout(600)
def test_a_server_that_crashes_and_comes_back_loses_nothing_acknowledged(tmp_path: Path) -> None:
    with (
        postgres_server() as postgres,
        server() as upstream,
        two_gateways(tmp_path, postgres.database(), upstream.url) as found,
        Balancer([url for _, url in found]) as people,
    ):
        urls = [url for _, url in found]
        for _ in range(2):
            counts = [people.stored_by(url) for url in urls]
            wait_until(lambda counts=counts: all(map(lambda u, n: people.stored_by(u) >= n + 10, urls, counts)))
            postgres.stop()
            postgres.start()
        counts = [people.stored_by(url) for url in urls]
        wait_until(lambda: all(map(lambda u, n: people.stored_by(u) >= n + 10, urls, counts)))
        people.stop()
        assert people.refused == []
        assert_stored_once(tmp_path, people.stored)
