"""OpenAI's Responses in front of chat completions, as the official clients use them."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import BadRequestError, OpenAI

from agent.serving.gateway.dialects.responses_request import ResponsesRequest, chat_request
from tests.fakes.dialect_door import DialectDoor, dialect_door
from tests.fakes.model_server import Says

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's packages

ADD: dict[str, Any] = {
    "type": "function",
    "name": "add",
    "description": "Add two numbers.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
    "strict": True,
}
SUM = Says(calls=[("add", '{"a": 1, "b": 2}')])


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DialectDoor]:
    with dialect_door(tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(door: DialectDoor) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0, timeout=60) as opened:
        yield opened


def refused(door: DialectDoor, **body: Any) -> dict[str, Any]:
    answer = door.client.post("/v1/responses", json={"model": "agent", "input": "hi", **body})
    assert answer.status_code == 400
    return answer.json()["error"]


def test_a_text_is_answered_and_logged_as_a_chat_is(door: DialectDoor, client: OpenAI) -> None:
    door.says(Says("Hello."))
    answer = client.responses.create(model="agent", input="hi", instructions="Be brief.", max_output_tokens=50)
    assert (answer.output_text, answer.status) == ("Hello.", "completed")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (10, 3, 13)
    assert door.asked[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    assert door.asked[0]["max_tokens"] == 50
    (logged,) = door.logged(1)
    assert (logged.source, logged.trajectory.answer) == ("gateway", "Hello.")
    said = door.client.post("/v1/feedback", json={"id": answer.id, "verdict": "bad"})
    assert said.json() == {"id": logged.id, "verdict": "bad"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_with_a_function_of_the_client(door: DialectDoor, client: OpenAI, stream: bool) -> None:
    door.says(SUM, Says("It is 3."))
    asked: dict[str, Any] = {"model": "agent", "tools": [ADD]}
    items: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "1 + 2?"}]}]
    if stream:
        with client.responses.stream(**asked, input=items) as events:
            kinds = [event.type for event in events]
            first = events.get_final_response()
        assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
        assert "response.function_call_arguments.delta" in kinds
        assert kinds[-2:] == ["response.output_item.done", "response.completed"]
    else:
        first = client.responses.create(**asked, input=items)
    (call,) = first.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments), call.status) == ("add", {"a": 1, "b": 2}, "completed")
    items += [call.model_dump(), {"type": "function_call_output", "call_id": call.call_id, "output": "3"}]
    assert client.responses.create(**asked, input=items).output_text == "It is 3."
    roles = [message["role"] for message in door.asked[1]["messages"]]  # type: ignore[attr-defined]
    assert roles == ["user", "assistant", "tool"]
    begun, ended = door.logged(2)
    assert ended.continues == begun.id
    assert ended.trajectory.results[0].value == 3
    assert begun.tool_schemas[0]["function"]["name"] == "add"


def test_a_streamed_text_grows_and_comes_to_the_same_as_a_whole_one(door: DialectDoor, client: OpenAI) -> None:
    door.says(Says("Hello there."), Says("Hello there."))
    whole = client.responses.create(model="agent", input="hi").model_dump(exclude={"created_at"})
    events = list(client.responses.create(model="agent", input="hi", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Hello there."
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.model_dump(exclude={"created_at"}) == whole


def test_a_response_goes_on_from_an_earlier_one_in_the_log(door: DialectDoor, client: OpenAI) -> None:
    door.says(Says("Hello Ada.", id="chatcmpl-a"), Says("Ada.", id="chatcmpl-b"), Says("Ada!", id="chatcmpl-c"))
    first = client.responses.create(model="agent", input="I am Ada.", instructions="Be brief.")
    second = client.responses.create(
        model="agent", input="Who am I?", previous_response_id=first.id, instructions="Be polite."
    )
    third = client.responses.create(model="agent", input="Again?", previous_response_id=second.id)
    assert third.output_text == "Ada!"
    said = [message["content"] for message in door.asked[2]["messages"]]  # type: ignore[attr-defined]
    assert said == ["Be polite.", "I am Ada.", "Hello Ada.", "Who am I?", "Ada.", "Again?"]
    assert len({logged.session for logged in door.logged(3)}) == 1


def test_the_result_of_a_call_goes_on_from_the_response_that_made_it(door: DialectDoor, client: OpenAI) -> None:
    door.says(Says(calls=SUM.calls, id="chatcmpl-x", call_id="x-"), Says("It is 3.", id="chatcmpl-y"))
    first = client.responses.create(model="agent", input="1 + 2?", tools=[ADD])  # type: ignore[list-item]
    result: Any = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "3"}  # type: ignore[union-attr]
    client.responses.create(model="agent", input=[result], previous_response_id=first.id, tools=[ADD])  # type: ignore[list-item]
    begun, ended = door.logged(2)
    assert ended.continues == begun.id


def test_a_response_that_is_not_in_the_log_is_named(door: DialectDoor) -> None:
    error = refused(door, previous_response_id="resp_none")
    assert error["param"] == "previous_response_id"


def test_the_form_of_the_answer_reaches_the_model(door: DialectDoor, client: OpenAI) -> None:
    door.says(Says('{"name": "Paris"}'))
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    form: Any = {"format": {"type": "json_schema", "name": "city", "schema": schema, "strict": True}}
    client.responses.create(model="agent", input="Describe Paris.", text=form)
    wanted: Any = door.asked[0]["response_format"]
    assert (wanted["type"], wanted["json_schema"]["name"]) == ("json_schema", "city")


def test_an_answer_that_was_cut_off_is_incomplete(door: DialectDoor, client: OpenAI) -> None:
    door.says(Says("Once upon", finish_reason="length"))
    answer = client.responses.create(model="agent", input="a story")
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_a_stream_that_breaks_ends_in_a_failed_response(door: DialectDoor, client: OpenAI) -> None:
    door.says(Says("Once upon a time", break_off=True))
    last = list(client.responses.create(model="agent", input="a story", stream=True))[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": [{"role": "user"}]}, "input[0]"),
        ({"input": [{"role": "nobody", "content": "hi"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "function_call", "name": "add", "arguments": "{}"}]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"stream": "false"}, "stream"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": [{"type": "fuction", "name": "x"}]}, "tools[0].type"),
        ({"tools": [ADD], "tool_choice": {"type": "function", "name": "sub"}}, "tool_choice"),
        ({"tools": [{**ADD, "parameters": {"type": "float"}}]}, "tools[0].parameters.type"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
    ],
)
def test_what_is_wrong_is_named_by_the_field_of_this_protocol(
    door: DialectDoor, body: dict[str, Any], param: str
) -> None:
    door.says()
    error = refused(door, **body)
    assert error["param"] == param
    assert "function.parameters" not in error["message"]
    assert door.asked == []


def test_unknown_fields_thoughts_and_tools_that_openai_runs_do_no_harm(door: DialectDoor, client: OpenAI) -> None:
    door.says(Says("Hello."))
    items: Any = [{"type": "reasoning", "id": "r", "summary": []}, {"role": "developer", "content": "Hm."}, USER]
    extra: Any = {"include": [], "store": False, "reasoning": {"effort": "low"}, "tools": [{"type": "web_search"}]}
    assert client.responses.create(model="agent", input=items, **extra).output_text == "Hello."
    assert [message["role"] for message in door.asked[0]["messages"]] == ["system", "user"]  # type: ignore[attr-defined]
    assert "tools" not in door.asked[0]


USER = {"role": "user", "content": "hi"}


def test_errors_are_the_clients_own(door: DialectDoor, client: OpenAI) -> None:
    door.says(Says("messages are too long", status=400))
    with pytest.raises(BadRequestError, match="too long"):
        client.responses.create(model="agent", input="hi")


@pytest.mark.parametrize("stream", [False, True])
def test_the_calls_of_the_agent_itself_are_items(door: DialectDoor, client: OpenAI, stream: bool) -> None:
    door.says(Says("Let me see.", calls=SUM.calls), Says("It is 3."))
    if stream:
        with client.responses.stream(model="apprentice", input="1 + 2?") as events:
            kinds = [event.type for event in events]
            answer = events.get_final_response()
        assert kinds.index("response.mcp_call.in_progress") < kinds.index("response.mcp_call.completed")
        assert [item.type for item in answer.output] == ["message", "mcp_call", "message"]
    else:
        answer = client.responses.create(model="apprentice", input="1 + 2?")
    call: Any = next(item for item in answer.output if item.type == "mcp_call")
    assert (call.name, json.loads(call.arguments), call.output) == ("add", {"a": 1, "b": 2}, "3")
    assert answer.output[-1].content[0].text == "It is 3."  # type: ignore[union-attr,index]
    assert door.logged(1)[0].source == "apprentice"


def test_the_agent_goes_on_in_the_session_of_the_earlier_response(door: DialectDoor, client: OpenAI) -> None:
    door.says(SUM, Says("It is 3."), Says("Nine."))
    first = client.responses.create(model="apprentice", input="1 + 2?")
    client.responses.create(model="apprentice", input="squared?", previous_response_id=first.id)
    one, other = door.logged(2)
    assert one.session == other.session
    roles = [message["role"] for message in door.asked[-1]["messages"]]  # type: ignore[attr-defined]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


def test_openai_agents_in_responses_mode(door: DialectDoor) -> None:
    from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
    from openai import AsyncOpenAI

    set_tracing_disabled(True)
    ran: list[tuple[float, float]] = []

    def add(a: float, b: float) -> float:
        """Add two numbers."""
        ran.append((a, b))
        return a + b

    async def ask() -> object:
        async with AsyncOpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0) as client:
            model = OpenAIResponsesModel(model="agent", openai_client=client)
            agent = Agent(name="adder", instructions="You add.", tools=[function_tool(add)], model=model)
            return (await Runner.run(agent, "1 + 2?", max_turns=4)).final_output

    door.says(SUM, Says("It is 3."))
    assert asyncio.run(ask()) == "It is 3."
    assert ran == [(1.0, 2.0)]
    begun, ended = door.logged(2)
    assert ended.continues == begun.id


def test_calls_that_follow_each_other_are_one_message() -> None:
    calls = [{"type": "function_call", "call_id": c, "name": "add", "arguments": "{}"} for c in "ab"]
    results = [{"type": "function_call_output", "call_id": c, "output": "3"} for c in "ab"]
    asked = ResponsesRequest.model_validate({"input": [USER, *calls, *results]})
    _, said, *rest = chat_request(asked)["messages"]
    assert [call["id"] for call in said["tool_calls"]] == ["a", "b"]
    assert [message["role"] for message in rest] == ["tool", "tool"]


def test_pages_and_strangers_are_kept_out_as_everywhere(door: DialectDoor) -> None:
    page = {"origin": "https://evil.example"}
    assert door.client.post("/v1/responses", json={"input": "hi"}, headers=page).status_code == 403
    assert httpx.post(f"{door.url}/v1/responses", content=b"{}", trust_env=False).status_code == 415
