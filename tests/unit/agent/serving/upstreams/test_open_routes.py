import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agent.errors import ModelUnavailable
from agent.serving.upstreams.open_routes import open_routes


class _Vllm(BaseHTTPRequestHandler):
    """vLLM 0.32's answers to requests without a key; ``guarded`` asks for it everywhere."""

    guarded = False

    def do_GET(self) -> None:
        self._answer(401 if self.guarded else 200 if self.path in ("/metrics", "/load") else 404)

    def do_POST(self) -> None:
        assert json.loads(self.rfile.read(int(self.headers["Content-Length"]))) == {}
        self._answer(401 if self.guarded else 400)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Vllm]]]:
    handler = type("Handler", (_Vllm,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", handler
        listening.shutdown()
        thread.join()


def test_vllm_answers_three_routes_without_its_key(server: tuple[str, type[_Vllm]]) -> None:
    assert open_routes(server[0]) == ["/invocations", "/metrics", "/load"]


def test_a_proxy_in_front_that_asks_everywhere_leaves_none_open(server: tuple[str, type[_Vllm]]) -> None:
    server[1].guarded = True
    assert open_routes(server[0]) == []


def test_no_server_is_unavailable() -> None:
    with pytest.raises(ModelUnavailable):
        open_routes("http://127.0.0.1:9")
