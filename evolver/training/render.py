"""Dataset rows -> lessons: the serving template's text, with loss on the assistant's own tokens only."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from evolver.training.prefix_tree import Lesson


class Row(BaseModel):
    """One line of train.jsonl or valid.jsonl: a conversation, or a ``prompt`` and the ``completion`` that carries loss.

    ``targets`` are indices of the assistant messages that carry loss; ``open_end`` says that the last of them was cut
    off, so that its end carries none.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    messages: list[dict[str, Any]] = []
    tools: list[dict[str, Any]] = []
    targets: list[int] = []
    prompt: str = ""
    completion: str = ""
    open_end: bool = False
    decision: Literal["call", "no_call"] | None = None
    weight: float = 1.0


class Tokenizer(Protocol):
    """What rendering needs of a transformers tokenizer."""

    def apply_chat_template(self, conversation: Any, /, **options: Any) -> Any: ...
    def encode(self, text: str, /, **options: Any) -> list[int]: ...


class RowInvalid(ValueError):
    """A row that cannot be a lesson; names the row."""


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a JSONL file. Raises RowInvalid naming the line."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    row = Row.model_validate_json(line)
                except ValidationError as error:
                    first = error.errors()[0]
                    raise RowInvalid(f"{path.name} line {number}: {first['loc']}: {first['msg']}") from None
                _check(row)
                yield row


def _check(row: Row) -> None:
    if bool(row.completion) != bool(row.prompt) or (row.completion and (row.messages or row.decision)):
        raise RowInvalid(f"row {row.id}: a prompt and its completion, without messages and a decision, or neither")
    if not (row.targets or row.completion) or not row.weight > 0:
        raise RowInvalid(f"row {row.id}: no target message, or a weight that is not positive")
    for index in row.targets:
        if not 0 <= index < len(row.messages) or row.messages[index].get("role") != "assistant":
            raise RowInvalid(f"row {row.id}: target {index} is no assistant message")


def lessons(row: Row, tokenizer: Tokenizer, template: str) -> list[Lesson]:
    """One lesson for each target message: the serving prompt's tokens, then the answer's through its end marker.

    Prompt and answer are tokenised apart, as serving does: the model reads the prompt's tokens and writes its own. The
    first lesson carries the row's decision. A completion of a prompt is one lesson, of the tokens that vLLM would read
    and write; its end carries no loss.
    """
    if row.completion:
        start = tokenizer.encode(row.prompt)
        tokens = (*start, *tokenizer.encode(row.completion, add_special_tokens=False))
        return [Lesson(row.id, tokens, tuple(range(len(start), len(tokens))), row.weight, None)]
    messages = [_with_parsed_arguments(message) for message in row.messages]

    def text(count: int, *, prompt: bool) -> str:
        return tokenizer.apply_chat_template(
            messages[:count],
            tools=row.tools or None,
            chat_template=template,
            tokenize=False,
            add_generation_prompt=prompt,
        )

    made = []
    for index in sorted(set(row.targets)):
        before, through = text(index, prompt=True), text(index + 1, prompt=False)
        if not through.startswith(before):
            raise RowInvalid(f"row {row.id}: message {index} does not continue its own prompt")
        start = tokenizer.encode(before, add_special_tokens=False)
        said = through[len(before) :].rstrip("\n")
        if row.open_end and index == max(row.targets):
            content = messages[index]["content"].rstrip()
            said = said[: said.rindex(content) + len(content)]
        answer = tokenizer.encode(said, add_special_tokens=False)
        tokens = (*start, *answer)
        targets = tuple(range(len(start), len(tokens)))
        decision = row.decision if not made else None
        made.append(Lesson(f"{row.id}:{index}", tokens, targets, row.weight, decision))
    return made


def _with_parsed_arguments(message: dict[str, Any]) -> dict[str, Any]:
    """vLLM hands the template parsed arguments; rows carry them as JSON strings."""
    calls = message.get("tool_calls")
    if not calls:
        return message
    parsed = []
    for call in calls:
        function = call["function"]
        arguments = function["arguments"]
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except json.JSONDecodeError as error:
                raise RowInvalid(f"arguments of {function['name']} are no JSON: {error}") from None
        parsed.append({**call, "function": {**function, "arguments": arguments}})
    return {**message, "tool_calls": parsed}
