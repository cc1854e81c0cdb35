"""Does an adapter still chat as the base model does? The distance between their next words on requests without tools.

The base model answers each request greedily; both models then read that answer and say, word by word, what they would
have written. Forgetting tracks this distance. Each model names its 20 likeliest tokens; those that only one names, and
all others, count as one, so that what is reported is a lower bound of the Kullback-Leibler divergence.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from agent.errors import NO_SERVER, ModelUnavailable
from agent.messages import BASE
from evolver.errors import StageError
from evolver.suites import Suite
from evolver.types import ChatReport, Frozen
from evolver.wilson import rate

NAME = "chat"
_TOP = 20
_ANSWER_TOKENS = 48
_FLOOR = 1e-9

Distribution = Mapping[str, float]
"""Probabilities by token id."""


class Distance(Frozen):
    """Of one request: nats summed over ``tokens``, and how often both models have the same likeliest token."""

    nats: float
    tokens: int
    agreed: int


def drift(suite: Suite, model: str, server: httpx.Client, *, concurrency: int) -> ChatReport:
    """KL(model ‖ base), nats per token, over the requests of ``suite``, asked without tools at the gateway that
    ``server`` is open on. Raises ModelUnavailable and StageError."""
    with ThreadPoolExecutor(concurrency) as pool:
        found = list(pool.map(lambda item: _distance(item.request, model, server), suite.items))
    tokens = sum(one.tokens for one in found)
    if not tokens:
        raise StageError(f"suite {suite.name} gave no answer to compare")
    each = [one.nats / one.tokens for one in found if one.tokens]
    mean = sum(one.nats for one in found) / tokens
    half = 1.96 * _deviation(each) / math.sqrt(len(each))
    return ChatReport(
        model=model,
        suite=NAME,
        suite_sha256=suite.sha256,
        prompts=len(each),
        tokens=tokens,
        kl=mean,
        kl_low=max(0.0, mean - half),
        kl_high=mean + half,
        same_first=rate(sum(one.agreed for one in found), tokens),
    )


def divergence(first: Distribution, second: Distribution) -> float:
    """A lower bound of KL(first ‖ second) from their likeliest tokens."""
    shared = [token for token in first if token in second]
    pairs = [(first[token], second[token]) for token in shared]
    pairs.append((1 - sum(p for p, _ in pairs), 1 - sum(q for _, q in pairs)))
    return max(0.0, sum(p * math.log(p / max(q, _FLOOR)) for p, q in pairs if p > _FLOOR))


def _distance(request: str, model: str, server: httpx.Client) -> Distance:
    messages = [{"role": "user", "content": request}]
    asked = {"model": BASE, "messages": messages, "temperature": 0.0, "max_tokens": _ANSWER_TOKENS}
    answered = _post(server, "/v1/chat/completions", asked)
    begin = answered["usage"]["prompt_tokens"]
    count = answered["usage"]["completion_tokens"]
    answer = {"role": "assistant", "content": answered["choices"][0]["message"].get("content") or ""}
    mine, base = (_read(server, name, [*messages, answer])[begin : begin + count] for name in (model, BASE))
    pairs = list(zip(mine, base, strict=True))
    return Distance(
        nats=sum(divergence(one, other) for one, other in pairs),
        tokens=len(pairs),
        agreed=sum(max(one, key=one.__getitem__) == max(other, key=other.__getitem__) for one, other in pairs),
    )


def _read(server: httpx.Client, model: str, messages: Sequence[Mapping[str, str]]) -> list[Distribution]:
    """What ``model`` expects at each position of the rendered ``messages``."""
    body = {
        "model": model,
        "messages": list(messages),
        "add_generation_prompt": False,
        "prompt_logprobs": _TOP,
        "max_tokens": 1,
        "temperature": 0.0,
    }
    positions = _post(server, "/v1/chat/completions", body).get("prompt_logprobs")
    if not isinstance(positions, list):
        raise StageError("the server gives no prompt_logprobs, so the distance to the base model is not known")
    return [_distribution(position or {}) for position in positions]


def _distribution(position: Mapping[str, Any]) -> Distribution:
    """The likeliest tokens; what was written is among them only when it is likely."""
    ranked = {token: entry for token, entry in position.items() if (entry.get("rank") or _TOP + 1) <= _TOP}
    return {token: math.exp(entry["logprob"]) for token, entry in ranked.items()} or {"": 1.0}


def _post(server: httpx.Client, route: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        response = server.post(route, json=body)
    except httpx.HTTPError as error:
        raise ModelUnavailable(f"{NO_SERVER} ({type(error).__name__})") from error
    if response.status_code != 200:
        raise StageError(f"the server refused a request: {response.status_code} {response.text[:300]}")
    return response.json()


def _deviation(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
