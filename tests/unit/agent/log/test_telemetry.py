"""Spans of turns, from what the log stored."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import SpanKind, StatusCode

from agent.config import AgentConfig, Config, TelemetryConfig
from agent.log.entries import COMPLETIONS_SOURCE, GATEWAY_SOURCE
from agent.log.interaction_log import InteractionLog
from agent.log.telemetry import Spans, open_spans
from agent.log.traced_log import traced_log
from agent.turn.messages import Message, Sampling, Trajectory, Usage
from tests.fakes.agent_gateway import running_agent
from tests.fakes.model_server import ModelServer, Says
from toolkit.errors import PrerequisiteError
from toolkit.tool import ToolCall, ToolError, ToolErrorKind, ToolResult

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
STORED_AT = 1_000.0
SECRETS = ("password: hunter2xyzzy", "hunter2xyzzy")


class Traced:
    """A log whose turns become spans, which are kept."""

    def __init__(self, folder: Path, *, capture_content: bool = False) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.spans = Spans(provider, capture_content=capture_content)
        self.log = InteractionLog(folder / "log.db", now=lambda: STORED_AT, on_stored=self.spans.stored)

    def made(self) -> dict[str, ReadableSpan]:
        """The spans by name; the second of a name has a ``'`` behind it."""
        found: dict[str, ReadableSpan] = {}
        for span in sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0):
            found[span.name + "'" * (span.name in found)] = span
        return found


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Traced]:
    made = Traced(tmp_path)
    with made.log:
        yield made


@pytest.fixture
def telling(tmp_path: Path) -> Iterator[Traced]:
    made = Traced(tmp_path, capture_content=True)
    with made.log:
        yield made


CALL = ToolCall(id="call-1", name="add", arguments={"a": 1, "b": 2})
FAILED = ToolError(kind=ToolErrorKind.TIMEOUT, message="more than 5 s for 1 + 2")


def turn(result: ToolResult | None = None, **changed: object) -> Trajectory:
    result = result or ToolResult(call_id="call-1", name="add", value=3, duration_ms=500)
    messages = (
        Message(role="user", content=f"1 + 2? {SECRETS[0]}"),
        Message(role="assistant", tool_calls=(CALL,)),
        Message(role="tool", content="3", tool_result=result),
        Message(role="assistant", content="It is 3."),
    )
    told = Trajectory(
        history=(Message(role="system", content="Be brief."),),
        messages=messages,
        tools=("add", "subtract"),
        adapter="adapter-0001",
        adapter_sha256="a" * 64,
        prompt_version="v",
        sampling=Sampling(max_tokens=200, seed=7),
        usage=Usage(prompt_tokens=90, completion_tokens=12),
        stop_reason="answered",
        latency_ms=4000,
        step_ms=(2000, 1400),
    )
    return told.model_copy(update=changed)


