"""One turn: ask the model, run the tools that it calls, until it answers or a limit is reached."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from agent.config import LoopConfig, PromptConfig
from agent.errors import ModelError, ModelTimeout
from agent.turn.call_check import CallCheck, check
from agent.turn.choice import ToolChoice, candidates
from agent.turn.messages import Message, Sampling, StopReason, Trajectory, Usage
from agent.turn.model_client import ModelClient, ModelReply
from agent.turn.prompt import PROMPT_VERSION, request
from toolkit.tool import Tool, ToolCall, ToolError, ToolErrorKind, ToolResult, render_result


class CallExecutor(Protocol):
    """Runs one call; toolkit.execute.Executor."""

    def execute(self, call: ToolCall, *, workspace: Path | None = None) -> ToolResult: ...


class ToolChooser(Protocol):
    """Finds the tools for a request; toolkit.search.ToolIndex."""

    def top(self, query: str, top_k: int) -> list[Tool]: ...


@dataclass
class _Turn:
    """State of a turn so far; ``messages`` only grows. ``further``: candidates that are not shown without a choice;
    ``known``: all of them by name."""

    history: tuple[Message, ...]
    tools: tuple[Tool, ...]
    further: tuple[Tool, ...]
    model: str
    workspace: Path | None
    deadline: float
    messages: list[Message] = field(default_factory=list)
    reply: ModelReply | None = None
    adapter_sha256: str = ""
    choice: ToolChoice | None = None
    checks: list[CallCheck] = field(default_factory=list)
    steps: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    step_ms: list[float] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    closing: bool = False
    closed: bool = False

    def __post_init__(self) -> None:
        self.known = {tool.name: tool for tool in (*self.tools, *self.further)}


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
        prompt_version: str = PROMPT_VERSION,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._executor = executor
        self._index = index
        self._config = config
        self._prompt = prompt
        self._prompt_version = prompt_version
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
        found = candidates(partial(self._index.top, text), self._prompt) if tools is None else (tuple(tools), ())
        turn = _Turn(tuple(history), *found, model, workspace, started + self._config.max_seconds)
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
            reply = self._checked(turn, self._ask(turn, on_token), on_token)
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
        if self._spent(turn):
            return "step_limit" if turn.steps >= self._config.max_steps else "time_limit"
        return None

    def _checked(self, turn: _Turn, reply: ModelReply, on_token: Callable[[str], None] | None) -> ModelReply:
        """Return ``reply`` with calls that say what was said before, where the model chose the tool.

        Options that nobody asked for are dropped. A call with a text of which nothing was said is not run: the next
        best tools that fit are tried, once each, and then the model answers without a call. Models that choose by
        themselves are left alone: they know things that nobody said.
        """
        if turn.choice is None:
            return reply
        others = _others(turn) if turn.steps == 1 else []
        while not (calls := _sound_calls(turn, reply)) and reply.message.tool_calls and not self._spent(turn):
            if others:
                turn.tools = (others.pop(0),)
            else:
                turn.closing = True
            reply = self._ask(turn, on_token)
        return replace(reply, message=reply.message.model_copy(update={"tool_calls": calls})) if calls else reply

    def _spent(self, turn: _Turn) -> bool:
        return turn.steps >= self._config.max_steps or self._clock() >= turn.deadline

    def _ask(self, turn: _Turn, on_token: Callable[[str], None] | None) -> ModelReply:
        said = (*turn.history, *turn.messages)
        further = () if turn.steps else turn.further
        body = request(turn.model, said, turn.tools, self._sampling, further=further)
        if turn.closing and turn.tools:
            body["tool_choice"] = "none"
        turn.closed = turn.closing
        turn.steps += 1
        began = self._clock()
        seconds = turn.deadline - began
        reply = self._stream(body, seconds, on_token) if on_token else self._client.chat(body, timeout_seconds=seconds)
        turn.step_ms.append((self._clock() - began) * 1000)
        turn.reply = reply
        turn.prompt_tokens += reply.usage.prompt_tokens
        turn.completion_tokens += reply.usage.completion_tokens
        if turn.steps == 1:
            turn.model = reply.adapter or turn.model
            turn.adapter_sha256 = reply.adapter_sha256
            _narrow(turn, reply.choice)
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
        if unfounded := _unfounded(turn, call):
            names = " and ".join(map(repr, unfounded))
            return _refuse(call, ToolErrorKind.INVALID_ARGUMENTS, f"not run: the request says nothing of {names}")
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
            prompt_version=self._prompt_version,
            sampling=self._sampling,
            usage=Usage(prompt_tokens=turn.prompt_tokens, completion_tokens=turn.completion_tokens),
            stop_reason=stop,
            error=error,
            latency_ms=latency_ms,
            step_ms=tuple(turn.step_ms),
            choice=turn.choice,
            checks=tuple(turn.checks),
        )


_MOST_RETRIES = 2
"""Tools that are tried after the chosen one."""
_MALFORMED = 'write the call as one JSON object: {"name": the tool, "arguments": {its parameters}}'


def _narrow(turn: _Turn, choice: ToolChoice | None) -> None:
    """Let the rest of a turn have the tools that were chosen for it."""
    if choice is not None:
        turn.choice = choice
        turn.tools = tuple(turn.known[name] for name in choice.shown if name in turn.known)


def _others(turn: _Turn) -> list[Tool]:
    """Return the next best candidates that fit, best first."""
    judged = turn.choice.judged if turn.choice is not None else ()
    shown = {tool.name for tool in turn.tools}
    fitting = [tool.name for tool in judged if tool.margin > 0 and tool.name not in shown]
    return [turn.known[name] for name in fitting if name in turn.known][:_MOST_RETRIES]


def _sound_calls(turn: _Turn, reply: ModelReply) -> tuple[ToolCall, ...]:
    """Return the calls of ``reply`` that may be run, without options that nobody asked for; what was found is kept."""
    said = "\n".join(message.content for message in (*turn.history, *turn.messages))
    sound: list[ToolCall] = []
    for call in reply.message.tool_calls:
        tool = turn.known.get(call.name)
        if tool is None or call.arguments is None:
            sound.append(call)
            continue
        found = check(call, tool, said)
        if found.dropped or found.unfounded:
            turn.checks.append(found)
        if not found.unfounded:
            sound.append(found.kept)
    return tuple(sound)


def _unfounded(turn: _Turn, call: ToolCall) -> tuple[str, ...]:
    """Return the arguments for which ``call`` must not be run, where no other call came in its place."""
    return next((found.unfounded for found in turn.checks if found.call is call), ())


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
