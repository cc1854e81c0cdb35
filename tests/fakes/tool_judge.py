"""A model that says how well a tool fits, where it is asked for the first token of an answer."""

import json
from collections.abc import Mapping
from typing import Any

from tests.fakes.model_server import Says, Script

CALL_TOKEN = 44
_OTHER_TOKEN = 7


def judging(margins: Mapping[str, float], then: Script) -> Script:
    """A script that opens a call with ``margins`` (nats) by the name of the only tool shown, and else goes on as
    ``then``."""

    def script(request: dict[str, Any]) -> Says:
        if not request.get("logprobs"):
            return then(request)
        (tool,) = request["tools"]
        tokens = {CALL_TOKEN: margins[tool["function"]["name"]] - 1.0, _OTHER_TOKEN: -1.0, 9: -30.0}
        likeliest = [{"token": f"token_id:{token}", "logprob": logprob} for token, logprob in tokens.items()]
        logprobs = {"content": [{"token": "token_id:7", "top_logprobs": likeliest}]}
        return Says(raw=json.dumps({"choices": [{"index": 0, "logprobs": logprobs}]}).encode())

    return script
