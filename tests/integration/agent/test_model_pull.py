"""``agent models pull`` through huggingface_hub, from a hub on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.models import hub
from tests.fakes.model_folders import write_family

COMMIT = "c0ffee" * 6 + "beef"


class Hub(ThreadingHTTPServer):
    """Has the repository me/tiny; ``files`` by name, ``sent`` counts the bytes of each, ``status`` of every answer."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.sent, self.status, self.error = files, dict.fromkeys(files, 0), 200, ""
        self.hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.server.status != 200:
            self._send(b"{}", self.server.status, {"X-Error-Code": self.server.error})
        elif path.startswith("/api/models/me/tiny"):
            siblings = [
                {
                    "rfilename": name,
                    "size": len(content),
                    "blobId": "b" * 40,
                    "lfs": {"sha256": self.server.hashes[name], "size": len(content), "pointerSize": 1},
                }
                for name, content in self.server.files.items()
            ]
            info = {"_id": "1", "id": "me/tiny", "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
            self._send(json.dumps(info).encode(), 200, {"Content-Type": "application/json"})
        else:
            name = path.rpartition("/")[2]
            content = self.server.files[name]
            headers = {"ETag": f'"{self.server.hashes[name]}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if self.command == "GET":
                self.server.sent[name] += len(content)
            self._send(content, 200, headers)

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    folder = write_family(tmp_path / "source", "llama3")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    files |= {"config.json": b"{}", "model.safetensors": b"weights" * 100, "pytorch_model.bin": b"x", "code.py": b"x"}
    made = Hub(files)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def pull(server: Hub, folder: Path, repo: str = "me/tiny", **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"HF_ENDPOINT": server.url, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", "agent.cli", "models", "pull", repo]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **given, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_model_is_pulled_once_without_code_and_pickles(server: Hub, tmp_path: Path) -> None:
    done = pull(server, tmp_path, "me/tiny@main")
    assert done.returncode == 0, done.stderr
    name = f"me--tiny@{COMMIT[:12]}"
    assert done.stdout == f"{name}\n"
    folder = tmp_path / "data" / "models" / name
    assert {file.name for file in folder.iterdir()} == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"),
        *("chat_template.jinja", hub.PULLED),
    }
    ((found, noted),) = hub.pulled(tmp_path / "data")
    assert (found, noted["repo"], noted["revision"]) == (folder, "me/tiny", COMMIT)
    assert noted["files"]["model.safetensors"] == server.hashes["model.safetensors"]
    sent = dict(server.sent)
    assert pull(server, tmp_path).stdout == f"{name}\n"
    assert server.sent == sent


def test_a_file_that_is_not_what_the_hub_says_is_fetched_anew(server: Hub, tmp_path: Path) -> None:
    right = server.hashes["model.safetensors"]
    server.hashes["model.safetensors"] = "0" * 64
    done = pull(server, tmp_path)
    assert done.returncode == 2
    assert "model.safetensors of me/tiny is not what the hub says; pull again" in done.stderr
    assert list(hub.pulled(tmp_path / "data")) == []
    server.hashes["model.safetensors"] = right
    kept = server.sent["tokenizer.json"]
    assert pull(server, tmp_path).returncode == 0
    assert server.sent["tokenizer.json"] == kept


@pytest.mark.parametrize("name", ["foo/b ar", "foo/-bar", "foo/b--ar", f"foo/{'x' * 100}"])
def test_a_name_that_no_repository_can_have_is_one_line(server: Hub, tmp_path: Path, name: str) -> None:
    done = pull(server, tmp_path, name)
    assert done.returncode == 2
    assert done.stderr.startswith(f"agent: {name} is no name of a repository (")
    assert done.stderr.endswith("; name it as OWNER/NAME\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (403, "GatedRepo", "me/tiny is gated: ask for access on its page, then set HF_TOKEN"),
        (404, "RevisionNotFound", "me/tiny has no revision v9; correct what stands behind the @"),
        (404, "RepoNotFound", "the hub has no me/tiny, or it is private"),
        (500, "", "the hub cannot be reached"),
    ],
)
def test_a_refusal_is_one_line(server: Hub, tmp_path: Path, status: int, error: str, told: str) -> None:
    server.status, server.error = status, error
    done = pull(server, tmp_path, "me/tiny@v9")
    assert done.returncode == 2
    assert done.stderr.startswith(f"agent: {told}")
    assert done.stderr.count("\n") == 1


def test_without_a_network_is_one_line(server: Hub, tmp_path: Path) -> None:
    for environment in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        done = pull(server, tmp_path, **environment)
        assert done.returncode == 2
        assert "the hub cannot be reached" in done.stderr
        assert done.stderr.count("\n") == 1


def test_pickled_weights_are_not_pulled(server: Hub, tmp_path: Path) -> None:
    del server.files["model.safetensors"]
    assert "me/tiny has no weights in safetensors" in pull(server, tmp_path).stderr
    assert "tiny is no repository; name it as OWNER/NAME" in pull(server, tmp_path, "tiny").stderr
