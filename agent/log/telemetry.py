"""OpenTelemetry spans of turns, by the semantic conventions for generative AI; needs the extra ``otel``.

They are made from what the log has stored, after it was stored: no answer waits for them. What people and models said
was redacted before, and is left out unless ``capture_content`` is set.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agent.config import TelemetryConfig
from agent.log.entries import COMPLETIONS_SOURCE, GATEWAY_SOURCE, Stored
from agent.turn.messages import Message, Trajectory
from toolkit.tool import ToolResult

NAME = "apprentice"
_TRACES = "/v1/traces"
_ERROR_TYPE = "error.type"

Attributes = dict[str, str | int | float | bool | Sequence[str]]


class Spans:
    """Makes the spans of stored turns with the tracers of ``provider``; ``close`` sends what is left."""

    def __init__(self, provider: TracerProvider, *, capture_content: bool = False) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(NAME, version("apprentice-agent"))
        self._capture = capture_content

    def stored(self, turn: Stored) -> None:
        """Make the spans of a turn. Nothing that goes wrong is raised: the turn is stored already."""
        try:
            trajectory = Trajectory.model_validate_json(turn.entry.trajectory)
            parent = TraceContextTextMapPropagator().extract({"traceparent": turn.entry.traceparent})
            of_model = turn.entry.source in (GATEWAY_SOURCE, COMPLETIONS_SOURCE)
            make = _model_request if of_model else _agent_turn
            make(_Timed(self._tracer, self._capture), turn, trajectory, parent)
        except Exception as error:  # noqa: BLE001 - a span that cannot be made must not end the logging
            print(f"no span was made of {turn.id}: {error}", file=sys.stderr, flush=True)

    def close(self) -> None:
        self._provider.shutdown()


def open_spans(config: TelemetryConfig) -> Spans:
    """Return spans that go to an OTLP collector over HTTP; the environment variables of OpenTelemetry hold."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or NAME})
    provider = TracerProvider(resource=resource)
    endpoint = config.endpoint.rstrip("/")
    whole = endpoint if not endpoint or endpoint.endswith(_TRACES) else endpoint + _TRACES
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=whole or None)))
    return Spans(provider, capture_content=config.capture_content)


class _Timed:
    """Makes spans of times that have passed, in seconds since the epoch."""

    def __init__(self, tracer: Tracer, capture: bool) -> None:
        self._tracer = tracer
        self.capture = capture

    def span(
        self, name: str, context: Context, kind: SpanKind, times: tuple[float, float], attributes: Attributes
    ) -> Span:
        start, end = (int(moment * 1e9) for moment in times)
        span = self._tracer.start_span(name, context, kind, attributes=attributes, start_time=start)
        span.end(end)
        return span

    def failed(
        self, name: str, context: Context, times: tuple[float, float], attributes: Attributes, kind: str, words: str
    ) -> Span:
        """Make a span of what failed; ``words`` may hold contents."""
        start, end = (int(moment * 1e9) for moment in times)
        span = self._tracer.start_span(name, context, attributes={**attributes, _ERROR_TYPE: kind}, start_time=start)
        span.set_status(StatusCode.ERROR, words if self.capture else kind)
        span.end(end)
        return span


def _model_request(timed: _Timed, turn: Stored, told: Trajectory, parent: Context) -> None:
    """Make the span of one request that a client sent to the model."""
    operation = "text_completion" if turn.entry.source == COMPLETIONS_SOURCE else "chat"
    answer = told.messages[-1]
    attributes = {
        **_common(operation, turn, told),
        "gen_ai.request.model": told.adapter,
        "gen_ai.response.model": told.adapter,
        "gen_ai.response.id": turn.entry.reference,
        "gen_ai.response.finish_reasons": [_finish(answer, told)],
        **_sampled(told),
    }
    if timed.capture:
        attributes |= _contents([*told.history, *told.messages[:-1]], answer)
    times = (turn.stored_at - told.latency_ms / 1000, turn.stored_at)
    timed.span(f"{operation} {told.adapter}", parent, SpanKind.CLIENT, times, attributes)


