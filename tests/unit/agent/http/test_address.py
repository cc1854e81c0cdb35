from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread

import httpx
import pytest

from agent.http.address import http_client, http_url, is_listening, of_socket, socket_path
from tests.fakes.model_server import ModelServer


def test_the_two_kinds_of_addresses() -> None:
    assert of_socket(Path("/data/vllm.sock")) == "unix:/data/vllm.sock"
    assert socket_path("unix:/data/vllm.sock") == "/data/vllm.sock"
    assert socket_path("http://127.0.0.1:8000") is None
    assert http_url("https://gpu-1:8000") == "https://gpu-1:8000"
    assert http_url("unix:/data/vllm.sock") == "http://localhost"


def test_a_client_asks_a_unix_socket_as_it_asks_a_port(tmp_path: Path) -> None:
    socket = str(tmp_path / "vllm.sock")
    with ModelServer(path=socket) as local, ModelServer() as port:
        for address in (local.url, port.url):
            with http_client(address, timeout=60) as client:
                assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["base"]
    assert local.url == f"unix:{socket}"


def test_whether_a_socket_takes_connections_is_known_without_a_request(tmp_path: Path) -> None:
    path = tmp_path / "vllm.sock"
    assert not is_listening(of_socket(path))
    with ModelServer(path=str(path)) as local:
        assert is_listening(local.url)
    assert path.exists()
    assert not is_listening(of_socket(path))
    assert is_listening("http://127.0.0.1:9")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # httpcore leaves the socket unclosed
def test_a_socket_that_nobody_listens_on_is_a_transport_error(tmp_path: Path) -> None:
    with http_client(of_socket(tmp_path / "none"), timeout=60) as client, pytest.raises(httpx.ConnectError):
        client.get("/health")


def test_a_proxy_of_the_environment_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with ModelServer(path=str(tmp_path / "s")) as local, ModelServer() as port:
        for address in (local.url, port.url):
            with http_client(address, timeout=60) as client:
                assert client.get("/health").status_code == 200


def test_a_connection_stays_open_however_many_threads_share_the_client() -> None:
    threads = 30  # httpx keeps 20 by default, and closes one that another thread is about to use
    together, ports = Barrier(threads), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            together.wait(timeout=60)
            ports.append(self.client_address[1])
            self.send_response(204)
            self.end_headers()

        def log_request(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, ThreadPoolExecutor(threads) as pool:
        server.daemon_threads, server.request_queue_size = True, threads
        Thread(target=server.serve_forever, daemon=True).start()
        with http_client(f"http://127.0.0.1:{server.server_port}", timeout=60) as client:
            for _ in range(3):
                asked = [pool.submit(client.get, "/") for _ in range(threads)]
                assert [one.result().status_code for one in asked] == [204] * threads
        server.shutdown()
    assert len(set(ports)) == threads
