"""The texts that the makers let the model continue.

The examples name no tool of the toolkit and no request of any suite (tests/unit/evolver/model/test_prompts.py).
"""

import json
import re
from typing import Any

import jinja2

from agent.turn.prompt import TEMPLATE
from evolver.types import Call
from toolkit.tool import Tool

_EXAMPLE = re.compile(r",? for example (?:[^.\n]|\.(?=\d))*")

_ARGUMENTS = """\
Example values for functions, as a person would say them.

book_table(restaurant: string, people: integer): Book a table at a restaurant.
{{"restaurant": "Luigi's", "people": 4}}

translate(text: string, language: string): Translate a text into another language.
{{"text": "Good morning, my friends", "language": "Spanish"}}

set_alarm(time: string, label: string): Set an alarm.
  time: HH:MM
{{"time": "06:45", "label": "yoga"}}

water_plants(plants: array[string], liters: number): Water some plants.
{{"plants": ["fern", "basil", "ivy"], "liters": 1.5}}

{signature}
"""

_REQUEST = """\
What a person says to an assistant, so that it makes the call.

Function: book_table(restaurant: string, people: integer): Book a table at a restaurant.
Call: {{"restaurant": "Luigi's", "people": 4}}
Person: Could you book a table for 4 people at Luigi's?

Function: translate(text: string, language: string): Translate a text into another language.
Call: {{"text": "Good morning, my friends", "language": "Spanish"}}
Person: How do you say "Good morning, my friends" in Spanish?

Function: track_package(number: string, carrier: string): Find where a package is.
Call: {{"number": "ZX-4410", "carrier": "Postline"}}
Person: Where is my Postline package with the number ZX-4410?

Function: draw_bars(heights: array[integer], color: string): Draw a bar chart.
Call: {{"heights": [12, 7, 31, 18], "color": "blue"}}
Person: Draw blue bars with the heights 12, 7, 31 and 18.

Function: water_plants(plants: array[string], liters: number): Water some plants.
Call: {{"plants": ["fern", "basil", "ivy"], "liters": 1.5}}
Person: Please give the fern, basil and ivy 1.5 liters of water.

Function: mix_paint(color: string, share: number, glossy?: boolean): Mix paint with white.
Call: {{"color": "red", "share": 0.25, "glossy": true}}
Person: I want glossy paint with 25% red in it.

Function: {signature}
Call: {arguments}
Person:"""

_CALL = """\
What a person says to an assistant, and the call that it makes.

Function: book_table(restaurant: string, people: integer): Book a table at a restaurant.
Person: Could you book a table for 4 people at Luigi's?
Call: {{"restaurant": "Luigi's", "people": 4}}

Function: translate(text: string, language: string): Translate a text into another language.
Person: How do you say "Good morning, my friends" in Spanish?
Call: {{"text": "Good morning, my friends", "language": "Spanish"}}

Function: track_package(number: string, carrier: string): Find where a package is.
Person: Where is my Postline package with the number ZX-4410?
Call: {{"number": "ZX-4410", "carrier": "Postline"}}

Function: draw_bars(heights: array[integer], color: string): Draw a bar chart.
Person: Draw blue bars with the heights 12, 7, 31 and 18.
Call: {{"heights": [12, 7, 31, 18], "color": "blue"}}

Function: mix_paint(color: string, share: number, glossy?: boolean): Mix paint with white.
Person: I want glossy paint with 25% red in it.
Call: {{"color": "red", "share": 0.25, "glossy": true}}

Function: {signature}
Person: {request}
Call:"""

_ANSWER = """\
An assistant tells a person what a function returned, in one short sentence that states the result.

Function: fuel_price(country: string): Find the price of a liter of fuel.
Call: {{"country": "Portugal"}}
Result: 1.72
Assistant: A liter of fuel costs 1.72 in Portugal.

Function: train_stops(line: string): List the stops of a train line.
Call: {{"line": "S7"}}
Result: ["Harbour", "Old Mill"]
Assistant: The S7 stops at Harbour and Old Mill.

Function: is_open(shop: string): Check whether a shop is open.
Call: {{"shop": "Baker Lane"}}
Result: true
Assistant: Yes, Baker Lane is open.

Function: {signature}
Call: {arguments}
Result: {result}
Assistant:"""

_SMALL_TALK = """\
Things that people say to a chat assistant.

- Why is the sky blue?
- Write a short birthday message for my sister.
- Thanks, that was really helpful!
- Who painted the Mona Lisa?
- I feel a bit tired today. Any advice?
- What does the word "nostalgia" mean?
- Give me an idea for dinner with mushrooms.
-"""


_REPLY = """\
What people say to an assistant, and its answer.

Person: What is a haiku?
Assistant: A haiku is a short poem of three lines.

Person: I am nervous before my exam.
Assistant: That is normal; take a slow breath and begin with what you know.

Person: Name a fruit that is yellow.
Assistant: A banana is a yellow fruit.

Person: {request}
Assistant:"""


def arguments_prompt(tool: Tool, *, examples: bool = False) -> str:
    """Continue with arguments of ``tool``, one JSON object; ``examples`` in its own descriptions are shown or not."""
    shown = signature(tool)
    return _ARGUMENTS.format(signature=shown if examples else _EXAMPLE.sub("", shown))


def request_prompt(tool: Tool, call: Call) -> str:
    """Continue with what a person says so that an assistant makes ``call``."""
    return _REQUEST.format(signature=signature(tool), arguments=_json(call.arguments))


def call_prompt(tool: Tool, request: str) -> str:
    """Continue with the arguments that ``request`` asks ``tool`` to be called with, one JSON object."""
    return _CALL.format(signature=signature(tool), request=request)


def answer_prompt(tool: Tool, call: Call, result: Any) -> str:
    """Continue with the sentence that tells ``result``."""
    return _ANSWER.format(signature=signature(tool), arguments=_json(call.arguments), result=_json(result))


def no_tool_prompt() -> str:
    """Continue with something that a person says and that needs no tool."""
    return _SMALL_TALK


def reply_prompt(request: str) -> str:
    """Continue with an assistant's answer to ``request``, in one line."""
    return _REPLY.format(request=" ".join(request.split()))


def signature(tool: Tool) -> str:
    """Return ``tool`` as the chat template shows it."""
    return str(_TEMPLATE.signature(tool.schema()["function"]))  # pyright: ignore[reportAttributeAccessIssue]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _load_template() -> jinja2.environment.TemplateModule:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["tojson"] = _json
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).make_module({"messages": []})


_TEMPLATE = _load_template()
