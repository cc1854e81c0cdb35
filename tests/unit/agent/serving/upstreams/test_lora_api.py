import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.errors import AdapterError, ModelUnavailable
from agent.serving.upstreams import lora_api
from tests.fakes.model_server import ModelServer


class _Admin(BaseHTTPRequestHandler):
    """vLLM's three admin routes, with its bodies and status codes."""

    adapters: dict[str, str]

    def do_GET(self) -> None:
        names = ["base", *self.adapters]
        self._answer(200, {"object": "list", "data": [{"id": name} for name in names]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = body["lora_name"]
        if self.path == "/v1/load_lora_adapter":
            if not Path(body["lora_path"]).is_dir():
                return self._refuse(404, f"Loading lora {name} failed: No adapter found for {body['lora_path']}")
            self.adapters[name] = body["lora_path"]
        elif name not in self.adapters:
            return self._refuse(404, f"The lora adapter '{name}' cannot be found.")
        else:
            del self.adapters[name]
        return self._answer(200, f"Success: LoRA adapter '{name}'")

    def _refuse(self, status: int, message: str) -> None:
        self._answer(status, {"error": {"message": message, "type": "NotFoundError", "code": status}})

    def _answer(self, status: int, body: object) -> None:
        if self.headers["Authorization"] != "Bearer k":
            status, body = 401, {"error": "Unauthorized"}
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        return


@pytest.fixture
def url() -> Iterator[str]:
    handler = type("Admin", (_Admin,), {"adapters": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_adapter_is_loaded_listed_and_unloaded(url: str, tmp_path: Path) -> None:
    assert lora_api.loaded(url, "k") == set()
    lora_api.load(url, "k", "adapter-0001", tmp_path)
    assert lora_api.loaded(url, "k") == {"adapter-0001"}
    lora_api.unload(url, "k", "adapter-0001")
    assert lora_api.loaded(url, "k") == set()


def test_vllm_is_given_an_absolute_path(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "data")
    lora_api.load(url, "k", "adapter-0001", Path("a"))
    assert lora_api.loaded(url, "k") == {"adapter-0001"}


def test_a_loaded_name_is_never_loaded_again(url: str, tmp_path: Path) -> None:
    lora_api.load(url, "k", "adapter-0001", tmp_path)
    with pytest.raises(AdapterError, match="adapter-0001 is loaded already; give the new version a new name"):
        lora_api.load(url, "k", "adapter-0001", tmp_path)


def test_a_refusal_carries_vllms_reason(url: str, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="No adapter found for"):
        lora_api.load(url, "k", "adapter-0001", tmp_path / "absent")
    with pytest.raises(AdapterError, match=r"'adapter-0002' cannot be found\.; see"):
        lora_api.unload(url, "k", "adapter-0002")
    with pytest.raises(ModelUnavailable, match="does not take this key: Unauthorized"):
        lora_api.loaded(url, "wrong")


def test_no_server_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="agent serve"):
        lora_api.load("http://127.0.0.1:9", "k", "adapter-0001", tmp_path)


def test_a_unix_socket_is_asked_like_a_port(tmp_path: Path) -> None:
    with ModelServer(key="k", path=str(tmp_path / "vllm.sock")) as server:
        lora_api.load(server.url, "k", "adapter-0001", tmp_path)
        assert lora_api.loaded(server.url, "k") == {"adapter-0001"}
        lora_api.unload(server.url, "k", "adapter-0001")
        assert lora_api.loaded(server.url, "k") == set()


def test_a_server_without_a_key_is_asked_without_one() -> None:
    with ModelServer() as server:
        assert lora_api.loaded(server.url, "") == set()


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b"[]", b'{"data": [{}]}', b'{"data": null}'])
def test_an_answer_that_is_no_list_of_models_is_said(answer: bytes) -> None:
    with ModelServer() as server:
        server.odd_list = answer
        with pytest.raises(AdapterError, match=f"{server.url} answers with something else than a list of models"):
            lora_api.loaded(server.url, "")
