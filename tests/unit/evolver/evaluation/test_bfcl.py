"""BFCL through its published data and checker. Items here are made by hand in its shape; where the package is there,
its data is counted and asked, never shown."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from agent.turn.messages import Message
from agent.turn.model_client import HttpModelClient, ModelReply
from evolver.evaluation import suites
from evolver.evaluation.suites import bfcl, bfcl_run
from evolver.evaluation.suites.bfcl import BfclItem, BfclSuite
from evolver.evaluation.suites.bfcl_check import problem
from evolver.scores import ItemScore
from evolver.types import Call
from tests.fakes.model_server import Says, serving
from toolkit.errors import PrerequisiteError, UserError
from toolkit.tool import ToolCall

installed = pytest.mark.skipif(find_spec("bfcl_eval") is None, reason=bfcl.INSTALL)

FUNCTION: dict[str, Any] = {
    "name": "shop.crates",
    "description": "Count crates.",
    "parameters": {
        "type": "dict",
        "properties": {
            "eggs": {"type": "integer", "description": "How many."},
            "weight": {"type": "float", "description": "Kilograms.", "default": 1.5, "optional": True},
            "size": {"type": "tuple", "items": {"type": "float"}, "description": "Two sides."},
            "label": {"type": "any", "description": "Whatever."},
            "buyer": {
                "type": "dict",
                "properties": {"name": {"type": "string"}, "pets": {"type": "array", "items": {"type": "dict"}}},
                "required": ["name"],
            },
            "mode": {"type": "string", "enum": ["a", "b"]},
        },
        "required": ["eggs"],
    },
}
OTHER = {**FUNCTION, "name": "shop_crates"}
ANSWER = {"shop.crates": {"eggs": [12], "weight": ["", 2.5], "size": [""], "label": [""], "buyer": [""], "mode": [""]}}


def entry(*functions: dict[str, Any], **rest: Any) -> dict[str, Any]:
    question = [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Crates for 12 eggs?"}]]
    return {"id": "made_0", "question": question, "function": list(functions), **rest}


def suite(category: str, *items: BfclItem) -> BfclSuite:
    return BfclSuite(name=f"bfcl:{category}", category=category, sha256="0" * 64, items=items)


def says(*calls: tuple[str, dict[str, Any] | None], text: str = "") -> ModelReply:
    made = tuple(
        ToolCall(id=str(n), name=name, arguments=arguments, raw=json.dumps(arguments))
        for n, (name, arguments) in enumerate(calls)
    )
    return ModelReply(message=Message(role="assistant", content=text, tool_calls=made))


def judged(category: str, reply: ModelReply, *answer: Any) -> ItemScore:
    item = bfcl.item(entry(FUNCTION, OTHER), answer, category)
    return bfcl_run.score_reply(item, suite(category, item), reply)


def test_names_become_legal_and_lead_back() -> None:
    names = ["math.sqrt", "math_sqrt", "math-sqrt", "x" * 80, "x" * 90, "größe.a", ""]
    legal = bfcl.legal_names(names)
    assert len(set(legal)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in legal)
    assert legal[:3] == ["math_sqrt", "math_sqrt_2", "math-sqrt"]
    item = bfcl.item(entry(FUNCTION, OTHER), (), "multiple")
    assert item.names == {"shop_crates": "shop.crates", "shop_crates_2": "shop_crates"}


def test_types_become_json_schema() -> None:
    (tool,) = bfcl.item(entry(FUNCTION), (), "simple_python").tools
    function: Any = tool["function"]
    assert function["name"] == "shop_crates"
    assert function["parameters"] == {
        "type": "object",
        "properties": {
            "eggs": {"type": "integer", "description": "How many."},
            "weight": {"type": "number", "description": "Kilograms.", "default": 1.5},
            "size": {"type": "array", "description": "Two sides.", "items": {"type": "number"}},
            "label": {"type": "string", "description": "Whatever."},
            "buyer": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "pets": {"type": "array", "items": {"type": "object"}}},
                "required": ["name"],
            },
            "mode": {"type": "string", "enum": ["a", "b"]},
        },
        "required": ["eggs"],
    }


def test_java_and_javascript_arguments_are_texts_of_that_language() -> None:
    (tool,) = bfcl.item(entry(FUNCTION), (), "simple_java").tools
    function: Any = tool["function"]
    properties = function["parameters"]["properties"]
    assert {field["type"] for field in properties.values()} == {"string"}
    assert properties["size"]["description"] == "Two sides. (the text of a Java tuple of float)"
    assert properties["label"]["description"] == "Whatever. (the text of a Java value)"


@installed
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"eggs": 12}, ""),
        ({"eggs": 12, "weight": 2.5}, ""),
        ({"eggs": 13}, "value_error"),
        ({"eggs": "12"}, "type_error"),
        ({"weight": 2.5}, "missing_required"),
        ({"eggs": 12, "colour": "red"}, "unexpected_param"),
    ],
)
def test_the_packages_own_checker_decides(arguments: dict[str, Any], reason: str) -> None:
    score = judged("simple_python", says(("shop_crates", arguments)), ANSWER)
    assert score.exact is not bool(reason)
    assert reason in score.reason
    assert (score.needs_tool, score.right_tool, score.called, score.invalid_call) == (True, True, True, False)


@installed
def test_another_functions_call_is_wrong_and_so_is_one_too_many() -> None:
    wrong = judged("multiple", says(("shop_crates_2", {"eggs": 12})), ANSWER)
    assert (wrong.exact, wrong.right_tool) == (False, False)
    twice = says(("shop_crates", {"eggs": 12}), ("shop_crates", {"eggs": 12}))
    assert not judged("simple_python", twice, ANSWER).exact
    assert judged("parallel", twice, ANSWER, ANSWER).exact
    assert not judged("parallel", says(("shop_crates", {"eggs": 12})), ANSWER, ANSWER).exact


@installed
def test_java_values_are_read_as_java() -> None:
    function = {**FUNCTION, "parameters": {"type": "dict", "properties": {"n": {"type": "long"}}, "required": ["n"]}}
    item = bfcl.item(entry(function), [{"shop.crates": {"n": [12]}}], "simple_java")
    call = Call(name="shop.crates", arguments={"n": "12L"})
    assert problem(item, [call], "simple_java") == ""
    assert problem(item, [call.model_copy(update={"arguments": {"n": 12}})], "simple_java") == "type_error:java"


def test_where_no_function_fits_every_call_is_wrong() -> None:
    assert judged("irrelevance", says(text="None fits.")).called is False
    for reply in (says(("shop_crates", {"eggs": 1})), says(("", None)), says(("shop_crates", {}))):
        score = judged("irrelevance", reply)
        assert (score.called, score.needs_tool, score.exact) == (True, False, False)
    assert judged("live_relevance", says(("shop_crates", {"eggs": 1}))).exact
    assert not judged("live_relevance", says(text="No.")).exact


@pytest.mark.parametrize("call", [("nothing_like_it", {"eggs": 12}), ("shop_crates", None)])
def test_a_call_that_is_none_is_invalid(call: tuple[str, dict[str, Any] | None]) -> None:
    score = judged("simple_python", says(call), ANSWER)
    assert (score.invalid_call, score.exact, score.reason) == (True, False, "malformed")


def test_one_request_as_any_client_sends_it() -> None:
    item = bfcl.item(entry(FUNCTION), (), "irrelevance")
    with serving(Says("No.")) as server, HttpModelClient(server.url) as client:
        score = bfcl_run.score_item(item, suite("irrelevance", item), "adapter-0001", client, max_tokens=99)
    (sent,) = server.requests
    assert (score.called, score.seen) == (False, "No.")
    assert sent["messages"] == entry()["question"][0]
    assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("adapter-0001", 99, 0)
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["shop_crates"]


def test_a_refused_request_is_a_failure_and_not_a_right_silence() -> None:
    item = bfcl.item(entry(FUNCTION), (), "irrelevance")
    with serving(Says("too long", status=400)) as server, HttpModelClient(server.url) as client:
        score = bfcl_run.score_item(item, suite("irrelevance", item), "base", client, max_tokens=99)
    assert score.failed
    assert "too long" in score.seen


def test_a_half_of_a_category_has_the_items_of_even_or_of_odd_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({**entry(FUNCTION), "id": f"live_simple_{number}-{number + 1}-0"}) for number in range(5)]
    (tmp_path / "BFCL_v4_live_simple.json").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(bfcl, "data_folder", lambda: tmp_path)
    names = {half: [item.id for item in bfcl.read_suite(f"bfcl:live_simple:{half}").items] for half in bfcl.HALVES}
    assert names["even"] == ["live_simple_0-1-0", "live_simple_2-3-0", "live_simple_4-5-0"]
    assert names["odd"] == ["live_simple_1-2-0", "live_simple_3-4-0"]
    assert bfcl.read_suite("bfcl:live_simple:odd").name == "bfcl:live_simple:odd"
    with pytest.raises(UserError, match="no half 'first'; there is: even, odd"):
        bfcl.read_suite("bfcl:live_simple:first")


def test_an_unknown_category_and_a_missing_package_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no category 'simple'.*simple_python"):
        bfcl.read_suite("bfcl:simple")
    monkeypatch.setattr(bfcl, "find_spec", lambda name: None)
    with pytest.raises(PrerequisiteError, match=r"pip install --no-deps bfcl-eval"):
        bfcl.read_suite("bfcl:simple_python")
    assert list(bfcl.queries()) == list(bfcl.descriptions()) == []


@installed
@pytest.mark.parametrize("category", bfcl.CATEGORIES)
def test_every_category_loads_with_an_answer_for_each_request_that_has_one(category: str) -> None:
    loaded = bfcl.read_suite(f"bfcl:{category}")
    assert len({item.id for item in loaded.items}) == len(loaded.items) >= 16
    scored = loaded.needs_tool and category != "live_relevance"
    assert {bool(item.answer) for item in loaded.items} == {scored}
    for item in loaded.items:
        assert set(item.names.values()) == {function["name"] for function in item.functions}
        assert all(next(iter(answer)) in item.names.values() for answer in item.answer)


@installed
def test_the_installed_benchmark_is_known_by_its_fingerprints() -> None:
    held_out = suites.Fingerprints()
    assert held_out.names == (*suites.names(), "bfcl")
    queries = list(bfcl.queries())
    assert len(queries) > 4000
    assert sum(not held_out(query) for query in queries if suites.normalised(query)) == 0
    assert sum(not held_out.tool(said) for said in bfcl.descriptions() if suites.normalised(said)) == 0
    assert not held_out("how many goats would fit on your uncle's balcony then")


@installed
def test_no_file_of_this_project_holds_a_request_of_the_benchmark() -> None:
    def grams(text: str) -> set[str]:
        words = suites.normalised(text).split()
        return {" ".join(words[n : n + 7]) for n in range(len(words) - 6)}

    root = Path(__file__).parents[4] / "evolver"
    files = [*sorted(root.rglob("*.jsonl")), *sorted(root.rglob("*.py"))]
    assert len(files) > 30
    here = set().union(*(grams(file.read_text(encoding="utf-8")) for file in files))
    known = [found for query in bfcl.queries() if (found := grams(query))]
    assert len(known) > 3000
    assert sum(query <= here for query in known) == 0
