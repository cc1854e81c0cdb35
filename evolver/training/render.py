"""Dataset rows -> lessons: the text of the model's profile, as served, with loss on the assistant's own tokens only."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import ConfigDict, Field, ValidationError

from agent.models.profile import ModelProfile
from agent.models.rendering import REFUSALS, continuation
from agent.models.template_markers import NO_MARKERS, Markers
from agent.tools.schemas import BadTool
from agent.tools.shown_tools import shown_tools
from evolver.training.prefix_tree import TokenizedLesson, shared_length
from toolkit.frozen import Frozen


class Row(Frozen):
    """One line of train.jsonl or valid.jsonl: a conversation.

    ``targets`` are indices of the assistant messages that carry loss; ``open_end`` says that the last of them was cut
    off, so that its end carries none. ``rejected`` are wrong answers in place of the first of them, each of which
    counts ``rejected_weight`` where it parts from that.
    """

    model_config = ConfigDict(extra="ignore")

    id: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = Field(default_factory=list)
    targets: list[int] = Field(default_factory=list)
    open_end: bool = False
    decision: Literal["call", "no_call"] | None = None
    weight: float = 1.0
    rejected: list[dict[str, Any]] = Field(default_factory=list)
    rejected_weight: float = Field(default=1.0, ge=0)
    candidate: tuple[str, float] | None = None


class Tokenizer(Protocol):
    """Part of a transformers tokenizer that rendering needs."""

    def apply_chat_template(self, conversation: Any, /, **options: Any) -> Any: ...
    def encode(self, text: str, /, **options: Any) -> list[int]: ...


class RowInvalid(ValueError):
    """A row that cannot be a lesson; names the row."""


class RowRefused(RowInvalid):
    """A conversation that the model's own chat template refuses, so that it could not be served either, or in which it
    writes an answer otherwise than behind its prompt."""


def read_rows(path: Path) -> Iterator[Row]:
    """Read the rows of a JSONL file. Raises RowInvalid naming the line."""
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
    if not row.targets or not row.weight > 0:
        raise RowInvalid(f"row {row.id}: no target message, or a weight that is not positive")
    for index in row.targets:
        if not 0 <= index < len(row.messages) or row.messages[index].get("role") != "assistant":
            raise RowInvalid(f"row {row.id}: target {index} is no assistant message")


def tokenized(
    row: Row, tokenizer: Tokenizer, profile: ModelProfile, markers: Markers = NO_MARKERS
) -> list[TokenizedLesson]:
    """Return one lesson for each target message: the serving prompt's tokens, then the answer's through its end marker.

    The row's texts are made free of ``markers``, as the gateway makes requests. Prompt and answer are tokenised apart,
    as serving does: the model reads the prompt's tokens and writes its own. The first lesson carries the
    row's decision.

    The answer is what the conversation with it has behind the conversation's prompt, so that no template needs to mark
    it. Raises RowInvalid, and RowRefused where the template takes no such conversation.
    """
    messages = [_with_parsed_arguments(message) for message in markers.literal_json(row.messages)]
    text = _renderer(row, tokenizer, profile, markers)

    def parts(index: int, answer: dict[str, Any]) -> tuple[list[int], list[int]]:
        before, through = text(messages[:index], True), text([*messages[:index], answer], False)
        behind = continuation(before, through, messages[index - 1]["role"] if index else "")
        if behind is None:
            raise RowRefused(f"row {row.id}: message {index} does not continue its own prompt")
        said = _said(behind, profile)
        if row.open_end and index == max(row.targets):
            content = answer["content"].strip()
            said = said[: said.rindex(content) + len(content)]
        return _encoded(before, said, tokenizer, profile)

    made: list[TokenizedLesson] = []
    for index in sorted(set(row.targets)):
        start, answer = parts(index, messages[index])
        lesson = TokenizedLesson(
            f"{row.id}:{index}", (*start, *answer), tuple(range(len(start), len(start) + len(answer))), row.weight
        )
        if not made:
            wrong = map(_with_parsed_arguments, markers.literal_json(row.rejected))
            others = [parts(index, message)[1] for message in wrong]
            rivals = _rivals(len(start), answer, others, row.rejected_weight)
            lesson = replace(lesson, decision=row.decision, rivals=rivals, candidate=row.candidate)
        made.append(lesson)
    return made


def _rivals(
    start: int, answer: Sequence[int], others: Sequence[Sequence[int]], weight: float
) -> tuple[tuple[int, int, float], ...]:
    """Return the place at which each of ``others`` parts from ``answer``, which begins at ``start``; none if one of the
    two continues the other."""
    places = [(shared_length(answer, other), other) for other in others]
    return tuple((start + at, other[at], weight) for at, other in places if at < min(len(answer), len(other)))


def call_token(tokenizer: Tokenizer, profile: ModelProfile) -> int:
    """Return the first token of every call, where an answer begins."""
    question = [{"role": "user", "content": "?"}]
    row = Row(id="call", messages=question)
    prompt = _renderer(row, tokenizer, profile, NO_MARKERS)(question, True)
    return _encoded(prompt, profile.call_opening, tokenizer, profile)[1][0]


def _renderer(
    row: Row, tokenizer: Tokenizer, profile: ModelProfile, markers: Markers
) -> Callable[[list[dict[str, Any]], bool], str]:
    """Return a function that renders messages with the tools of ``row``, with or without the beginning of an answer."""
    try:
        tools = markers.literal_tools(shown_tools(row.tools) if profile.json_tools else row.tools)
    except BadTool as error:
        raise RowInvalid(f"row {row.id}: {error}") from error

    def text(messages: list[dict[str, Any]], prompt: bool) -> str:
        try:
            return tokenizer.apply_chat_template(
                messages,
                tools=tools or None,
                chat_template=profile.template,
                tokenize=False,
                add_generation_prompt=prompt,
                **profile.template_options,
            )
        except REFUSALS as error:
            raise RowRefused(f"row {row.id}: the model's chat template refuses it: {error}") from error

    return text


def _said(behind: str, profile: ModelProfile) -> str:
    """Return the part of the text ``behind`` the prompt that the model writes: up to the token that ends its turn,
    which is added where the template leaves it out."""
    said = behind.removesuffix(profile.after_turn) if profile.after_turn else behind
    return said if said.endswith(profile.stop) else said + profile.end_of_turn


def _encoded(before: str, said: str, tokenizer: Tokenizer, profile: ModelProfile) -> tuple[list[int], list[int]]:
    """Return the tokens of a prompt and of its answer; where the tokenizer would put a space before the answer, they
    are cut out of the tokens of both."""
    start = tokenizer.encode(before, add_special_tokens=False)
    if profile.prefix_space:
        whole = tokenizer.encode(before + said, add_special_tokens=False)
        if whole[: len(start)] == start:
            return start, whole[len(start) :]
    return start, tokenizer.encode(said, add_special_tokens=False)


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
