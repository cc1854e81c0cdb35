"""What the gateway acknowledged is in the log exactly once, however it ends. The acknowledgements are kept out here."""

import contextlib
import itertools
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx

from agent.log.interaction_log import InteractionLog
from agent.storage.database import Database
from agent.storage.database_server import server_of
from tests.fakes.model_gateway import KEY
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.waiting import wait_until

ROOT = Path(__file__).parents[3]
KILLS = 4
"""Here; ``make soak`` does more."""


class Clients:
    """Ask without end, each over its own connection; keep what was acknowledged."""

    def __init__(self, url: str, numbers: Iterator[int]) -> None:
        self.stored: list[str] = []
        self.praised: list[str] = []
        self.answered: list[str] = []
        self._url = url
        self._numbers = numbers
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(6)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, kind: int) -> None:
        headers = {"x-apprentice-log": "wait"} if kind % 3 == 0 else {}
        with contextlib.suppress(httpx.TransportError), httpx.Client(trust_env=False, timeout=60) as client:
            while not self._stop.is_set():
                text = f"request {next(self._numbers)}"
                body = {"messages": [{"role": "user", "content": text}], "stream": kind % 2 == 0}
                answer = client.post(self._url + "/v1/chat/completions", json=body, headers=headers)
                assert answer.status_code == 200
                self.answered.append(text)
                if kind % 3 == 0:
                    self.stored.append(text)
                elif kind % 3 == 1:
                    word = {"id": f"chatcmpl-{text}", "verdict": "good", "note": text}
                    assert client.post(self._url + "/v1/feedback", json=word).status_code == 200
                    self.praised.append(text)


@contextlib.contextmanager
def gateway(data: Path, upstream: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, "-m", "tests.fakes.gateway_process", str(data), upstream, server_of(data)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def contents(data: Path) -> tuple[Counter[str], Counter[str]]:
    """How often each request, and each word of feedback, is in the log, which must be sound."""
    with InteractionLog(data / "interactions.db") as log:
        if isinstance(log._db, Database):
            assert log._db.raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert log._db.raw.execute("PRAGMA foreign_key_check").fetchall() == []
        found = log.read()
    requests = Counter(interaction.trajectory.messages[0].content for interaction in found)
    return requests, Counter(word.note for interaction in found for word in interaction.feedback)


def server() -> ModelServer:
    return ModelServer(script=lambda r: Says("yes", id=f"chatcmpl-{r['messages'][0]['content']}"), key=KEY)


def kill_at_random(data: Path, kills: int, seed: int) -> int:
    """Kill a gateway so often while people ask, and look into its log each time; returns how many were acknowledged."""
    chance = random.Random(seed)
    numbers = itertools.count()
    stored: list[str] = []
    praised: list[str] = []
    with server() as upstream:
        for _ in range(kills):
            with gateway(data, upstream.url) as (process, url):
                clients = Clients(url, numbers)
                wait_until(lambda clients=clients: clients.praised and clients.stored)
                time.sleep(chance.uniform(0, 0.5))
                process.kill()
                clients.join()
            stored += clients.stored
            praised += clients.praised
            requests, words = contents(data)
            assert {text: requests[text] for text in stored + praised} == dict.fromkeys(stored + praised, 1)
            assert {text: words[text] for text in praised} == dict.fromkeys(praised, 1)
            assert max(requests.values()) == max(words.values()) == 1
    return len(stored) + len(praised)


def test_killed_at_random_it_keeps_what_it_acknowledged(data_folder: Path) -> None:
    assert kill_at_random(data_folder, KILLS, seed=7) >= 2 * KILLS


def test_a_clean_stop_loses_nothing(data_folder: Path) -> None:
    with server() as upstream, gateway(data_folder, upstream.url) as (process, url):
        clients = Clients(url, itertools.count())
        wait_until(lambda: len(clients.answered) >= 30)
        clients.join()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
    requests, words = contents(data_folder)
    assert requests == Counter(clients.answered)
    assert words == Counter(clients.praised)
