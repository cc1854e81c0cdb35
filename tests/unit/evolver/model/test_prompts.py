"""What the makers' prompts show, and what they must not."""

import json
import re
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.text.matching import normalised
from evolver.evaluation import suites
from evolver.model import prompts
from evolver.tool_making import prompts as tool_prompts
from evolver.types import Call
from toolkit.config import ToolkitConfig
from toolkit.sources import load_local_tools
from toolkit.tool import Tool

TOOL = Tool(
    name="zzz_probe",
    description="Probe {braces} and %s.",
    parameters={
        "type": "object",
        "properties": {"depth": {"type": "integer", "description": "How deep."}, "what": {"type": "string"}},
        "required": ["depth"],
    },
)
CALL = Call(name="zzz_probe", arguments={"depth": 47, "what": 'Ünïcode {x} "q"'})


def all_prompts() -> list[str]:
    return [
        prompts.arguments_prompt(TOOL),
        prompts.request_prompt(TOOL, CALL),
        prompts.call_prompt(TOOL, "Zzz probe?"),
        prompts.answer_prompt(TOOL, CALL, "zzz"),
        prompts.no_tool_prompt(),
        tool_prompts.tool_prompt("Zzz probe?"),
        tool_prompts.code_prompt("def zzz_probe():"),
    ]


@pytest.fixture(scope="module")
def tool_names() -> set[str]:
    return set(load_local_tools(ToolkitConfig()).names())


@pytest.fixture(scope="module")
def requests() -> set[str]:
    demo = (files("evolver.demo") / "demo_requests.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line)["request"] for line in demo if line.strip()]
    asked += [item.request for name in suites.names() for item in suites.read_suite(name).items]
    assert len(asked) > 100
    return {normalised(request) for request in asked}


def test_no_example_names_a_tool_of_the_toolkit(tool_names: set[str]) -> None:
    for prompt in all_prompts():
        assert not tool_names & set(re.findall(r"(\w+)\(", prompt))
        assert not {name for name in tool_names if "_" in name} & set(re.findall(r"\w+", prompt))


def test_no_example_is_a_request_that_is_tested_or_shown(requests: set[str]) -> None:
    for prompt in all_prompts():
        for line in prompt.splitlines():
            said = normalised(line.removeprefix("Person:").removeprefix("Request:"))
            assert said not in requests or not said
        whole = f" {normalised(prompt)} "
        assert not [request for request in requests if len(request.split()) > 3 and f" {request} " in whole]


def test_no_example_is_held_out() -> None:
    held_out = suites.Fingerprints()
    assert not [line for prompt in all_prompts() for line in prompt.splitlines() if held_out(line)]


def test_each_prompt_shows_the_tool_as_serving_does_and_what_is_to_be_continued() -> None:
    arguments, request, call, answer, *_ = all_prompts()
    shown = prompts.signature(TOOL)
    assert shown.startswith("zzz_probe(depth: integer, what?: string): Probe {braces} and %s.")
    for prompt in (arguments, request, call, answer):
        assert shown in prompt
    for prompt in (request, answer):
        assert json.dumps(CALL.arguments, ensure_ascii=False) in prompt
    assert "Zzz probe?" in call
    assert '"zzz"' in answer


@settings(max_examples=15, deadline=None)
@given(st.text(), st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3))
def test_whatever_a_tool_or_a_person_says_stands_in_the_prompt_as_it_is(text: str, values: dict[str, str]) -> None:
    call = Call(name="zzz_probe", arguments=dict(values))
    assert text in prompts.call_prompt(TOOL, text)
    assert json.dumps(values, ensure_ascii=False) in prompts.request_prompt(TOOL, call)
    assert json.dumps(text, ensure_ascii=False) in prompts.answer_prompt(TOOL, call, text)
