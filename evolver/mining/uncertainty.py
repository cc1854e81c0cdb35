"""Asking the served model a request several times, to see whether it hesitates: between calls, or to call at all.

Where it is unsure is where a lesson helps most (TT-SI: the margin between its two best answers).
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agent.errors import ModelError
from agent.messages import Message, Sampling
from agent.model_client import ModelClient
from agent.prompt import request
from evolver.types import Call, Probed
from toolkit.search import ToolIndex

Record = Callable[[str, Mapping[str, Any], Mapping[str, Any]], None]
_TIMES = 4
_TEMPERATURE = 0.8


def probe(
    texts: Sequence[str],
    model: str,
    client: ModelClient,
    index: ToolIndex,
    *,
    shown: int,
    max_tokens: int,
    concurrency: int,
    record: Record = lambda route, body, answer: None,
) -> list[Probed]:
    """What ``model`` calls first, over 4 sampled replies to each of ``texts`` with the ``shown`` tools that serving
    would show; ``concurrency`` are asked for at a time. A reply that the server refuses counts as one without a call.
    Raises ModelUnavailable."""
    sampling = Sampling(temperature=_TEMPERATURE, max_tokens=max_tokens)

    def asked(text: str) -> str | None:
        body = request(model, [Message(role="user", content=text)], index.top(text, shown), sampling)
        try:
            message = client.chat(body).message
        except ModelError:
            return None
        record("/v1/chat/completions", body, {"choices": [{"message": message.model_dump(mode="json")}]})
        calls = message.tool_calls
        made = calls and calls[0].arguments is not None
        return json.dumps([calls[0].name, calls[0].arguments], sort_keys=True) if made else None

    with ThreadPoolExecutor(concurrency) as pool:
        replies = list(pool.map(asked, [text for text in texts for _ in range(_TIMES)]))
    return [_counted(replies[n : n + _TIMES]) for n in range(0, len(replies), _TIMES)]


def _counted(replies: Sequence[str | None]) -> Probed:
    made = Counter(reply for reply in replies if reply is not None)
    found = [(json.loads(key), count / len(replies)) for key, count in made.most_common()]
    return Probed(calls=tuple((Call(name=name, arguments=arguments), share) for (name, arguments), share in found))
