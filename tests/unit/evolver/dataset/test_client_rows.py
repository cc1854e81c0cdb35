"""Lessons of clients are the conversations that the model was served, to the byte."""

import json
import random
from pathlib import Path
from typing import Any

import httpx
import jinja2

from agent.log.interaction_log import InteractionLog
from agent.turn.prompt import TEMPLATE
from evolver.config import DatasetConfig, MineConfig
from evolver.dataset.client_rows import client_rows
from evolver.mining.mine import mine
from evolver.mining.turns import LoggedTurns
from evolver.types import Trace
from tests.fakes import shop_tools
from tests.fakes.client_traffic import TEXT, asked, client_trace, said, tool
from tests.fakes.evolution import trace
from tests.fakes.model_gateway import running_gateway
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.stages import dataset

SYSTEM = "You help in a shop. Times are in UTC."
TOOLS = [
    tool("findOrder", "Find an order.", customer={**TEXT, "description": "name as written"}),
    {"type": "function", "function": {"name": "Now", "strict": True, "parameters": {"type": "object"}}},
]
CALL = ("findOrder", '{"customer": "Zoë"}')
TALK = [trace(f"Hello number {word}", answer="Hello!") for word in ("one", "two", "three")]


def rendered(messages: list[Any], tools: Any) -> str:
    """The prompt as vLLM and the trainer render it."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    parsed = json.loads(json.dumps(messages))
    for call in (call for message in parsed for call in message.get("tool_calls") or ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(messages=parsed, tools=tools, add_generation_prompt=True)


def conversation(url: str) -> None:
    """Two turns of a client that runs its own tools."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}]
    for request, result in (("Where is the order of Zoë?", "A-7"), ("And the newest of Zoë, please?", "B-9")):
        messages.append({"role": "user", "content": request})
        for _ in range(2):
            body = {"model": "agent", "messages": messages, "tools": TOOLS}
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, trust_env=False, timeout=60).json()
            said = answer["choices"][0]["message"]
            messages.append({name: said[name] for name in ("role", "content", "tool_calls") if said.get(name)})
            messages += [
                {"role": "tool", "tool_call_id": call["id"], "content": f'{{"id":  "{result}", "é": 1}}'}
                for call in said.get("tool_calls") or ()
            ]


def test_what_was_served_is_what_is_learned(tmp_path: Path) -> None:
    turns = (Says(calls=[CALL]), Says("It is A-7."), Says(calls=[CALL]), Says("It is B-9."))
    log = InteractionLog(tmp_path / "interactions.db")
    with ModelServer(*turns) as server, log:
        with running_gateway(tmp_path, server, log) as (_, url):
            conversation(url)
        mined = mine(MineConfig(), LoggedTurns.since(log, ""))
    rows = client_rows(DatasetConfig(), mined.worked, random.Random(0))
    assert [row["decision"] for row in rows] == ["call", "call"]
    prompts = [rendered(row["messages"][:target], row["tools"]) for row in rows for target in row["targets"]]
    served = [rendered(body["messages"], body["tools"]) for body in server.requests]
    assert prompts == served
    assert all(SYSTEM in prompt and "findOrder(customer: string)" in prompt for prompt in prompts)
    learned = [row["messages"][target] for row in rows for target in row["targets"]]
    assert [message["content"] or message["tool_calls"][0]["function"]["name"] for message in learned] == [
        "findOrder",
        "It is A-7.",
        "findOrder",
        "It is B-9.",
    ]


def served(number: int) -> Trace:
    call = ("findOrder", {"customer": f"Ada {number}"}, "B-12")
    turn = asked(f"Order of Ada {number}?", call, history=said(system=SYSTEM), answer="It is B-12.")
    found = client_trace(turn, tools=TOOLS)
    assert found is not None
    return found.model_copy(update={"id": f"logged-{number}"}).sourced(
        interaction_id=f"{number:012x}-0000", session=f"gateway///s{number}"
    )


def test_some_requests_with_the_clients_tools_need_none() -> None:
    traces = [*(served(number) for number in range(7)), *TALK]
    rows = client_rows(DatasetConfig(no_call_share=0.3), traces, random.Random(0))
    assert [row["decision"] for row in rows] == ["call"] * 7 + ["no_call"] * 3
    spoken = rows[-1]
    assert spoken["messages"][0] == {"role": "system", "content": SYSTEM}
    assert (spoken["targets"], spoken["tools"]) == ([2], rows[0]["tools"])
    # Whoever deletes the client's turn deletes what carries its system text.
    assert set(spoken["provenance"]["other_interaction_ids"]) <= {row["provenance"]["interaction_id"] for row in rows}
    assert len(client_rows(DatasetConfig(), traces[:7], random.Random(0))) == 7


def test_what_a_person_said_stands_with_tools_of_the_same_key_alone() -> None:
    def talk(place: str) -> Trace:
        return trace(f"Corrected at {place}", answer="Hello!", identity=place).sourced(
            interaction_id="00000000000f-0000", session=f"{place}/s"
        )

    def at(place: str, client: Trace) -> Trace:
        return client.sourced(session=f"{place}/{client.id}")

    shop, other = "gateway/acme/shop", "gateway/umbrella/shop"
    made = served(9).model_copy(update={"id": "made"}).sourced(interaction_id="", session="")
    said = [talk(place) for place in (shop, "gateway/acme/desk", "chat/acme/shop")]
    clients = [at(shop, served(0)), *(at(other, served(number)) for number in range(1, 8)), made]
    rows = client_rows(DatasetConfig(no_call_share=0.5), [*clients, *said], random.Random(0))
    spoken = [row for row in rows if row["decision"] == "no_call"]
    assert len(spoken) == 9
    assert {row["messages"][1]["content"] for row in spoken} == {f"Corrected at {shop}"}
    assert all("000000000000-0000" in row["provenance"]["other_interaction_ids"] for row in spoken)
    strangers = client_rows(DatasetConfig(no_call_share=0.5), [*clients[1:], *said], random.Random(0))
    assert {row["decision"] for row in strangers} == {"call"}


def test_a_dataset_has_own_lessons_and_those_of_clients(tmp_path: Path) -> None:
    own = [
        trace(f"Add {n} and 70 to the prices.", "add_prices", {"first": n, "second": 70}, n + 70) for n in range(10, 20)
    ]
    kept = [*own, *(served(number) for number in range(10)), *TALK]
    made = dataset(DatasetConfig(composed_share=1.0), kept, [], shop_tools.executor().registry, tmp_path)
    text = (made.folder / "train.jsonl").read_text() + (made.folder / "valid.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    clients = [row for row in rows if row["id"].startswith("client")]
    assert {row["trace"] for row in clients if row["decision"] == "call"} == {f"logged-{n}" for n in range(10)}
    for row in rows:
        names = [one["function"]["name"] for one in row["tools"]]
        assert (names == ["findOrder", "Now"]) is (row in clients)


def test_a_turn_that_recovered_teaches_the_call_that_worked() -> None:
    steps = [("findOrder", {"customer": "Z"}, "Error: no Z"), ("findOrder", {"customer": "Zoë"}, "A-7")]
    found = client_trace(asked("Order of Zoë?", *steps, answer="A-7."), tools=TOOLS)
    assert found is not None
    (row,) = client_rows(DatasetConfig(), [found], random.Random(0))
    assert (row["targets"], row["decision"]) == ([3, 5], None)
