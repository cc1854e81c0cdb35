"""Rendering of chat templates, as transformers renders them, without transformers."""

import json
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from os.path import commonprefix
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateFailed(ValueError):
    """A chat template that does not compile, or refuses a conversation; says why."""


REFUSALS = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError)
"""Exceptions of a template that takes no such conversation: it says so, or a part that it wants is not there."""
_OF_A_TEMPLATE = (*REFUSALS, ArithmeticError, MemoryError, RecursionError)
"""Exceptions of a template that is wrong, divides by zero, makes too long a text or calls itself."""


def render(
    template: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = (), **given: Any
) -> str:
    """Return the prompt of ``messages``. ``given``: ``add_generation_prompt``, special tokens by name, and options.

    Raises TemplateFailed.
    """
    asked = {"add_generation_prompt": False, **given}
    try:
        return _compiled(template).render(messages=list(messages), tools=list(tools) or None, documents=None, **asked)
    except _OF_A_TEMPLATE as error:
        raise TemplateFailed(str(error) or type(error).__name__) from error


def continuation(prompt: str, whole: str, last_role: str = "user") -> str | None:
    """Return the text that ``whole``, a conversation with its answer, has behind ``prompt``; None if it begins with
    another one.

    ``last_role`` is the role of the prompt's last message. Behind a result some templates write other blanks and line
    breaks while nothing follows: there, one such difference is passed over. Prompt and answer are exact all the same,
    since the model is asked with ``prompt``.
    """
    if whole.startswith(prompt):
        return whole[len(prompt) :]
    if last_role != "tool":
        return None
    shared = len(commonprefix((prompt, whole)))  # noqa: RUF071 - characters are meant, not folders
    rest, behind = prompt[shared:].lstrip(), whole[shared:].lstrip()
    return behind[len(rest) :] if rest and behind.startswith(rest) else None


class _Generation(Extension):
    """The tag ``generation``, with which some templates mark an assistant's own words: its body is rendered."""

    tags = frozenset({"generation"})  # pyright: ignore[reportAssignmentType]

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=16)
def _compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, autoescape=False, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = time.strftime
    return environment.from_string(template)


def _to_json(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, **more: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, **more)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
