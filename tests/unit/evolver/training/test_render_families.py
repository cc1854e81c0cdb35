"""Lessons in the templates of families that write a prompt and its answer in their own ways."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.models import samples
from agent.models.detect import profile_of
from agent.models.files import read
from agent.models.profile import ModelProfile
from agent.models.rendering import render
from agent.models.template_markers import NO_MARKERS
from agent.tools.shown_tools import shown_tools
from evolver.training.data import read_lessons
from evolver.training.render import RowInvalid, RowRefused
from tests.fakes.model_folders import NEMO, write_family

CALL = {"id": "call-0", "type": "function", "function": {"name": samples.TOOL, "arguments": '{"value": 17}'}}
CALLED: list[dict[str, Any]] = [
    samples.SYSTEM,
    samples.USER,
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call-0", "content": '{"said": 170}'},
    samples.ANSWER,
]
ROW = {"id": "called", "messages": CALLED, "tools": samples.tools(), "targets": [2, 4]}
NO_TOOLS = {"id": "plain", "messages": [samples.SYSTEM, samples.USER, samples.ANSWER], "targets": [2]}
ODD = {"id": "odd", "messages": [{"role": "odd", "content": "?"}, samples.ANSWER], "targets": [1]}


class Rendering:
    """A tokenizer with a token per character, which renders templates as transformers does."""

    def __init__(self, folder: Path) -> None:
        self._special = read(folder).special

    def apply_chat_template(
        self, conversation: Any, /, *, chat_template: str, tools: Any, tokenize: bool, **options: Any
    ) -> str:
        return render(chat_template, conversation, tools or (), **self._special, **options)

    def encode(self, text: str, /, **_: Any) -> list[int]:
        return [ord(char) for char in text]


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def texts(folder: Path, profile: ModelProfile, *rows: dict[str, Any]) -> list[tuple[str, str]]:
    """Return prompt and answer of each lesson."""
    read_ = read_lessons(written(folder, *rows), Rendering(folder), profile, NO_MARKERS, 10_000)
    cut = [(lesson.tokens[: lesson.targets[0]], lesson.tokens[lesson.targets[0] :]) for lesson in read_.short]
    return [("".join(map(chr, start)), "".join(map(chr, answer))) for start, answer in cut]


@pytest.mark.parametrize("family", ["nemo", "hermes3", "functiongemma"])
def test_prompts_are_those_of_serving(tmp_path: Path, family: str) -> None:
    profile = profile_of(write_family(tmp_path, family))
    (prompt, _), (later, answer), *_ = texts(tmp_path, profile, ROW)
    given = {**read(tmp_path).special, **profile.template_options, "add_generation_prompt": True}
    turns, tools = [samples.SYSTEM, samples.USER], shown_tools(samples.tools())
    assert prompt == render(profile.template, turns, tools, **given)
    turns += [samples.call(samples.TOOL, "chatcmpl-tool-9"), samples.result("chatcmpl-tool-9")]
    assert later == render(profile.template, turns, tools, **given)
    assert answer == samples.SAID + profile.end_of_turn
    assert samples.SYSTEM["content"] in prompt


@pytest.mark.parametrize(
    ("family", "call"),
    [
        ("nemo", '[TOOL_CALLS][{"name": "probe_alpha", "arguments": {"value": 17}, "id": "000000000"}]</s>'),
        ("hermes3", '<tool_call>\n{"name": "probe_alpha", "arguments": {"value": 17}}\n</tool_call><|im_end|>'),
        ("functiongemma", "<start_function_call>call:probe_alpha{value:<escape>17<escape>}<end_function_call>"
                          "<start_function_response>"),
    ],
)  # fmt: skip
def test_a_call_ends_as_its_template_ends_it(tmp_path: Path, family: str, call: str) -> None:
    profile = profile_of(write_family(tmp_path, family))
    assert texts(tmp_path, profile, ROW)[0][1] == call


@pytest.mark.parametrize("family", ["nemo", "hermes3", "functiongemma"])
def test_a_row_without_tools_is_a_lesson(tmp_path: Path, family: str) -> None:
    profile = profile_of(write_family(tmp_path, family))
    ((prompt, answer),) = texts(tmp_path, profile, NO_TOOLS)
    assert samples.TOOL not in prompt
    assert answer == samples.SAID + profile.end_of_turn


def test_rows_whose_answer_does_not_continue_its_prompt_are_skipped_and_counted(tmp_path: Path) -> None:
    write_family(tmp_path, "nemo")
    profile = profile_of(tmp_path).model_copy(update={"template": NEMO})
    fitting = {**NO_TOOLS, "messages": CALLED[1:2] + CALLED[4:], "targets": [1]}
    found = read_lessons(written(tmp_path, NO_TOOLS, fitting, ODD), Rendering(tmp_path), profile, NO_MARKERS, 10_000)
    assert (len(found.short), found.too_long, found.refused) == (1, 0, 2)
    with pytest.raises(RowRefused, match="row plain: message 2 does not continue its own prompt"):
        read_lessons(written(tmp_path, NO_TOOLS), Rendering(tmp_path), profile, NO_MARKERS, 10_000)


def test_a_row_that_is_no_lesson_of_any_template_still_fails(tmp_path: Path) -> None:
    profile = profile_of(write_family(tmp_path, "nemo"))
    broken = {**CALL, "function": {"name": samples.TOOL, "arguments": "{"}}
    row = {**ROW, "messages": [samples.USER, {"role": "assistant", "content": "", "tool_calls": [broken]}]}
    with pytest.raises(RowInvalid, match="no JSON") as caught:
        read_lessons(written(tmp_path, {**row, "targets": [1]}, NO_TOOLS), Rendering(tmp_path), profile, NO_MARKERS, 10)
    assert not isinstance(caught.value, RowRefused)
