"""The bodies that clients may send to the gateway, field by field.

Known fields are checked for their type, before any model sees them; unknown ones pass through to vLLM, which checks
ranges itself. Source: OpenAI's API reference, and vLLM's ChatCompletionRequest and CompletionRequest.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from agent.http.json_body import Body
from agent.serving.gateway.model_routing import ALIAS
from toolkit.encoder import NAME as ENCODER
from toolkit.encoder import WIDTH

_CHOICES = '"none", "auto", "required" or {"type": "function", "function": {"name": "…"}}'


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 60.0 is 60."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole), Field(ge=-(2**63), lt=2**63)]
Text = Annotated[str, Field(min_length=1)]

_MOST_INPUTS = 2048
"""Texts in one request for embeddings; OpenAI's limit."""


class Part(Body):
    """A piece of a message's content."""

    type: str
    text: str | None = None


class CalledFunction(Body):
    """The function of a call in the history. ``arguments`` should be JSON; what is broken is passed on as it is."""

    name: str
    arguments: str | dict[str, Any] | None = None


class CallMade(Body):
    """A call in the history."""

    id: str | None = None
    type: Literal["function"] | None = None
    function: CalledFunction


class ChatMessage(Body):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[CallMade] | None = None
    tool_call_id: str | None = None


class Function(Body):
    """The name, description and parameters of a client's tool."""

    name: Text
    description: str | None = None
    parameters: dict[str, Any] | None = None


class OfferedTool(Body):
    """A tool of the client."""

    type: Literal["function"] | None = None
    function: Function


class Generation(Body):
    """The fields that chat completions and completions have in common."""

    model: str = ALIAS
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    n: Whole = 1
    max_tokens: Whole | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: Whole | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None
    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None


class ChatRequest(Generation):
    """The body of ``POST /v1/chat/completions``."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Whole | None = None
    logprobs: bool | None = None
    top_logprobs: Whole | None = None
    tools: list[OfferedTool] | None = None
    further_tools: list[OfferedTool] | None = None
    """Candidates too, which the model is not shown where nothing is chosen (agent.serving.gateway.choosing)."""
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None

    @field_validator("tool_choice")
    @classmethod
    def _is_offered(cls, choice: Any, info: ValidationInfo) -> Any:
        name = _named(choice)
        if name is None and choice not in ("none", "auto", "required"):
            raise ValueError(f"must be {_CHOICES}")
        if "tools" not in info.data:  # they are at fault themselves
            return choice
        offered = [tool.function.name for tool in info.data["tools"] or ()]
        if choice == "required" and not offered:
            raise ValueError('is "required", and there are no tools; send them in tools')
        if name is not None and name not in offered:
            raise ValueError(f"names {name!r}, which is none of the tools: {', '.join(offered) or 'there are none'}")
        return choice


class CompletionRequest(Generation):
    """The body of ``POST /v1/completions``."""

    prompt: str | list[str] | list[Whole] | list[list[Whole]]
    logprobs: Whole | None = None
    echo: bool | None = None
    suffix: str | None = None


class EmbeddingsRequest(Body):
    """The body of ``POST /v1/embeddings``."""

    input: Text | Annotated[list[Text], Field(min_length=1)]
    model: str = ENCODER
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Whole | None = None
    user: str | None = None

    @field_validator("input")
    @classmethod
    def _is_not_too_much(cls, given: str | list[str]) -> str | list[str]:
        if isinstance(given, list) and len(given) > _MOST_INPUTS:
            raise ValueError(f"has {len(given)} texts, {_MOST_INPUTS} are allowed; send several requests")
        return given

    @field_validator("dimensions")
    @classmethod
    def _is_the_only_width(cls, given: int | None) -> int | None:
        if given not in (None, WIDTH):
            raise ValueError(f"must be {WIDTH}, the only size of {ENCODER}, not {given}")
        return given


class FeedbackRequest(Body):
    """The body of ``POST /v1/feedback``."""

    id: Text
    verdict: Literal["good", "bad"]
    note: str = ""
    expected: str | list[Any] = ""
    """Correction of a bad answer: calls or a text (agent.log.corrections)."""


def settled(body: dict[str, Any]) -> dict[str, Any]:
    """Return a chat request without the fields that say as much as their absence.

    No tools is no tools, however it is written; a choice among none and an empty bias change nothing. vLLM refuses the
    first two, and takes ``tools`` null with a choice for a wish to be answered in the form of a call. Null fields of
    a tool and of its function are dropped; its parameters stay as they are.
    """
    if body.get("tools"):
        body = {**body, "tools": [_without_nulls(tool) for tool in body["tools"]]}
    without = {name for name in ("tools", "logit_bias") if body.get(name) in ([], {})}
    if not body.get("tools") and body.get("tool_choice") in ("auto", "none"):
        without |= {"tool_choice", "parallel_tool_calls"}
    return {name: value for name, value in body.items() if name not in without} if without else body


def may_call(body: dict[str, Any]) -> bool:
    """Return whether the model chooses by itself whether to call a tool, and nobody else sets its bias."""
    return "tools" in body and body.get("tool_choice", "auto") == "auto" and "logit_bias" not in body


def _without_nulls(tool: dict[str, Any]) -> dict[str, Any]:
    function = {name: value for name, value in tool["function"].items() if value is not None}
    return {name: value for name, value in {**tool, "function": function}.items() if value is not None}


def _named(choice: Any) -> str | None:
    """Return the tool that a choice names, or None."""
    if not isinstance(choice, dict) or choice.get("type") != "function":
        return None
    function = choice.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None
