"""A gateway in shadow mode, between a server of others and one of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from agent.config import ShadowConfig
from agent.log.interaction_log import FILE, InteractionLog
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.gateway.shadow import Shadow
from agent.serving.shadow.agreement_log import Agreement, AgreementLog
from agent.serving.upstreams.connection import Upstream
from tests.fakes.gateway_door import CHAT, WITH_TOOLS
from tests.fakes.model_gateway import KEY, running
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.model_tools import ADD, SQUARE
from tests.fakes.waiting import wait_until

THEIRS = "their-model"


ADD_12, ADD_21 = '{"a": 1, "b": 2}', '{"a": 2, "b": 1}'


BOTH = {**CHAT, "tools": [ADD.schema(), SQUARE.schema()]}


class World:
    """A gateway with our server and that of others, which say what a test tells them to."""

    def __init__(self, data: Path, gateway: Gateway, url: str, theirs: ModelServer, ours: ModelServer) -> None:
        self.data, self.gateway, self.url, self.theirs, self.ours = data, gateway, url, theirs, ours

    @property
    def shadow(self) -> Shadow:
        assert self.gateway.shadow is not None
        return self.gateway.shadow

    def say(self, theirs: Says, ours: Says) -> None:
        self.theirs._script, self.ours._script = lambda _: theirs, lambda _: ours

    def ask(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        return httpx.post(self.url + "/v1/chat/completions", json=body, headers=headers, trust_env=False, timeout=60)

    def compare(self, body: dict[str, Any], count: int = 1) -> None:
        """Ask, and wait until the answers are compared."""
        for _ in range(count):
            before = self.shadow.compared
            assert self.ask(body).status_code == 200
            wait_until(lambda before=before: self.shadow.compared > before)

    def agreements(self) -> dict[str, Agreement]:
        with AgreementLog.open_readonly(self.data / FILE) as log:
            return {one.tool: one for one in log.agreements()}

    def logged(self, count: int) -> list[tuple[str, str]]:
        def read() -> list[tuple[str, str]]:
            with InteractionLog.open_readonly(self.data / FILE) as log:
                return [(one.trajectory.adapter, one.trajectory.answer) for one in log.read()]

        wait_until(lambda: len(read()) >= count)
        return read()


@contextmanager
def world(data: Path, **settings: Any) -> Iterator[World]:
    """A running gateway in shadow mode."""
    config = ShadowConfig(url="http://127.0.0.1:1", model=THEIRS, **settings)
    with (
        ModelServer(script=lambda _: Says("theirs"), key="their-key") as theirs,
        ModelServer(script=lambda _: Says("ours"), key=KEY) as ours,
        InteractionLog(data / FILE) as log,
        AgreementLog(data / FILE) as agreements,
    ):
        gateway = Gateway(data, log=CaptureLog(log))
        gateway.pool.replace([Upstream(ours.url, KEY, pid=4711)])
        gateway.shadow = Shadow(config, Upstream(theirs.url, "their-key"), data, gateway.proxy, agreements)
        with running(gateway) as url:
            yield World(data, gateway, url, theirs, ours)


def result_of(answer: httpx.Response, value: str) -> dict[str, Any]:
    """The client's next request, with the result of the call that ``answer`` makes."""
    said = answer.json()["choices"][0]["message"]
    (call,) = said["tool_calls"]
    tool = {"role": "tool", "tool_call_id": call["id"], "content": value}
    return {**WITH_TOOLS, "messages": [*WITH_TOOLS["messages"], said, tool]}
