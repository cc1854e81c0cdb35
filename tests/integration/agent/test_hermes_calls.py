"""The parser that vLLM is given, in a process of its own: importing vLLM takes long."""

import json
import subprocess
import sys
from typing import Any

import pytest

_CODE = """
import json, sys
from agent.serving.vllm_plugin import hermes_calls
from vllm.tool_parsers.abstract_tool_parser import ToolParserManager

made = ToolParserManager.get_tool_parser("hermes")
assert made is hermes_calls.HermesCalls

def parser():
    new = made.__new__(made)  # its initialiser wants a tokenizer, of which it uses nothing
    new.prev_tool_call_arr, new.streamed_args_for_tool, new._sent_content_idx = [], [], 0
    return new

def whole(text):
    found = parser().extract_tool_calls(text, None)
    return found.content or "", [[call.function.name, call.function.arguments] for call in found.tool_calls]

def streamed(text, step):
    one, content, calls = parser(), "", {}
    ends = [*range(step, len(text), step), len(text)]
    for before, end in zip([0, *ends], ends):
        delta = one.extract_tool_calls_streaming(text[:before], text[:end], text[before:end], [], [], [], None)
        if delta is None:
            continue
        content += delta.content or ""
        for part in delta.tool_calls:
            call = calls.setdefault(part.index, ["", ""])
            function = part.function if isinstance(part.function, dict) else part.function.model_dump()
            call[0] += function.get("name") or ""
            call[1] += function.get("arguments") or ""
    return content, list(calls.values())

print(json.dumps([[whole(text), streamed(text, 1), streamed(text, 7)] for text in json.load(sys.stdin)]))
"""

ARGUMENTS = [
    {},
    {"text": "plain"},
    {"text": 'a </tool_call> "b" <tool_call> \\ </tool_call>'},
    {"text": "</tool_call>", "</tool_call>": ["<tool_call>", 'a"</tool_call>\n']},
]


def call(arguments: dict[str, Any]) -> str:
    return f"<tool_call>\n{json.dumps({'name': 'say', 'arguments': arguments})}\n</tool_call>"


@pytest.fixture(scope="module")
def parsed() -> list[Any]:
    texts = [call(arguments) for arguments in ARGUMENTS]
    texts += ["I say: \n" + "\n".join(texts), "no call", texts[2].removesuffix("</tool_call>"), texts[2][:40]]
    command = [sys.executable, "-c", _CODE]
    result = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("number", range(len(ARGUMENTS)))
def test_a_call_is_the_same_whole_and_streamed(parsed: list[Any], number: int) -> None:
    expected = ["", [["say", json.dumps(ARGUMENTS[number])]]]
    assert parsed[number] == [expected] * 3


def test_several_calls_after_a_text_are_the_same_whole_and_streamed(parsed: list[Any]) -> None:
    expected = ["I say: \n", [["say", json.dumps(arguments)] for arguments in ARGUMENTS]]
    assert parsed[4] == [expected] * 3


def test_what_is_no_call_or_half_of_one_is_as_in_vllm(parsed: list[Any]) -> None:
    assert parsed[5] == [["no call", []]] * 3
    assert parsed[6] == [["", [["say", json.dumps(ARGUMENTS[2])]]]] * 3
    assert parsed[7][0][1] == []
