"""A model, at the wire, that writes tools: ``sketch``, ``bodies``, ``own`` and ``arguments`` are what it says."""

import json
from typing import Any

from tests.fakes.learner import is_json
from tests.fakes.model_server import Says

SKETCH: dict[str, Any] = {
    "name": "share_of_bill",
    "description": "Split a bill among friends.",
    "parameters": [
        {"name": "total", "type": "number", "description": "What was paid."},
        {"name": "people", "type": "integer", "description": "How many share it."},
    ],
    "result": "number",
}
BODY = "    return round(total / people, 2)\n\n"


class Inventor:
    """``script`` of a ModelServer."""

    def __init__(self) -> None:
        self.sketch: Any = SKETCH
        self.bodies = [BODY]
        self.own: Any = {"total": 90, "people": 4}
        self.arguments: list[Any] = [{"total": 10, "people": n} for n in range(5)]
        self.finish_reason = "stop"
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: dict[str, Any]) -> Says:
        self.asked.append(request)
        prompt = request["prompt"]
        if prompt.endswith("Function:"):
            texts = [self.sketch]
        elif not is_json(request["structured_outputs"]):
            texts = self.bodies
        else:
            texts = [self.own] if prompt.endswith("Call:") else self.arguments
        said = [text if isinstance(text, str) else json.dumps(text) for text in texts]
        choices = [
            {"index": n, "text": said[n % len(said)], "finish_reason": self.finish_reason} for n in range(request["n"])
        ]
        return Says(raw=json.dumps({"object": "text_completion", "choices": choices}).encode())