def identity_of(span: ReadableSpan) -> tuple[str, str]:
    """The ids of the trace and of the span."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def seconds(span: ReadableSpan) -> tuple[float, float]:
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time / 1e9, span.end_time / 1e9


def test_a_turn_of_the_agent_is_a_span_with_its_requests_and_calls_below_it(traced: Traced) -> None:
    identity = traced.log.append(turn(), session="garden", source="apprentice", tenant="acme", traceparent=PARENT)
    spans = traced.made()
    assert list(spans) == ["invoke_agent apprentice", "chat adapter-0001", "execute_tool add", "chat adapter-0001'"]
    whole, *steps = spans.values()
    assert seconds(whole) == (996.0, 1000.0)
    assert [seconds(step) for step in steps] == [(996.0, 998.0), (998.0, 998.5), (998.5, 999.9)]
    assert whole.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "apprentice",
        "gen_ai.agent.name": "apprentice",
        "gen_ai.conversation.id": "garden",
        "gen_ai.response.model": "adapter-0001",
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.max_tokens": 200,
        "gen_ai.request.seed": 7,
        "gen_ai.usage.input_tokens": 90,
        "gen_ai.usage.output_tokens": 12,
        "apprentice.interaction.id": identity,
        "apprentice.adapter.sha256": "a" * 64,
        "apprentice.tenant": "acme",
        "apprentice.stop_reason": "answered",
        "apprentice.tools_shown": ("add", "subtract"),
    }
    assert whole.parent is not None
    assert (f"{whole.parent.trace_id:032x}", f"{whole.parent.span_id:016x}") == (TRACE, SPAN)
    assert {f"{step.parent.span_id:016x}" for step in steps if step.parent} == {identity_of(whole)[1]}
    assert {identity_of(span)[0] for span in spans.values()} == {TRACE}
    first, call, last = (step.attributes or {} for step in steps)
    assert (first["gen_ai.response.finish_reasons"], last["gen_ai.response.finish_reasons"]) == (
        ("tool_calls",),
        ("stop",),
    )
    assert call == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "add",
        "gen_ai.tool.call.id": "call-1",
        "gen_ai.tool.type": "function",
    }


@pytest.mark.parametrize(("source", "operation"), [(GATEWAY_SOURCE, "chat"), (COMPLETIONS_SOURCE, "text_completion")])
def test_a_request_to_the_model_is_one_span(traced: Traced, source: str, operation: str) -> None:
    told = turn(stop_reason="token_limit")
    traced.log.append(told, session="", source=source, reference="chatcmpl-1", traceparent="no traceparent")
    ((name, span),) = traced.made().items()
    assert (name, span.kind, span.parent) == (f"{operation} adapter-0001", SpanKind.CLIENT, None)
    assert span.attributes is not None
    assert span.attributes["gen_ai.response.id"] == "chatcmpl-1"
    assert span.attributes["gen_ai.response.finish_reasons"] == ("length",)
    assert "gen_ai.conversation.id" not in span.attributes


def everything(spans: dict[str, ReadableSpan]) -> str:
    return " ".join(span.to_json() for span in spans.values())


def test_what_was_said_is_left_out(traced: Traced) -> None:
    failed = ToolResult(call_id="call-1", name="add", error=FAILED)
    traced.log.append(turn(failed), session="s", source="chat")
    traced.log.append(turn(), session="s", source=GATEWAY_SOURCE)
    traced.log.append(turn(stop_reason="failed", error="ModelUnavailable: of 1 + 2"), session="s", source="chat")
    shown = everything(traced.made())
    assert [text for text in ("1 + 2", "It is 3", "Be brief", "hunter2", '"a"') if text in shown] == []


def test_what_was_said_is_told_redacted_where_that_is_wanted(telling: Traced) -> None:
    telling.log.append(turn(), session="s", source="chat")
    spans = telling.made()
    shown = everything(spans)
    assert SECRETS[1] not in shown
    whole, call = (spans[name].attributes or {} for name in ("invoke_agent apprentice", "execute_tool add"))
    assert json.loads(str(whole["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": "1 + 2? password: [secret]"}]}
    ]
    assert json.loads(str(whole["gen_ai.output.messages"]))[0]["parts"] == [{"type": "text", "content": "It is 3."}]
    assert json.loads(str(whole["gen_ai.system_instructions"])) == [{"type": "text", "content": "Be brief."}]
    assert json.loads(str(call["gen_ai.tool.call.arguments"])) == {"a": 1, "b": 2}
    assert call["gen_ai.tool.call.result"] == "3"
    asked = json.loads(str((spans["chat adapter-0001'"].attributes or {})["gen_ai.input.messages"]))
    assert [message["role"] for message in asked] == ["user", "assistant", "tool"]
    assert asked[1]["parts"] == [{"type": "tool_call", "id": "call-1", "name": "add", "arguments": {"a": 1, "b": 2}}]


def test_failures_have_an_error_type(telling: Traced) -> None:
    failed = ToolResult(call_id="call-1", name="add", error=FAILED)
    told = turn(failed, stop_reason="failed", error="ModelUnavailable: gone", step_ms=(2000,))
    telling.log.append(told, session="s", source="chat")
    spans = telling.made()
    assert list(spans) == ["invoke_agent apprentice", "chat adapter-0001", "execute_tool add"]
    whole, call = spans["invoke_agent apprentice"], spans["execute_tool add"]
    assert ((whole.attributes or {})["error.type"], whole.status.status_code) == ("ModelUnavailable", StatusCode.ERROR)
    assert ((call.attributes or {})["error.type"], call.status.description) == ("timeout", FAILED.message)


def test_every_name_of_the_conventions_is_one(telling: Traced) -> None:
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    telling.log.append(turn(), session="s", source="chat")
    telling.log.append(turn(), session="s", source=GATEWAY_SOURCE)
    used = {name for span in telling.made().values() for name in span.attributes or {} if name.startswith("gen_ai.")}
    assert len(used) > 15
    assert used - known == set()


def test_what_is_not_stored_is_no_span(traced: Traced) -> None:
    with pytest.raises(ZeroDivisionError), traced.log.batch() as add:
        add(traced.log.entry(turn(), session="s", source="chat"), "")
        raise ZeroDivisionError
    assert traced.made() == {}


def test_a_span_that_cannot_be_made_costs_no_turn(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(traced.spans, "_tracer", None)
    identity = traced.log.append(turn(), session="s", source="chat")
    assert [found.id for found in traced.log.read()] == [identity]
    assert f"no span was made of {identity}" in capsys.readouterr().err


def test_requests_over_http_go_on_with_the_span_of_their_client(tmp_path: Path, traced: Traced) -> None:
    hi = [{"role": "user", "content": "hi"}]
    sum_of_two = Says("Let me see.", calls=[("add", '{"a": 1, "b": 2}')])
    with (
        ModelServer(sum_of_two, Says("3"), Says("hello")) as server,
        running_agent(tmp_path, server, traced.log) as (_, url, _),
        httpx.Client(base_url=url, headers={"traceparent": PARENT}, trust_env=False, timeout=60) as client,
    ):
        for body in ({"model": "apprentice", "messages": hi}, {"model": "agent", "messages": hi}):
            path, headers = "/v1/chat/completions", {"x-apprentice-log": "wait"}
            assert client.post(path, json=body, headers=headers).status_code == 200
    spans = traced.exporter.get_finished_spans()
    assert sorted(span.name.split()[0] for span in spans) == ["chat", "chat", "chat", "execute_tool", "invoke_agent"]
    assert {identity_of(span)[0] for span in spans} == {TRACE}


def test_where_spans_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def endpoint(**config: str) -> str:
        spans = open_spans(TelemetryConfig(**config))  # type: ignore[arg-type]
        (processor,) = spans._provider._active_span_processor._span_processors
        spans.close()
        return processor.span_exporter._endpoint  # type: ignore[attr-defined]

    assert endpoint(endpoint="http://otel:4318/") == "http://otel:4318/v1/traces"
    assert endpoint(endpoint="http://otel:4318/v1/traces") == "http://otel:4318/v1/traces"
    assert endpoint() == "http://localhost:4318/v1/traces"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere:4318")
    assert endpoint() == "http://elsewhere:4318/v1/traces"


def configured(folder: Path, **telemetry: bool) -> Config:
    return Config(data_folder=folder, agent=AgentConfig(telemetry=TelemetryConfig(**telemetry)))


def test_without_the_package_it_is_one_line_where_it_is_switched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "agent.log.telemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(PrerequisiteError, match=r"pip install 'apprentice-agent\[otel\]'"),
        traced_log(configured(tmp_path, enabled=True)),
    ):
        pass
    with traced_log(configured(tmp_path)) as log:
        assert log._on_stored is None


def test_switched_on_the_log_makes_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(Spans, "stored", lambda _, turn: made.append(turn.id))
    with traced_log(configured(tmp_path, enabled=True)) as log:
        identity = log.append(turn(), session="s", source="chat")
    assert made == [identity]
