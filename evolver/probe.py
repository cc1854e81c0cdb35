"""Asking the served model a request several times, to see whether it hesitates: between calls, or to call at all.

Where it is unsure is where a lesson helps most (TT-SI: the margin between its two best answers).
"""

import json
from collections import Counter

from agent.errors import ModelError
from agent.messages import Message, Sampling
from agent.model_client import ModelClient
from agent.prompt import request
from evolver.types import Call, Probed
from toolkit.search import ToolIndex

_TIMES = 4
_TEMPERATURE = 0.8


def probe(text: str, model: str, client: ModelClient, index: ToolIndex, *, shown: int, max_tokens: int) -> Probed:
    """What ``model`` calls first, over 4 sampled replies to ``text`` with the ``shown`` tools that serving would show.
    A reply that the server refuses counts as one without a call. Raises ModelUnavailable."""
    sampling = Sampling(temperature=_TEMPERATURE, max_tokens=max_tokens)
    body = request(model, [Message(role="user", content=text)], index.top(text, shown), sampling)
    made: Counter[str] = Counter()
    for _ in range(_TIMES):
        try:
            calls = client.chat(body).message.tool_calls
        except ModelError:
            continue
        if calls and calls[0].arguments is not None:
            made[json.dumps([calls[0].name, calls[0].arguments], sort_keys=True)] += 1
    found = [(json.loads(key), count / _TIMES) for key, count in made.most_common()]
    return Probed(calls=tuple((Call(name=name, arguments=arguments), share) for (name, arguments), share in found))
