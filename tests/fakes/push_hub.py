"""A model hub on this machine that takes pushes, as huggingface_hub sends them."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_" + "a" * 34
COMMIT = "c0ffee" * 6 + "beef"


class PushHub(ThreadingHTTPServer):
    """``private`` maps its repositories to whether they are; ``files`` what was committed to them, by name."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any] | None:
        """Return what it says; None: there is no such thing."""
        repo = "/".join(path.split("/")[3:5])
        said: dict[str, Any] | None = None
        match method, path.split("/")[2:3] + path.split("/")[5:]:
            case "GET", ["whoami-v2"]:
                said = {"type": "user", "name": "me", "auth": {"accessToken": {"role": "write"}}}
            case "POST", ["repos"]:
                said = self._made(json.loads(body))
            case "POST", ["validate-yaml"]:
                said = {"errors": [], "warnings": []}
            case "GET", ["models", *_] if repo in self.private:
                said = {
                    "_id": "1",
                    "id": repo,
                    "sha": COMMIT,
                    "siblings": [],
                    "tags": [],
                    "private": self.private[repo],
                }
            case "POST", ["models", "preupload", _]:
                named = [file["path"] for file in json.loads(body)["files"]]
                said = {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in named]}
            case "POST", ["models", "commit", _]:
                lines = [json.loads(line) for line in body.splitlines()]
                sent = [line["value"] for line in lines if line["key"] == "file"]
                self.files[repo] = {file["path"]: base64.b64decode(file["content"]) for file in sent}
                said = {"commitUrl": f"{self.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
        return said

    def _made(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        self.private.setdefault(name, asked.get("visibility") == "private" or asked.get("private") is True)
        return {"url": f"{self.url}/{name}", "name": name, "id": "1"}


class _Handler(BaseHTTPRequestHandler):
    server: PushHub

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._send(401, {"error": "Invalid username or password."})
        elif (found := self.server.answer(method, self.path.partition("?")[0], body)) is None:
            self._send(404, {"error": f"no {method} {self.path}"})
        else:
            self._send(200, found)

    def _send(self, status: int, said: dict[str, Any]) -> None:
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def push_hub() -> Iterator[PushHub]:
    """Run one."""
    hub = PushHub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
