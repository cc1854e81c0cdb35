"""The forms in which families of models write calls, and vLLM's parser for each.

A form is recognised by what a model's chat template writes for a call, not by the model's name.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class ToolFormat:
    """``written`` matches the text of an answer that consists of calls; ``opening`` is what every such answer begins
    with, and ``closing`` what ends a call ("": nothing).

    ``constrained``: vLLM's ``parser`` has a grammar for this form. ``joined``: what stands before, between and after
    JSON objects, for templates that leave the writing of calls to others; ``mark`` is what such a template contains.
    """

    parser: str
    written: re.Pattern[str]
    opening: str
    closing: str = ""
    constrained: bool = False
    joined: tuple[str, str, str] | None = None
    mark: str = ""


HERMES = ToolFormat(
    parser="hermes",
    written=re.compile(r"<tool_call>\s*\{"),
    opening="<tool_call>",
    closing="</tool_call>",
    constrained=True,
    joined=("<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>"),
    mark="<tool_call>",
)
FORMATS = (
    HERMES,
    ToolFormat(
        parser="qwen3_coder",
        written=re.compile(r"<tool_call>\s*<function="),
        opening="<tool_call>",
        closing="</tool_call>",
        constrained=True,
    ),
    ToolFormat(
        parser="granite",
        written=re.compile(r"<\|?tool_call\|?>\s*\["),
        opening="<|tool_call|>",
        joined=("<|tool_call|>[", ", ", "]"),
        mark="<|tool_call|>",
    ),
    ToolFormat(parser="mistral", written=re.compile(r"\[TOOL_CALLS\]"), opening="[TOOL_CALLS]"),
    ToolFormat(
        parser="functiongemma",
        written=re.compile(r"<start_function_call>call:"),
        opening="<start_function_call>",
        closing="<end_function_call>",
    ),
    ToolFormat(
        parser="phi4_mini_json",
        written=re.compile(r"functools\["),
        opening="functools[",
        joined=("functools[", ", ", "]"),
        mark="functools[",
    ),
    ToolFormat(
        parser="llama3_json",
        written=re.compile(r"(<\|python_tag\|>)?\s*\{\s*\"name\":.*\"parameters\":", re.DOTALL),
        opening='{"name": "',
        constrained=True,
    ),
    ToolFormat(
        parser="xlam",
        written=re.compile(r"\[\s*\{\s*\"name\":.*\"arguments\":", re.DOTALL),
        opening='[{"name": "',
    ),
)

CALL_TAGS = tuple(sorted({form.opening for form in FORMATS if re.match(r"[<\[][\w|]", form.opening)}))
"""Openings that are no ordinary text: where a parser leaves one in an answer, a call is broken."""


def written(call: str) -> ToolFormat | None:
    """Return the form of ``call``, the text of an answer that consists of one call; None where it is not known."""
    return next((form for form in FORMATS if form.written.match(call)), None)


def described(prompt: str) -> ToolFormat | None:
    """Return the form that ``prompt`` tells the model to write calls in, where its template writes none itself."""
    marked = [form for form in FORMATS if form.joined is not None and form.mark in prompt]
    return marked[0] if len(marked) == 1 else None


def parser_constrains(parser: str) -> bool:
    """Return whether vLLM holds the calls that ``parser`` reads to the schemas of their tools."""
    return any(form.constrained for form in FORMATS if form.parser == parser)
