"""One turn: ask the model, run the tools that it calls, until it answers or a limit is reached."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from agent.config import LoopConfig, PromptConfig
from agent.errors import ModelError, ModelTimeout
from agent.messages import Message, Sampling, StopReason, Trajectory, Usage
from agent.model_client import ModelClient, ModelReply
from agent.prompt import PROMPT_VERSION, request
from toolkit.tool import Tool, ToolCall, ToolError, ToolErrorKind, ToolResult, render_result


class CallExecutor(Protocol):
    """Runs one call; toolkit.execute.Executor."""

    def execute(self, call: ToolCall, *, workspace: Path | None = None) -> ToolResult: ...


class ToolChooser(Protocol):
    """Finds the tools for a request; toolkit.search.ToolIndex."""

    def top(self, query: str, k: int) -> list[Tool]: ...


@dataclass
class _Turn:
    """What has happened so far; ``messages`` only grows."""

    history: tuple[Message, ...]
    tools: tuple[Tool, ...]
    model: str
    workspace: Path | None
    deadline: float
    messages: list[Message] = field(default_factory=list)
    reply: ModelReply | None = None
    adapter_sha256: str = ""
    steps: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seen: set[str] = field(default_factory=set)
    closing: bool = False
    closed: bool = False


class Agent:
    """Runs turns. Keeps no state between them; may be shared by threads when its parts may."""

    def __init__(
        self,
        client: ModelClient,
        executor: CallExecutor,
        index: ToolChooser,
        config: LoopConfig,
        prompt: PromptConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._executor = executor
        self._index = index
        self._config = config
        self._prompt = prompt
        self._clock = clock
        self._sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)

    def run(
        self,
        text: str,
        *,
        history: Sequence[Message] = (),
        model: str = "agent",
        workspace: Path | None = None,
        tools: Sequence[Tool] | None = None,
        on_token: Callable[[str], None] | None = None,
        on_message: Callable[[Message], None] | None = None,
        record: Callable[[Trajectory], object] | None = None,
    ) -> Trajectory:
        """Answer ``text``. The adapter that gives the first reply gives all of them.

        ``tools`` None: the best matches for ``text``. ``on_token`` gets the answer's text as it comes, ``on_message``
        each new message. Nothing that a model or a tool does raises; it ends in ``stop_reason`` and ``error``. When the
        infrastructure breaks (ModelUnavailable, SandboxUnavailable), or the user interrupts, the exception propagates.
        ``record`` gets the trajectory exactly once in every case, before ``run`` returns or raises.
        """
        started = self._clock()
        shown = tuple(self._index.top(text, self._prompt.tools_in_prompt) if tools is None else tools)
        turn = _Turn(tuple(history), shown, model, workspace, started + self._config.max_seconds)
        stop: StopReason = "failed"
        error = ""
        try:
            _add(turn, Message(role="user", content=text), on_message)
            stop = self._converse(turn, on_token, on_message)
        except ModelTimeout:
            stop = "time_limit"
        except ModelError as problem:
            error = str(problem)
        except BaseException as problem:
            error = f"{type(problem).__name__}: {problem}"
            raise
        finally:
            trajectory = self._trajectory(turn, stop, error, (self._clock() - started) * 1000)
            if record is not None:
                record(trajectory)
        return trajectory

    def _converse(
        self, turn: _Turn, on_token: Callable[[str], None] | None, on_message: Callable[[Message], None] | None
    ) -> StopReason:
        while (stop := self._stop(turn)) is None:
            reply = self._ask(turn, on_token)
            _add(turn, reply.message, on_message)
            results = [self._answer(turn, call) for call in reply.message.tool_calls]
            for result in results:
                _add(turn, Message(role="tool", content=render_result(result), tool_result=result), on_message)
            _note_repetition(turn, reply.message.tool_calls, results)
        return stop

    def _stop(self, turn: _Turn) -> StopReason | None:
        """The one place that ends a turn."""
        if turn.reply is not None:
            if turn.reply.finish_reason == "length":
                return "token_limit"
            if not turn.reply.message.tool_calls:
                return "answered"
            if turn.closed:
                return "repeated_call"
        if turn.steps >= self._config.max_steps:
            return "step_limit"
        if self._clock() >= turn.deadline:
            return "time_limit"
        return None

    def _ask(self, turn: _Turn, on_token: Callable[[str], None] | None) -> ModelReply:
        body = request(turn.model, (*turn.history, *turn.messages), turn.tools, self._sampling)
        if turn.closing and turn.tools:
            body["tool_choice"] = "none"
        turn.closed = turn.closing
        turn.steps += 1
        seconds = turn.deadline - self._clock()
        reply = self._stream(body, seconds, on_token) if on_token else self._client.chat(body, timeout_seconds=seconds)
        turn.reply = reply
        turn.prompt_tokens += reply.usage.prompt_tokens
        turn.completion_tokens += reply.usage.completion_tokens
        if turn.steps == 1:
            turn.model = reply.adapter or turn.model
            turn.adapter_sha256 = reply.adapter_sha256
        return reply

    def _stream(self, body: dict[str, Any], seconds: float, on_token: Callable[[str], None]) -> ModelReply:
        for piece in self._client.stream(body, timeout_seconds=seconds):
            if isinstance(piece, ModelReply):
                return piece
            on_token(piece)
        raise ModelError("the stream ended without a reply")

    def _answer(self, turn: _Turn, call: ToolCall) -> ToolResult:
        if call.arguments is None:
            return _refuse(call, ToolErrorKind.MALFORMED_CALL, _MALFORMED)
        if self._clock() >= turn.deadline:
            return _refuse(call, ToolErrorKind.TIMEOUT, "not run: the time for this turn is over")
        return self._executor.execute(call, workspace=turn.workspace)

    def _trajectory(self, turn: _Turn, stop: StopReason, error: str, latency_ms: float) -> Trajectory:
        return Trajectory(
            history=turn.history,
            messages=tuple(turn.messages),
            tools=tuple(tool.name for tool in turn.tools),
            adapter=turn.model,
            adapter_sha256=turn.adapter_sha256,
            prompt_version=PROMPT_VERSION,
            sampling=self._sampling,
            usage=Usage(prompt_tokens=turn.prompt_tokens, completion_tokens=turn.completion_tokens),
            stop_reason=stop,
            error=error,
            latency_ms=latency_ms,
        )


_MALFORMED = 'write the call as one JSON object: {"name": the tool, "arguments": {its parameters}}'


def _add(turn: _Turn, message: Message, on_message: Callable[[Message], None] | None) -> None:
    turn.messages.append(message)
    if on_message is not None:
        on_message(message)


def _refuse(call: ToolCall, kind: ToolErrorKind, message: str) -> ToolResult:
    return ToolResult(call_id=call.id, name=call.name, error=ToolError(kind=kind, message=message))


def _note_repetition(turn: _Turn, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> None:
    """After a step that brought nothing new, the model is asked once more, to answer without a call."""
    keys = {
        json.dumps([c.name, c.arguments, c.raw if c.arguments is None else "", render_result(r)], sort_keys=True)
        for c, r in zip(calls, results, strict=True)
    }
    turn.closing = turn.closing or (bool(keys) and keys <= turn.seen)
    turn.seen |= keys
