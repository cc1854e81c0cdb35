"""Chat templates that are made of a model's own template, or of its own tokens."""

import json
from collections.abc import Collection
from pathlib import Path

from agent.tools.formats import ToolFormat
from agent.turn.prompt import TEMPLATE

_FOLDER = Path(__file__).parent
_END_OF_MACROS = "{%- set has_system = "
"""Beginning of the turns in apprentice's own template; the macros that print tools stand before it."""

_EMPTY = "{{ '' }}"

_TURNS = """\
{{- BOS -}}
{%- for message in messages -%}
{%- if message.role == 'system' and not SYSTEM -%}{{- raise_exception('there is no system role') -}}{%- endif -%}
{{- OPENINGS.get(message.role, OPENINGS['user']) + message.content + END -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- OPENINGS['assistant'] -}}{%- endif -%}
"""


def chatml(bos: str) -> str:
    """Return apprentice's own template, which writes ChatML, after the token ``bos``."""
    text = TEMPLATE.read_text(encoding="utf-8")
    return "{{- " + json.dumps(bos) + " -}}\n" + text if bos else text


def tools_in_turns(own: str, *, system_turns: bool) -> str:
    """Return a template that shows tools, calls and results in the turns of ``own``, as apprentice's own does.

    ``system_turns``: ``own`` writes system messages; without, they begin the first message of the user.
    """
    macros, found, _ = TEMPLATE.read_text(encoding="utf-8").partition(_END_OF_MACROS)
    assert found
    given = f"{{%- set apprentice_system_turns = {'true' if system_turns else 'false'} -%}}\n"
    return macros + given + _read("tools_in_turns.jinja") + own


def calls_as_text(own: str, form: ToolFormat) -> str:
    """Return a template that writes calls in ``form`` where ``own`` leaves them out."""
    assert form.joined is not None
    return f"{{%- set apprentice_form = {json.dumps(list(form.joined))} -%}}\n" + _read("calls_as_text.jinja") + own


def numbered_ids(own: str) -> str:
    """Return ``own`` with the ids of calls counted."""
    return _read("numbered_ids.jinja") + own


def named_results(own: str) -> str:
    """Return ``own`` with the name of its tool in each result."""
    return _read("named_results.jinja") + own


def system_in_user_turn(own: str) -> str:
    """Return ``own`` with the system message at the beginning of the user's last turn."""
    return _read("system_in_user_turn.jinja") + own


def without_tools(own: str, plain: str | None) -> str:
    """Return ``own``, which fails without tools, with ``plain`` for that case; None: it is given an empty list.

    Beside a tag, Jinja would take blanks and line breaks of the templates away: each has an empty text around it.
    """
    if plain is None:
        return "{% set tools = tools or [] %}" + _EMPTY + own
    first, second = (_EMPTY + template.removesuffix("\n") + _EMPTY for template in (own, plain))
    return "{% if tools %}" + first + "{% else %}" + second + "{% endif %}"


def turns_of(tokens: Collection[str], bos: str, eos: str) -> str:
    """Return a template of plain turns for a base model, with those turn markers that its tokenizer has as tokens.

    "" for ChatML's, which apprentice's own template writes. A tokenizer without any gets tags, and ``eos`` ends a turn.
    """
    if {"<|im_start|>", "<|im_end|>"} <= set(tokens):
        return ""
    if {"<start_of_turn>", "<end_of_turn>"} <= set(tokens):
        return _turns(bos, "<start_of_turn>{}\n", "<end_of_turn>\n", assistant="model", system=False)
    if {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"} <= set(tokens):
        return _turns(bos, "<|start_header_id|>{}<|end_header_id|>\n\n", "<|eot_id|>")
    return _turns(bos, "<|{}|>\n", f"{eos}\n")


def _turns(bos: str, opening: str, end: str, *, assistant: str = "assistant", system: bool = True) -> str:
    """Return a template whose turns begin with ``opening``, in which the role stands, and end with ``end``."""
    openings = {role: opening.format(role) for role in ("system", "user")}
    openings["assistant"] = opening.format(assistant)
    parts = {"BOS": bos, "OPENINGS": openings, "END": end, "SYSTEM": system}
    text = _TURNS
    for name, value in parts.items():
        text = text.replace(name, json.dumps(value))
    return text


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
