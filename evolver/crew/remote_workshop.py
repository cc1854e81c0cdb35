"""A workshop in a process that Ray starts, on whatever node that is."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from agent.cluster.connection import refusal
from agent.cluster.installation import Installation, other_tools, tool_hashes
from agent.http.address import http_client
from evolver.crew.crew import Order
from evolver.crew.setup import Setup, open_workshop
from evolver.crew.workshop import Workshop
from toolkit.config import ToolkitConfig
from toolkit.errors import SandboxUnavailable, UserError
from toolkit.lean_imports import absent
from toolkit.made import MadeTool, write_approved

with absent("httpx._main"):  # its command line
    import httpx

R = TypeVar("R")
Recorded = tuple[str, Mapping[str, Any], Mapping[str, Any]]
"""A request to the model: the arguments of evolver.crew.workshop.Record."""
MadeTools = tuple[tuple[tuple[MadeTool, ...], str], ...]
"""Tools beside those of the configuration, and the kind of their source, in the order in which they were added."""
_ANSWERS = (200, 503)
"""Status codes of the gateway's ``/health``; 503 while no model server answers."""
_SECONDS = 10.0


@dataclass(frozen=True)
class Sent:
    """All that a workshop on another machine is opened with.

    ``approved`` are the approved tools, which lie in the data folder. ``tools`` are the hashes of the tools here.
    """

    setup: Setup
    approved: tuple[MadeTool, ...]
    tools: Mapping[str, str]


class RemoteWorkshop:
    """A workshop whose orders come from another process. Several threads call ``do``."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._toolkit = ToolkitConfig()
        self._workshops: dict[str, Workshop] = {}
        self._opening = threading.Lock()
        self._recorded = threading.local()

    def open(self, driver: Installation, gateway_url: str, sent: Sequence[Any]) -> str:
        """Open the workshop, with the Sent to which the reference in ``sent`` leads; return the reason why it must not
        be used, or "". Nothing is read from the reference where the installation is not that of the ``driver``."""
        import ray

        if reason := refusal(driver):
            return reason
        try:
            return self._open(ray.get(sent[0]), gateway_url)
        except (UserError, SandboxUnavailable) as error:
            return str(error)

    def do(self, order: Order[R], key: str, made: Sequence[Any]) -> tuple[R, list[Recorded]]:
        """Do a job with the MadeTools to which the reference in ``made`` leads, whose name is ``key``. Return its
        result, and the requests to the model that it made."""
        recorded: list[Recorded] = []
        self._recorded.requests = recorded
        return order.do(self._with(key, made)), recorded

    def close(self) -> None:
        """End the sandboxes."""
        self._stack.close()

    def _open(self, sent: Sent, gateway_url: str) -> str:
        if problem := _unreachable(gateway_url):
            return problem
        approved = Path(self._stack.enter_context(TemporaryDirectory(prefix="approved-")))
        for tool in sent.approved:
            write_approved(approved, tool)
        tools = sent.setup.toolkit.tools.model_copy(update={"approved": approved})
        setup = replace(
            sent.setup, toolkit=sent.setup.toolkit.model_copy(update={"tools": tools}), gateway_url=gateway_url
        )
        workshop = self._stack.enter_context(open_workshop(setup, self._record))
        if different := other_tools(dict(sent.tools), tool_hashes(workshop.executor.registry, setup.toolkit)):
            return f"it has other tools: {different}; give it the same modules and servers at the same paths"
        self._workshops[""] = workshop
        return ""

    def _record(self, route: str, body: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        self._recorded.requests.append((route, body, answer))

    def _with(self, key: str, made: Sequence[Any]) -> Workshop:
        import ray

        with self._opening:
            if key not in self._workshops:
                workshop = self._workshops[""]
                for tools, kind in ray.get(made[0]):
                    workshop = workshop.with_tools(tools, kind)
                self._workshops[key] = workshop
            return self._workshops[key]


def _unreachable(gateway_url: str) -> str:
    """Return the reason for which requests to the model would fail from here, or ""."""
    fix = "let the gateway listen there, and name its URL in [cluster] gateway"
    try:
        with http_client(gateway_url, timeout=_SECONDS) as client:
            status = client.get("/health").status_code
    except httpx.HTTPError as error:
        return f"it does not reach the gateway at {gateway_url} ({error}); {fix}"
    return "" if status in _ANSWERS else f"the gateway answers it with {status} at {gateway_url}; {fix}"
