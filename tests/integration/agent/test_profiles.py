"""Profiles of every family through what serves them: vLLM's own parsers and types, and transformers' rendering."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.models import files, samples
from agent.models.detect import profile_of
from agent.models.parser_check import _bare, check, examples
from agent.models.samples import SampleTurns
from agent.models.vllm_arguments import plugin
from agent.tools.shown_tools import shown_tools
from tests.fakes.few_tools import add_minutes, double_number, shout_text
from tests.fakes.model_folders import FAMILIES, write_family
from toolkit.describing import describe
from toolkit.errors import UserError

KNOWN = [name for name in FAMILIES if name != "unknown"]
PARSED = ["qwen3", "qwen-coder", "llama3", "mistral", "granite", "xlam", "functiongemma", "functools"]
"""One family for each of vLLM's parsers."""
TOOLS = [describe(function, source="test").schema() for function in (double_number, shout_text, add_minutes)]

_LESSONS = """
import json, sys
from pathlib import Path
from transformers import AutoTokenizer
from agent.models.detect import profile_of
from evolver.training.render import Row, call_token, tokenized

found = {}
for family, row in json.load(sys.stdin).items():
    folder = Path(sys.argv[1]) / family
    profile, tokenizer = profile_of(folder), AutoTokenizer.from_pretrained(folder)
    lessons = tokenized(Row.model_validate(row), tokenizer, profile)
    cut = [[lesson.tokens[: lesson.targets[0]], lesson.tokens[lesson.targets[0] :]] for lesson in lessons]
    texts = [[tokenizer.decode(tokens) for tokens in pair] for pair in cut]
    again = tokenizer.encode(texts[0][1], add_special_tokens=False)
    found[family] = {"texts": texts, "call_token": call_token(tokenizer, profile), "first": again[0]}
print(json.dumps(found))
"""


_PARSE = """
import json, sys
from agent.serving.vllm_plugin.parser_check import _read

found = {family: [_read(text, asked) for text in asked["texts"]] for family, asked in json.load(sys.stdin).items()}
print(json.dumps(found))
"""


def lesson(*, parallel: bool) -> dict[str, Any]:
    call = {"id": "call-0", "type": "function", "function": {"name": samples.TOOL, "arguments": '{"value": 17}'}}
    messages = [
        samples.USER,
        {"role": "assistant", "content": "", "tool_calls": [call, {**call, "id": "call-1"}][: 2 if parallel else 1]},
        {"role": "tool", "tool_call_id": "call-0", "content": '{"said": 170}'},
        samples.ANSWER,
    ]
    return {"id": "r", "messages": messages, "tools": samples.tools(), "targets": [1, 3]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    for family in FAMILIES:
        write_family(folder / family, family)
    return folder


@pytest.fixture(scope="module")
def lessons(folders: Path) -> dict[str, Any]:
    """What the trainer makes of one conversation, by family; transformers' own rendering and tokenizers."""
    rows = {family: lesson(parallel=False) for family in KNOWN}
    command = [sys.executable, "-c", _LESSONS, str(folders)]
    done = subprocess.run(command, input=json.dumps(rows), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("family", KNOWN)
def test_a_lesson_is_the_prompt_as_served_and_the_models_own_words(
    folders: Path, lessons: dict[str, Any], family: str
) -> None:
    profile = profile_of(folders / family)
    special = files.read(folders / family).special
    sample = SampleTurns(profile.template, {**special, **profile.template_options})
    (prompt, call), (later, answer) = lessons[family]["texts"]
    # vLLM hands the template other ids each time, and tools in its own form.
    assert prompt == sample.render([samples.USER], shown_tools(samples.tools()))
    assert call.startswith(profile.call_opening)
    assert call.endswith(profile.stop)
    turns = [
        samples.USER,
        samples.call(samples.TOOL, "chatcmpl-tool-9"),
        samples.result("chatcmpl-tool-9"),
    ]
    assert later == sample.render(turns, shown_tools(samples.tools()))
    assert answer.strip() == f"{samples.SAID}{profile.end_of_turn}"
    assert lessons[family]["call_token"] == lessons[family]["first"]


def test_tools_are_shown_as_vllm_shows_them() -> None:
    code = (
        "import json, sys; from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionToolsParam as T; "
        "print(json.dumps([T.model_validate(tool).model_dump() for tool in json.load(sys.stdin)]))"
    )
    bare: list[dict[str, Any]] = [{"type": "function", "function": {"parameters": {}, "name": "bare", "strict": True}}]
    sent = shown_tools([*TOOLS, *bare])
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(sent), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == json.dumps(sent)


@pytest.fixture(scope="module")
def read_back(folders: Path) -> dict[str, Any]:
    """The calls that vLLM's parsers read in each family's own text; in one process, which imports vLLM once."""
    asked = {}
    for family in PARSED:
        profile = profile_of(folders / family)
        told = {example.kind: example.answer for example in examples(profile, folders / family)}
        texts = [_bare(told[kind], profile) for kind in ("call", "two calls") if kind in told]
        named = {"folder": str(folders / family), "parser": profile.tool_parser, "plugin": plugin(profile)}
        asked[family] = {**named, "tools": samples.tools(), "texts": texts}
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_PLUGINS": ""}
    done = subprocess.run(
        [sys.executable, "-c", _PARSE],
        input=json.dumps(asked),
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("family", PARSED)
def test_vllms_parser_reads_the_calls_of_a_family(folders: Path, read_back: dict[str, Any], family: str) -> None:
    one = [samples.TOOL, {"value": 17}]
    assert read_back[family] == ([[one], [one, one]] if profile_of(folders / family).parallel else [[one]])


def test_a_parser_that_reads_something_else_is_found(folders: Path) -> None:
    profile = profile_of(folders / "xlam").model_copy(update={"tool_parser": "llama3_json"})
    with pytest.raises(UserError, match=r"vLLM's parser llama3_json (fails|reads)"):
        check(profile, folders / "xlam")


def test_examples_have_every_kind_of_turn(folders: Path) -> None:
    shown = examples(profile_of(folders / "llama3"), folders / "llama3")
    assert [example.kind for example in shown] == ["call", "answer without a call", "answer to a result"]
    assert all(example.prompt and example.answer for example in shown)
