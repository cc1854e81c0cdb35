"""The same requests with other schemas: what is shown changes, what is meant and run does not."""

import random
from typing import Any

import pytest

from agent.config import LoopConfig, PromptConfig
from agent.turn.choice import MOST_JUDGED
from agent.turn.messages import Trajectory
from agent.turn.model_client import HttpModelClient
from evolver.evaluation.evaluate import score
from evolver.evaluation.suites import Item
from evolver.evaluation.suites.variants import rename_tool, run, shuffle_parameters
from evolver.types import Call
from tests.fakes import shop_tools
from tests.fakes.model_server import ModelServer, Says, serving
from tests.fakes.shop_tools import box_count
from toolkit.describing import describe
from toolkit.search import ToolIndex

EXECUTOR = shop_tools.executor()
REQUEST = "How many boxes of 6 do 12 eggs fill?"
ITEM = Item(id="i", request=REQUEST, expected=(Call(name="box_count", arguments={"eggs": 12, "box_size": 6}),))


def turn(server: ModelServer, variant: str) -> Trajectory:
    with HttpModelClient(server.url) as client:
        return run(
            REQUEST, "m", variant, client=client, executor=EXECUTOR, index=ToolIndex(EXECUTOR.registry),
            limits=LoopConfig(max_steps=3), prompt=PromptConfig(tools_in_prompt=3),
        )  # fmt: skip


def test_a_renamed_tool_says_nothing_by_its_names() -> None:
    tool = describe(box_count)
    shown = rename_tool(tool, random.Random(1)).shown
    text = str(shown.schema())
    assert "box_count" not in text
    assert "box_size" not in text
    properties: Any = shown.parameters["properties"]
    assert len(properties) == 2
    assert sorted(shown.parameters["required"]) == sorted(properties)  # type: ignore[arg-type]
    assert [field["description"] for field in properties.values()] == ["How many eggs.", "Eggs in one box."]


def test_shuffling_keeps_every_name() -> None:
    tool = describe(box_count)
    orders = set()
    for seed in range(8):
        shown = shuffle_parameters(tool, random.Random(seed)).shown
        assert shown.parameters["properties"] == tool.parameters["properties"]
        orders.add(tuple(shown.parameters["properties"]))  # type: ignore[arg-type]
    assert len(orders) == 2


def reads_the_schema(request: dict[str, Any]) -> Says:
    if request["messages"][-1]["role"] == "tool":
        return Says("Two.")
    for tool in (tool["function"] for tool in request["tools"]):
        fields = {field.get("description"): name for name, field in tool["parameters"]["properties"].items()}
        if "Eggs in one box." in fields:
            return Says(
                calls=[(tool["name"], f'{{"{fields["How many eggs."]}": 12, "{fields["Eggs in one box."]}": 6}}')]
            )
    return Says("?")


@pytest.mark.parametrize("variant", ["shuffled", "renamed"])
def test_who_reads_the_schema_is_right(variant: str) -> None:
    with ModelServer(script=reads_the_schema) as server:
        found = turn(server, variant)
    assert [(call.name, call.arguments) for call in found.calls] == [("box_count", {"eggs": 12, "box_size": 6})]
    assert [(result.name, result.value) for result in found.results] == [("box_count", 2)]
    assert score(ITEM, found, EXECUTOR).exact
    sent = server.requests[0]["tools"]
    assert ("box_count" in str(sent)) is (variant == "shuffled")


def test_who_knows_the_name_by_heart_is_wrong() -> None:
    by_heart = Says(calls=[("box_count", '{"eggs": 12, "box_size": 6}')])
    with serving(by_heart, Says("Two.")) as server:
        found = score(ITEM, turn(server, "renamed"), EXECUTOR)
    assert (found.exact, found.right_tool, found.invalid_call) == (False, False, True)


def test_errors_keep_the_shown_names() -> None:
    def asks_for_too_much(request: dict[str, Any]) -> Says:
        right = reads_the_schema(request)
        return Says(calls=[(name, '{"nonsense": 1}') for name, _ in right.calls]) if right.calls else right

    with ModelServer(script=asks_for_too_much) as server:
        turn(server, "renamed")
    told = [m["content"] for m in server.requests[-1]["messages"] if m["role"] == "tool"]
    assert told
    assert "box_size" not in told[0]


def test_the_same_request_is_renamed_alike_each_time() -> None:
    with ModelServer(script=lambda _: Says("?")) as server:
        turn(server, "renamed")
        turn(server, "renamed")
    assert server.requests[0]["tools"] == server.requests[1]["tools"]


@pytest.mark.parametrize("variant", ["shuffled", "renamed"])
def test_where_tools_are_judged_all_candidates_are_variants(variant: str) -> None:
    prompt = PromptConfig(tools_in_prompt=3, judge_tools=True)
    with ModelServer(script=lambda _: Says("?")) as server, HttpModelClient(server.url) as client:
        run(
            REQUEST, "m", variant, client=client, executor=EXECUTOR, index=ToolIndex(EXECUTOR.registry),
            limits=LoopConfig(max_steps=3), prompt=prompt,
        )  # fmt: skip
    (request,) = server.requests
    found = ToolIndex(EXECUTOR.registry).top(REQUEST, MOST_JUDGED)
    names = [[tool["function"]["name"] for tool in request[field]] for field in ("tools", "further_tools")]
    assert [len(part) for part in names] == [3, len(found) - 3]
    same = sorted(names[0] + names[1]) == sorted(tool.name for tool in found)
    assert same is (variant == "shuffled")
