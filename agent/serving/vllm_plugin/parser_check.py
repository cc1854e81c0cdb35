"""Reads calls with vLLM's own parser; run in a process of its own by ``agent.models.parser_check``.

stdin: one JSON object with ``folder`` (of the tokenizer), ``parser``, ``plugin`` ("" for none), ``tools`` and
``texts``, answers that consist of calls. stdout: for each text its calls, as names and arguments.
"""

import json
import sys
from typing import Any


def main() -> None:
    """Read stdin, write stdout."""
    asked = json.load(sys.stdin)
    print(json.dumps([_read(text, asked) for text in asked["texts"]]))


def _read(text: str, asked: dict[str, Any]) -> list[list[Any]]:
    """Return the calls in ``text``, which is tokenised and decoded before, as the words of a model are."""
    from transformers import AutoTokenizer
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.tool_parsers import ToolParserManager

    if asked["plugin"]:
        ToolParserManager.import_tool_parser(asked["plugin"])
    tokenizer = AutoTokenizer.from_pretrained(asked["folder"], local_files_only=True)
    messages = [{"role": "user", "content": "?"}]
    body = {"model": "base", "messages": messages, "tools": asked["tools"]}
    request: Any = ChatCompletionRequest.model_validate(body)  # vLLM's parsers disagree on the type of what they take
    parser = ToolParserManager.get_tool_parser(asked["parser"])(tokenizer, request.tools)
    request = parser.adjust_request(request)
    tokens = tokenizer.encode(text, add_special_tokens=False)
    seen = tokenizer.decode(tokens, skip_special_tokens=request.skip_special_tokens)
    found = parser.extract_tool_calls(seen, request)
    return [[call.function.name, json.loads(call.function.arguments)] for call in found.tool_calls]


if __name__ == "__main__":
    main()