def _agent_turn(timed: _Timed, turn: Stored, told: Trajectory, parent: Context) -> None:
    """Make the span of a turn of the agent, and those of its requests to the model and its calls below it."""
    start = turn.stored_at - told.latency_ms / 1000
    attributes = {
        **_common("invoke_agent", turn, told),
        "gen_ai.agent.name": NAME,
        "gen_ai.response.model": told.adapter,
        "apprentice.stop_reason": told.stop_reason,
        "apprentice.tools_shown": list(told.tools),
        **_sampled(told),
    }
    if timed.capture:
        answers = [message for message in told.messages if message.role == "assistant"]
        attributes |= _contents([*told.history, told.messages[0]], answers[-1] if answers else None)
    name, times = f"invoke_agent {NAME}", (start, turn.stored_at)
    if told.stop_reason == "failed":
        kind = told.error.partition(":")[0] or "failed"
        whole = timed.failed(name, parent, times, attributes, kind, told.error)
    else:
        whole = timed.span(name, parent, SpanKind.INTERNAL, times, attributes)
    _steps(timed, told, start, set_span_in_context(whole))


def _steps(timed: _Timed, told: Trajectory, start: float, inside: Context) -> None:
    durations = iter(told.step_ms)
    at = start
    for place, message in enumerate(told.messages):
        if message.role == "assistant" and (duration := next(durations, None)) is not None:
            attributes: Attributes = {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": NAME,
                "gen_ai.request.model": told.adapter,
                "gen_ai.response.model": told.adapter,
                "gen_ai.response.finish_reasons": [_finish(message, told)],
            }
            if timed.capture:
                attributes |= _contents([*told.history, *told.messages[:place]], message)
            until = at + duration / 1000
            timed.span(f"chat {told.adapter}", inside, SpanKind.CLIENT, (at, until), attributes)
            at = until
        elif message.tool_result is not None:
            until = at + message.tool_result.duration_ms / 1000
            _tool(timed, told, message.tool_result, (at, until), inside)
            at = until


def _tool(timed: _Timed, told: Trajectory, result: ToolResult, times: tuple[float, float], inside: Context) -> None:
    attributes: Attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": result.name,
        "gen_ai.tool.call.id": result.call_id,
        "gen_ai.tool.type": "function",
    }
    if timed.capture:
        called = next((call for call in told.calls if call.id == result.call_id), None)
        attributes["gen_ai.tool.call.arguments"] = _json(called.arguments if called else None)
        attributes["gen_ai.tool.call.result"] = _json(result.value if result.ok else str(result.error))
    name = f"execute_tool {result.name}"
    if result.error is None:
        timed.span(name, inside, SpanKind.INTERNAL, times, attributes)
    else:
        timed.failed(name, inside, times, attributes, result.error.kind.value, result.error.message)


def _common(operation: str, turn: Stored, told: Trajectory) -> Attributes:
    known = {
        "gen_ai.conversation.id": turn.entry.session,
        "apprentice.adapter.sha256": told.adapter_sha256,
        "apprentice.tenant": turn.entry.tenant,
    }
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": NAME,
        "apprentice.interaction.id": turn.id,
        **{key: value for key, value in known.items() if value},
    }


def _sampled(told: Trajectory) -> Attributes:
    sampling, usage = told.sampling, told.usage
    found: Attributes = {
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
    }
    if sampling.max_tokens:
        found["gen_ai.request.max_tokens"] = sampling.max_tokens
    if sampling.seed is not None:
        found["gen_ai.request.seed"] = sampling.seed
    return found


def _finish(message: Message, told: Trajectory) -> str:
    if message.tool_calls:
        return "tool_calls"
    return "length" if told.stop_reason == "token_limit" and message is told.messages[-1] else "stop"


def _contents(asked: Sequence[Message], answer: Message | None) -> Mapping[str, str]:
    system = [{"type": "text", "content": message.content} for message in asked if message.role == "system"]
    said = [_message(message) for message in asked if message.role != "system"]
    return {
        "gen_ai.input.messages": _json(said),
        **({"gen_ai.output.messages": _json([_message(answer)])} if answer is not None else {}),
        **({"gen_ai.system_instructions": _json(system)} if system else {}),
    }


def _message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "parts": list(_parts(message))}


def _parts(message: Message) -> Iterator[dict[str, Any]]:
    if message.tool_result is not None:
        yield {"type": "tool_call_response", "id": message.tool_result.call_id, "response": message.content}
    elif message.content:
        yield {"type": "text", "content": message.content}
    for call in message.tool_calls:
        yield {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
