"""The values of one conversation: messages, the trajectory of one turn, feedback on it."""

from typing import Any, Literal

from pydantic import Field

from agent.turn.call_check import CallCheck
from agent.turn.choice import ToolChoice
from toolkit.frozen import Frozen
from toolkit.tool import ToolCall, ToolResult

BASE = "base"
"""The name under which requests reach the model without any adapter."""

UPSTREAM, IMPORTED = "upstream:", "imported:"
"""Stand before the name of a model that is none of ours, in the place of an adapter's name: one that wrote what may not
be learned from, unless the owner says so, and one that wrote what may."""


def is_foreign(adapter: str) -> bool:
    """Return whether what the model of that name wrote may be learned from only if the owner says so."""
    return adapter.startswith(UPSTREAM)


class Message(Frozen):
    """One message. Only ``assistant`` messages have ``tool_calls``; only ``tool`` messages have a ``tool_result``."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_result: ToolResult | None = None


class Usage(Frozen):
    """Tokens over all requests of a turn."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Sampling(Frozen):
    """Sampling settings of a request. ``seed`` None leaves sampling to the server."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = None


StopReason = Literal["answered", "step_limit", "time_limit", "token_limit", "repeated_call", "failed"]
"""Reason a turn ended. ``repeated_call``: the model repeats a call whose result it has. ``failed``: the model server or
the sandbox failed, not the model; ``Trajectory.error`` tells the error."""


class Trajectory(Frozen):
    """One turn, from the user's message to the answer: what is logged, mined and judged.

    ``history`` is what came before in the session; ``messages`` is this turn, the user's message first. ``tools`` are
    the names of the tools that the model was shown, in that order; where ``choice`` says which those were, of all
    candidates. ``checks`` are the calls that were changed or not run. ``adapter`` is the adapter that answered (or
    ``base``; the requested name if nothing answered), ``adapter_sha256`` the hash of its manifest ("" for base).
    """

    history: tuple[Message, ...] = ()
    messages: tuple[Message, ...]
    tools: tuple[str, ...]
    adapter: str
    adapter_sha256: str = ""
    prompt_version: str
    sampling: Sampling
    usage: Usage = Usage()
    stop_reason: StopReason
    error: str = ""
    latency_ms: float = 0.0
    step_ms: tuple[float, ...] = ()
    """Duration of each answered request to the model, in the agent's own turns."""
    choice: ToolChoice | None = None
    checks: tuple[CallCheck, ...] = ()

    @property
    def answer(self) -> str:
        return self.messages[-1].content if self.messages[-1].role == "assistant" else ""

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(call for message in self.messages for call in message.tool_calls)

    @property
    def results(self) -> tuple[ToolResult, ...]:
        return tuple(m.tool_result for m in self.messages if m.tool_result is not None)


class Feedback(Frozen):
    """A person's word on one interaction. ``expected`` says what would have been right: JSON with calls, or a text."""

    interaction_id: str
    verdict: Literal["good", "bad"]
    note: str = ""
    expected: str = ""


class Interaction(Frozen):
    """A logged turn: a Trajectory with its identity. ``tool_schemas`` are the schemas as the model saw them.

    ``owner`` is the name of the API key that asked, ``tenant`` that key's tenant, ``reference`` the answer's id at the
    client, ``continues`` the interaction with the calls whose results this one brings; "" each where there is none.
    """

    id: str
    session: str
    source: str
    created_at: float = Field(description="seconds since the epoch, UTC")
    trajectory: Trajectory
    tool_schemas: tuple[dict[str, Any], ...] = ()
    feedback: tuple[Feedback, ...] = ()
    owner: str = ""
    tenant: str = ""
    reference: str = ""
    continues: str = ""
