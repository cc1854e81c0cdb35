"""What the trainer learns from is, token for token, what vLLM reads and writes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent.http.address import http_client
from agent.serving.vllm.process import VllmServer
from agent.turn.messages import Message
from agent.turn.prompt import to_openai
from tests.fakes.few_tools import add_minutes, double_number, shout_text
from toolkit.describing import describe
from toolkit.tool import ToolCall, ToolResult, render_result

TOOLS = [describe(function, source="test").schema() for function in (double_number, shout_text, add_minutes)]
CALL = ToolCall(id="call-0", name="shout_text", arguments={"text": 'Grüß "Gott" <b> & 5.0', "n": 8.0, "list": [1, 2]})
RESULT = ToolResult(call_id="call-0", name="shout_text", value={"done": True, "text": "é"})
MESSAGES = (
    Message(role="user", content="Shout it!"),
    Message(role="assistant", tool_calls=(CALL, CALL)),
    Message(role="tool", content=render_result(RESULT), tool_result=RESULT),
    Message(role="tool", content=render_result(RESULT), tool_result=RESULT),
    Message(role="assistant", content="Done."),
)

_LESSONS = """
import json, sys
from pathlib import Path
from transformers import AutoTokenizer
from agent.models.detect import profile_of
from evolver.training.render import Row, tokenized
model, row = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(model)
made = tokenized(Row.model_validate_json(row), tokenizer, profile_of(Path(model)))
print(json.dumps([[lesson.tokens, lesson.targets] for lesson in made]))
"""


def trained_on(model_folder: Path) -> list[tuple[list[int], list[int]]]:
    """Tokens and targets of the lessons for the two assistant messages."""
    row = {"id": "x", "messages": to_openai(MESSAGES), "tools": TOOLS, "targets": [1, 4], "decision": "call"}
    command = [sys.executable, "-c", _LESSONS, str(model_folder), json.dumps(row)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [(tokens, targets) for tokens, targets in json.loads(output)]


def served(vllm: VllmServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {vllm.api_key}"}
    with http_client(vllm.url, headers=headers, timeout=60) as client:
        return client.post(path, json=body).raise_for_status().json()


def test_prompts_have_the_same_tokens(vllm: VllmServer, model_folder: Path) -> None:
    for (tokens, targets), end in zip(trained_on(model_folder), (1, 4), strict=True):
        body = {"model": "base", "messages": to_openai(MESSAGES[:end]), "tools": TOOLS, "add_generation_prompt": True}
        assert served(vllm, "/tokenize", body)["tokens"] == tokens[: targets[0]]


def test_loss_is_on_the_assistants_own_words_only(vllm: VllmServer, model_folder: Path) -> None:
    said = []
    for tokens, targets in trained_on(model_folder):
        assert targets == list(range(targets[0], len(tokens)))
        body = {"model": "base", "tokens": tokens[targets[0] :]}
        said.append(served(vllm, "/detokenize", body)["prompt"])
    arguments = json.dumps(CALL.arguments, ensure_ascii=False)
    call = f'<tool_call>\n{{"name": "shout_text", "arguments": {arguments}}}\n</tool_call>'
    assert said == [f"{call}\n{call}<|im_end|>", "Done.<|im_end|>"]
