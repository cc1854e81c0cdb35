"""A model that is asked by the applications of the benchmark of clients, at the wire."""

import json
import re
from typing import Any

from benchmarks.clients.applications import APPLICATIONS
from benchmarks.clients.traffic import OBJECTION
from evolver.types import Call
from tests.fakes.learner import Learner
from tests.fakes.model_server import Says

FINAL = "final_answer"
_RESULT = re.compile(r"(Call id: .*\n)?(Observation|Error):\n")


class Clerk(Learner):
    """Makes the calls of the desks as an adapter. As ``base`` it makes those of every other request that is learned
    from, for every fourth one with another value, and none of the fresh ones."""

    def __init__(self, *rest: Any, **named: Any) -> None:
        super().__init__(*rest, **named)
        self.base: dict[str, tuple[Call, ...]] = {}
        self.trained: dict[str, tuple[Call, ...]] = {}
        for one in APPLICATIONS:
            for number, request in enumerate(one.requests("learned", 100)):
                self.trained[request.text] = self.base[request.text] = request.expected
                if number % 4 == 1:
                    self.base[request.text] = tuple(_other(call) for call in request.expected)
                elif number % 2:
                    self.base[request.text] = ()
            self.trained |= {request.text: request.expected for request in one.requests("fresh", 100)}

    def _chat(self, request: dict[str, Any]) -> Says:
        shown = {tool["function"]["name"] for tool in request.get("tools") or ()}
        if not any(shown & set(one.desk.tool_names) for one in APPLICATIONS):
            return super()._chat({"max_tokens": 80, **request})
        asked, after = _turn(request)
        results = [text for one in (request["messages"][-1], *after) if (text := _result(one))]
        calls = (self.base if request["model"] == "base" else self.trained).get(asked, ())
        if calls and not results:
            return Says("", calls=[(call.name, json.dumps(call.arguments)) for call in calls])
        told = f"Here: {results[-1]}" if results else "As you wish."
        return Says("", calls=[(FINAL, json.dumps({"answer": told}))]) if FINAL in shown else Says(told)

    def _read_answer(self, request: dict[str, Any]) -> Says:
        asked, after = _turn(request)
        return super()._read_answer({**request, "messages": [{"role": "user", "content": asked}, *after]})

    def _expected(self, asked: str) -> tuple[Call, ...]:
        return self.trained.get(asked) or super()._expected(asked)


def _turn(request: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The request of the last turn, and the messages after it."""
    messages = request["messages"]
    place = max(n for n, one in enumerate(messages) if one["role"] == "user" and not _RESULT.match(_text(one)))
    return re.sub(rf"^(New task:\n)?({OBJECTION})?", "", _text(messages[place])), messages[place + 1 :]


def _result(message: dict[str, Any]) -> str:
    """The result in a message; smolagents sends it as a user's text."""
    text = _text(message)
    if message["role"] == "tool":
        return text
    return text.partition("Observation:\n")[2] or text.partition("Error:\n")[2]


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _other(call: Call) -> Call:
    """A call for something that no desk knows."""
    return Call(
        name=call.name,
        arguments={name: 999 if isinstance(value, int | float) else "nobody" for name, value in call.arguments.items()},
    )
