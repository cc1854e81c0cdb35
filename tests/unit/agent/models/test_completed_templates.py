"""Templates that lack something for some conversations: what is put before them, and the advice where nothing helps."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.config import ProfileConfig
from agent.models import samples, templates
from agent.models.detect import profile_of
from agent.models.files import read
from agent.models.profile import EMBEDDED, ModelProfile
from agent.models.rendering import continuation, render
from agent.models.samples import SampleTurns
from tests.fakes.model_folders import CHATML, FAMILIES, HERMES3, NEMO, write_family
from toolkit.errors import UserError

CALL, RESULT = samples.call(samples.TOOL), samples.result()
BROKEN = "{% for %}"


def found(folder: Path, family: str, **given: object) -> tuple[ModelProfile, SampleTurns]:
    profile = profile_of(write_family(folder, family), ProfileConfig.model_validate(given))
    return profile, SampleTurns(profile.template, {**read(folder).special, **profile.template_options})


def with_template(folder: Path, family: str, template: Any) -> Path:
    """Write ``family`` with another template, or several."""
    write_family(folder, family)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": template}))
    return folder


def test_a_system_message_that_would_be_left_out_stays_where_the_template_writes_it(tmp_path: Path) -> None:
    _, sample = found(tmp_path, "nemo")
    own = SampleTurns(NEMO, sample.given)
    assert own.drops_system()
    asked = [samples.SYSTEM, samples.USER]
    assert sample.prompt(*asked, tools=True) == own.prompt(*asked, tools=True)
    assert sample.said(samples.ANSWER, *asked) == f"{samples.SAID}</s>"
    assert sample.said(CALL, *asked).startswith("[TOOL_CALLS]")
    assert sample.said(samples.ANSWER, *asked, CALL, RESULT) == f"{samples.SAID}</s>"
    longer = [*asked, samples.ANSWER, {"role": "user", "content": "And then?"}]
    assert sample.prompt(*longer, tools=True) == own.prompt(*longer, tools=True)
    assert sample.said(samples.ANSWER, *longer) == f"{samples.SAID}</s>"


def test_conversations_without_a_system_message_are_those_of_the_template(tmp_path: Path) -> None:
    _, sample = found(tmp_path, "nemo")
    own = SampleTurns(NEMO, sample.given)
    for turns in ([samples.USER], [samples.USER, samples.ANSWER, samples.USER], [samples.USER, CALL, RESULT]):
        numbered = [{**turn, "tool_call_id": "000000000"} if turn["role"] == "tool" else turn for turn in turns]
        numbered = [samples.call(samples.TOOL, "000000000") if turn is CALL else turn for turn in numbered]
        assert sample.prompt(*turns, tools=True) == own.prompt(*numbered, tools=True)


def test_our_form_begins_the_users_turn_where_a_system_message_would_be_left_out(tmp_path: Path) -> None:
    profile, sample = found(tmp_path, "nemo", template="apprentice")
    assert profile.source == "apprentice in the model's turns"
    assert sample.prompt(samples.SYSTEM, samples.USER, tools=True).startswith("<s>[INST]Be brief about birds.\nCall a")
    assert sample.said(CALL, samples.SYSTEM, samples.USER).startswith("<tool_call>")


def test_a_result_has_the_name_of_its_tool(tmp_path: Path) -> None:
    _, sample = found(tmp_path, "functiongemma")
    calls = [{**CALL["tool_calls"][0], "id": "a"}, *samples.call(samples.OTHER_TOOL, "b")["tool_calls"]]
    both = {**CALL, "tool_calls": calls}
    text = sample.prompt(samples.USER, both, samples.result("b"), samples.result("a"), tools=True)
    assert text.partition("<start_function_response>")[2].count("response:") == 2
    assert text.index("response:scan_beta{") < text.index("response:probe_alpha{")
    # What a client calls it counts for nothing, so that the same conversation is always the same text.
    named = {**RESULT, "name": "something else"}
    assert sample.prompt(samples.USER, CALL, named) == sample.prompt(samples.USER, CALL, RESULT)


def test_a_call_ends_as_its_template_ends_it(tmp_path: Path) -> None:
    profile, sample = found(tmp_path, "functiongemma")
    assert profile.stop == ("<end_of_turn>", "<start_function_response>")
    assert (profile.end_of_turn, profile.after_turn, profile.after_call) == ("<end_of_turn>", "\n", "")
    assert sample.said(CALL).endswith("<end_function_call><start_function_response>")
    tokens = read(tmp_path).tokens
    assert set(profile.stop_ids) >= {tokens[text] for text in profile.stop}


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"unknown", "functiongemma"}))
def test_other_calls_end_as_answers_do(tmp_path: Path, family: str) -> None:
    profile, _ = found(tmp_path, family)
    assert (profile.stop, profile.after_call) == ((profile.end_of_turn,), profile.after_turn)


def test_the_closing_of_a_call_ends_no_turn(tmp_path: Path) -> None:
    template = (FAMILIES["functiongemma"].template or "").replace(
        "{% endfor %}<start_function_response>", "{% endfor %}"
    )
    profile = profile_of(with_template(tmp_path, "functiongemma", template))
    assert profile.stop == ("<end_of_turn>",)


def test_a_template_for_tools_alone_leaves_other_conversations_to_the_plain_one(tmp_path: Path) -> None:
    profile, sample = found(tmp_path, "hermes3")
    assert (profile.source, profile.json_tools) == ("model", True)
    for turns in ([samples.USER], [samples.SYSTEM, samples.USER, samples.ANSWER, samples.USER]):
        assert sample.prompt(*turns) == SampleTurns(CHATML, sample.given).prompt(*turns)
        assert sample.prompt(*turns, tools=True) == SampleTurns(HERMES3, sample.given).prompt(*turns, tools=True)


def test_without_a_plain_template_one_for_tools_alone_is_given_an_empty_list(tmp_path: Path) -> None:
    profile = profile_of(with_template(tmp_path, "hermes3", HERMES3))
    sample = SampleTurns(profile.template, read(tmp_path).special)
    assert sample.prompt().startswith("<|im_start|>system\n<tools></tools>")


@pytest.mark.parametrize("blanks", ["\n", "  ", "\n  "])
def test_templates_beside_one_another_keep_their_blanks(blanks: str) -> None:
    macro = "{%- macro shown(tool) %}{{ tool.function.name }}{% endmacro %}"
    own, plain = (blanks + text + blanks for text in (macro + "{% for t in tools %}{{ shown(t) }}\n{% endfor %}", "p"))
    for template in (templates.without_tools(own, plain), templates.without_tools(own, None)):
        assert render(template, [samples.USER], samples.tools()) == render(own, [samples.USER], samples.tools())
    assert render(templates.without_tools(own, plain), [samples.USER]) == render(plain, [samples.USER])


def test_a_line_break_behind_the_last_result_is_passed_over(tmp_path: Path) -> None:
    _, sample = found(tmp_path, "hermes3")
    before = [samples.USER, CALL, RESULT]
    assert "</tool_response><|im_end|>" in sample.prompt(*before, tools=True)
    assert sample.said(samples.ANSWER, *before) == f"{samples.SAID}<|im_end|>\n"
    assert sample.said(CALL, *before, RESULT).startswith("<tool_call>")


@pytest.mark.parametrize(
    ("prompt", "whole", "role", "behind"),
    [
        ("a<r>\n<m>", "a<r>\n<m> b", "user", " b"),
        ("a<r><m>", "a<r>\n<m> b", "tool", " b"),
        ("a<r> \n\n<m>", "a<r>\n<m>b", "tool", "b"),
        ("a<r><m>", "a<r>\n<m> b", "user", None),
        ("a<r><m>", "a<r>x<m>b", "tool", None),
        ("a<r><m>\n", "a<r>\n<m> \nb", "tool", None),
        ("a<r>\n", "a<r> b", "tool", None),
    ],
)
def test_what_continues_a_prompt(prompt: str, whole: str, role: str, behind: str | None) -> None:
    assert continuation(prompt, whole, role) == behind


@pytest.mark.parametrize(
    "template",
    [
        [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": HERMES3}],
        HERMES3,
        BROKEN,
        [{"name": "default", "template": BROKEN}, {"name": "tool_use", "template": HERMES3}],
        "{{ messages | length }}" + CHATML,
        CHATML.replace("assistant\n", "assistant\n<think>"),
    ],
    ids=["named", "for-tools", "broken", "broken-plain", "counting", "thinking"],
)
def test_our_form_is_written_in_turns_that_can_be_used(tmp_path: Path, template: Any) -> None:
    folder = with_template(tmp_path, "hermes3", template)
    assert profile_of(folder, ProfileConfig(template="apprentice")).template == EMBEDDED.template


def test_the_plain_template_gives_the_turns_of_our_form(tmp_path: Path) -> None:
    named = {"default": FAMILIES["phi"].template, "tool_use": HERMES3}
    folder = with_template(tmp_path, "phi", [{"name": name, "template": text} for name, text in named.items()])
    profile = profile_of(folder, ProfileConfig(template="apprentice"))
    sample = SampleTurns(profile.template, read(folder).special)
    assert sample.prompt(samples.SYSTEM, samples.USER, tools=True).startswith("<|system|>Be brief about birds.\nCall a")


@pytest.mark.parametrize("template", [BROKEN, "{{ messages | length }}" + HERMES3])
def test_advice_is_what_was_not_followed_yet_and_helps(tmp_path: Path, template: str) -> None:
    folder = with_template(tmp_path, "hermes3", template)
    with pytest.raises(UserError, match='set template = "apprentice"'):
        profile_of(folder)
    profile_of(folder, ProfileConfig(template="apprentice"))


def test_a_stop_that_is_set_ends_answers_where_nothing_else_does(tmp_path: Path) -> None:
    folder = with_template(tmp_path, "qwen3", "{% for m in messages %}\n{{ m.role }}: {{ m.content }}{% endfor %}"
                           "{% if add_generation_prompt %}\nassistant: {% endif %}")  # fmt: skip
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token": None}))
    with pytest.raises(UserError, match=r"nothing ends an answer: .*; set stop"):
        profile_of(folder)
    assert profile_of(folder, ProfileConfig(stop=("<|im_end|>",))).end_of_turn == "<|im_end|>"
