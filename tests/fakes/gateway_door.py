"""A client in front of a running gateway, and the server behind it."""

from pathlib import Path
from typing import Any

import httpx

from agent.adapters import active
from agent.adapters.active import ActiveAdapter
from agent.serving.gateway.app import Gateway
from tests.fakes.adapter_folder import write_manifest
from tests.fakes.model_server import ModelServer
from tests.fakes.model_tools import ADD

CHAT = {"model": "agent", "messages": [{"role": "user", "content": "hi"}]}


WITH_TOOLS = {**CHAT, "tools": [ADD.schema()]}


class Door:
    """A running gateway, the server behind it and a client in front of it."""

    def __init__(self, gateway: Gateway, server: ModelServer, client: httpx.Client, data: Path) -> None:
        self.gateway, self.server, self.client, self.data = gateway, server, client, data

    def chat(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        return self.client.post("/v1/chat/completions", json=body, headers=headers)

    def adapter(self, name: str, calibration: dict[str, Any] | None = None, *, promote: bool = True) -> str:
        """Make an adapter's folder and let it serve."""
        folder = self.data / "adapters" / name
        write_manifest(folder, calibration)
        if promote:
            active.write(self.data, ActiveAdapter(name=name, sha256="a" * 64))
        return name
